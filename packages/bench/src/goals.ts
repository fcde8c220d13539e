import { overPostgres, perPurchase } from './over-postgres.js';
import { cached, ofQuarterCores, uncached } from './replica-suites.js';
import type { StartMemory } from './suite.js';
import type { Summary } from './summary.js';

/** What has been promised of a figure, and what was seen. */
export interface Goal {
  readonly sentence: string;
  readonly must: number;
  readonly hope?: number;
  /** Whether more or less of it is better. */
  readonly better: 'more' | 'less';
  /** With fewer cores than processes at work it says nothing of them, and nobody judges it. */
  readonly needsCores?: number;
  /** Undefined when it was not measured. */
  readonly seen: number | undefined;
}

/** What must be seen of Bazar beside the others, each as one figure. */
export function goalsOf(
  summaries: readonly Summary[],
  memories: readonly StartMemory[],
  large: { readonly books: string; readonly orders: string },
): Goal[] {
  const find = (suite: string, connections: number, contestant = 'Bazar', label?: string) =>
    summaries.find(
      (one) =>
        one.suite === suite &&
        one.connections === connections &&
        one.contestant === contestant &&
        (label === undefined || one.label === label),
    );
  const through = (suite: string, connections: number, other: string) =>
    find(suite, connections)?.ratios[other]?.median;
  const least = (
    sentence: string,
    must: number,
    seen: number | undefined,
    hope?: number,
  ): Goal => ({
    sentence,
    must,
    ...(hope !== undefined && { hope }),
    better: 'more',
    seen,
  });
  const most = (sentence: string, must: number, seen: number | undefined, hope?: number): Goal => ({
    ...least(sentence, must, seen, hope),
    better: 'less',
  });
  const grown = (suite: string, of: string, label: string, connections: number, small: string) =>
    find(suite, connections, of, label)?.ratios[small]?.median;
  const [books, orders, few] = [
    `Bazar, ${large.books} books`,
    `Bazar, ${large.orders} orders`,
    'Bazar, 4 books',
  ];
  const memoryOf = (of: string, process: string) => {
    const bytes = memories.find((one) => one.of === of && one.process === process)?.bytes;
    return bytes === undefined ? undefined : bytes / 1e6;
  };
  return [
    least('/info at 64, of the floor', 0.8, through('info', 64, 'floor'), 0.95),
    least('/search at 64, of the floor', 0.8, through('search', 64, 'floor'), 0.95),
    least('/purchase at 256, of the floor', 0.35, through('purchase', 256, 'floor'), 0.5),
    least('/purchase at 256, of the chain', 4, through('purchase', 256, 'plain chain'), 7),
    least('/purchase at 32, of the chain', 1.3, through('purchase', 32, 'plain chain'), 2),
    most(
      '/purchase at 1, p50 through the p50 of the chain',
      1.25,
      find('purchase', 1)?.p50Ratios['plain chain']?.median,
      1,
    ),
    least('90/10 at 64, of the floor', 0.6, through('mixed', 64, 'floor')),
    least(
      'one hot book, of many books',
      0.9,
      find('hot', 256, 'Bazar, one hot book')?.ratios['Bazar']?.median,
      1,
    ),
    least(`/info with ${large.books} books, of 4`, 0.9, grown('books', books, '/info', 64, few)),
    least(
      `/purchase with ${large.books} books, of 4`,
      0.9,
      grown('books', books, '/purchase', 256, few),
    ),
    least(
      `/purchase with ${large.orders} orders, of none`,
      0.9,
      grown('orders', orders, '/purchase', 256, 'Bazar, 0 orders'),
    ),
    most(
      'p99 of reads while a snapshot is written, ms',
      10,
      find('snapshot', 8, 'Bazar, writing a snapshot')?.readP99,
    ),
    most(`memory of the catalog with ${large.books} books, MB`, 500, memoryOf(books, 'catalog')),
    most(
      `memory of the order service with ${large.orders} orders, MB`,
      300,
      memoryOf(orders, 'order'),
    ),
    least(
      'one hot book over PostgreSQL, of a transaction per purchase',
      5,
      find('postgres', 256, overPostgres)?.ratios[perPurchase]?.median,
    ),
    ...replicaGoals((of, label, other) => find('replicas', 64, of, label)?.ratios[other]?.median),
  ];
}

/** What a second replica adds, beside the same with one; once with whole cores, once with parts. */
function replicaGoals(through: (of: string, label: string, other: string) => number | undefined) {
  const goals: (Goal & { readonly better: 'more' })[] = [];
  for (const { sentence, kind, label, must, needsCores } of [
    // Two catalogs, two for PostgreSQL, the load generator, and one for all the rest.
    { sentence: 'uncached reads', kind: 'catalog', label: uncached, must: 1.6, needsCores: 6 },
    // Two gateways, the load generator, and one for all the rest.
    { sentence: 'cached reads', kind: 'gateway', label: cached, must: 1.8, needsCores: 4 },
  ]) {
    const seen = (named: string) => through(`two ${kind}s`, named, `one ${kind}`);
    const goal = { must, hope: 2, better: 'more' } as const;
    goals.push(
      { sentence: `${sentence}, two ${kind}s of one`, ...goal, needsCores, seen: seen(label) },
      {
        sentence: `${sentence}, two ${kind}s of one, each a quarter of a core`,
        ...goal,
        seen: seen(ofQuarterCores(label)),
      },
    );
  }
  return goals;
}

/** Whether a goal is kept; undefined when it was not measured, or has too few cores for it. */
export function isKept(
  { better, must, needsCores = 1, seen }: Goal,
  cores: number,
): boolean | undefined {
  if (seen === undefined || cores < needsCores) return undefined;
  return better === 'more' ? seen >= must : seen <= must;
}
