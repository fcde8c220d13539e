import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Goal, goalsOf, isKept } from './goals.js';
import { inWords, type Machine } from './machine.js';
import type { Options, SuiteName } from './options.js';
import { barPlot, inDigits } from './plot.js';
import type { Results } from './suite.js';
import { sizes } from './suites.js';
import { type Summary, summarize } from './summary.js';
import { forCsv, forMarkdown, forTerminal, tableOf } from './table.js';

export interface ReportInput {
  readonly folder: string;
  readonly machine: Machine;
  readonly warning: string | undefined;
  readonly options: Options;
  readonly results: Results;
}

/** A generator that is busier than this may be what was measured. */
const saturatedCores = 0.95;

/**
 * Writes `report.md`, its plots, `results.json` and `results.csv`.
 *
 * @returns the table for a terminal
 */
export async function writeReport(input: ReportInput): Promise<string> {
  const { folder, machine, options, results } = input;
  const summaries = summarize(results.measurements);
  const table = tableOf(summaries);
  const { large, orders } = options.quick ? sizes.quick : sizes.full;
  const size = { books: large.toLocaleString('en'), orders: orders.toLocaleString('en') };
  const goals = goalsOf(summaries, results.memories, size).filter(({ seen }) => seen !== undefined);
  const plots = plotsOf(summaries);
  await mkdir(folder, { recursive: true });
  for (const [name, svg] of plots) await writeFile(join(folder, `${name}.svg`), svg);
  await writeFile(join(folder, 'report.md'), report(input, summaries, goals, [...plots.keys()]));
  await writeFile(
    join(folder, 'results.json'),
    JSON.stringify({ machine, options, summaries, ...results }, null, 2),
  );
  await writeFile(join(folder, 'results.csv'), csvOf(results));
  return `${forTerminal(table)}\n\n${forTerminal(goalTable(goals, machine.cores))}`;
}

function report(
  { machine, warning, options, results }: ReportInput,
  summaries: readonly Summary[],
  goals: readonly Goal[],
  plots: readonly string[],
): string {
  const acknowledged = results.measurements.reduce((sum, one) => sum + one.acknowledged, 0);
  const saturated = results.measurements.some(
    ({ generatorCores }) => generatorCores > saturatedCores,
  );
  const has = (suite: SuiteName) => results.measurements.some((one) => one.suite === suite);
  const memories = results.memories.map(({ of, process, bytes }) => [
    of,
    process,
    inDigits(bytes / 1e6),
  ]);
  return [
    '# Bazar, measured',
    '',
    `On ${inWords(machine)}. Each figure is the median of ${options.rounds} rounds of ` +
      `${options.seconds} s; in each round all contestants worked one after the other. The load ` +
      'came from a process of its own on the same machine, over kept connections. A ratio is the ' +
      'median of the ratios of each round, with the least and the most of them.',
    '',
    ...(warning === undefined ? [] : [`**${warning}**`, '']),
    ...(saturated
      ? ['In some runs the load generator used all of a core: fast servers are faster yet.', '']
      : []),
    '- **floor**: a bare `node:http` server that answers ready bytes of the same length.',
    '- **plain chain**: gateway, order service and catalog in Fastify, without batching or a cache;',
    '  a journal row and an order row with an `fdatasync` each per purchase.',
    '- **Bazar**: the shop as `pnpm start` starts it.',
    ...(has('postgres') ? hotInWords : []),
    '',
    `Every answer was a 200. ${acknowledged.toLocaleString('en')} purchases were acknowledged ` +
      'in these rounds; after each run of the two chains the rows of the order log were counted ' +
      'and its audit read: every acknowledged purchase was logged once, and every copy stocked ' +
      'was either left or sold.',
    '',
    ...plots.flatMap((name) => [`![${name}](${name}.svg)`, '']),
    '## What was to be seen',
    '',
    forMarkdown(goalTable(goals, machine.cores)),
    '',
    '## All figures',
    '',
    forMarkdown(tableOf(summaries)),
    '',
    'Compared with those of the same rounds. CPU is the processor time of all processes of a ' +
      'contestant per answer. Memory is what was resident after the last round.',
    '',
    ...(has('replicas') ? [...replicasInWords(machine), ''] : []),
    '## Processor time per answer, by process',
    '',
    forMarkdown(cpuTable(summaries)),
    '',
    '## Memory after a start',
    '',
    forMarkdown([['shop', 'process', 'MB'], ...memories]),
    '',
  ].join('\n');
}

const hotInWords = [
  '- **Bazar over PostgreSQL**: two catalogs and two order services over one PostgreSQL server,',
  '  whose commits are on the disk, and a gateway.',
  '- **a transaction per purchase**: as many services over the same server with as many connections',
  '  each: one transaction a purchase in the catalog, and one in the order service.',
];

function replicasInWords({ cores }: Machine): string[] {
  return [
    '## What a second replica adds',
    '',
    `This machine has ${cores} cores for all: replicas, PostgreSQL and the load generator. Where ` +
      'there are fewer cores than busy processes, a second replica can only take time away from ' +
      'the others, and its goal is not judged. For that there are the runs of _a quarter of a ' +
      'core_: each replica is stopped (SIGSTOP) for three quarters of the time, one while the ' +
      'other runs, so that there are cores left for the rest. They show that nothing which the ' +
      'replicas share holds the second one up at such a rate. They cannot show where PostgreSQL ' +
      'or a network would become the bound. The processor time per answer, below, tells how many ' +
      'cores the same answers need: where it is the same with two replicas as with one, each ' +
      'adds its full share as long as it has a core.',
  ];
}

function cpuTable(summaries: readonly Summary[]): string[][] {
  return [
    ['workload', 'at', 'contestant', 'µs per answer'],
    ...summaries.map(({ label, connections, contestant, cpuMicrosBy }) => [
      label,
      String(connections),
      contestant,
      Object.entries(cpuMicrosBy)
        .map(([process, micros]) => `${process} ${inDigits(micros)}`)
        .join(', '),
    ]),
  ];
}

function goalTable(goals: readonly Goal[], cores: number): string[][] {
  return [
    ['figure', 'must', 'goal', 'seen', 'kept'],
    ...goals.map((goal) => {
      const { sentence, must, hope, better, seen } = goal;
      const sign = better === 'more' ? '≥' : '≤';
      return [
        sentence,
        `${sign} ${inDigits(must)}`,
        hope === undefined ? '' : `${sign} ${inDigits(hope)}`,
        seen === undefined ? '' : inDigits(seen),
        verdict(goal, cores),
      ];
    }),
  ];
}

function verdict(goal: Goal, cores: number): string {
  const kept = isKept(goal, cores);
  if (kept === undefined) return `needs ${goal.needsCores} cores; ${cores} here`;
  return kept ? 'yes' : 'NO';
}

function plotsOf(summaries: readonly Summary[]): Map<string, string> {
  const groups = new Map<string, Summary[]>();
  for (const summary of summaries) {
    const name = `${summary.label} at ${summary.connections}`;
    groups.set(name, [...(groups.get(name) ?? []), summary]);
  }
  const barsOf = (value: (one: Summary) => number, words?: (one: Summary) => string) =>
    [...groups].map(([label, ofGroup]) => ({
      label,
      bars: ofGroup.map((one) => ({
        label: one.contestant,
        value: value(one),
        ...(words !== undefined && { text: words(one) }),
      })),
    }));
  const first = (one: Summary) => Object.values(one.ratios)[0]?.median ?? 1;
  return new Map([
    [
      'ratios',
      barPlot({
        title: 'How much of the floor is left',
        unit: 'answers a second, as a share of the first of each group',
        groups: barsOf(
          (one) => (isFirst(one, groups) ? 1 : first(one)),
          (one) =>
            `${inDigits(isFirst(one, groups) ? 1 : first(one))}   (${inDigits(one.perSecond)}/s)`,
        ),
      }),
    ],
    [
      'latency-p50',
      barPlot({
        title: 'The usual wait',
        unit: 'median latency in milliseconds, logarithmic',
        groups: barsOf(({ p50 }) => p50),
        scale: 'logarithmic',
      }),
    ],
    [
      'latency-p99',
      barPlot({
        title: 'The wait of one in a hundred',
        unit: '99th percentile of the latency in milliseconds, logarithmic',
        groups: barsOf(({ p99 }) => p99),
        scale: 'logarithmic',
      }),
    ],
    [
      'memory',
      barPlot({
        title: 'Memory',
        unit: 'resident after the last round, all processes of a contestant, in MB',
        groups: barsOf(({ residentBytes }) =>
          Object.values(residentBytes).reduce((sum, bytes) => sum + bytes / 1e6, 0),
        ),
      }),
    ],
  ]);
}

function isFirst(one: Summary, groups: ReadonlyMap<string, readonly Summary[]>): boolean {
  return groups.get(`${one.label} at ${one.connections}`)?.[0] === one;
}

function csvOf({ measurements }: Results): string {
  return forCsv([
    [
      ...['suite', 'label', 'connections', 'contestant', 'round', 'per_second'],
      ...['p50_ms', 'p90_ms', 'p99_ms', 'max_ms', 'answered', 'acknowledged'],
      ...['errors', 'non2xx', 'generator_cores'],
    ],
    ...measurements.map((one) => [
      ...[one.suite, one.label, one.connections, one.contestant, one.round, one.perSecond],
      ...[one.all.p50, one.all.p90, one.all.p99, one.all.max, one.answered, one.acknowledged],
      ...[one.errors, one.non2xx, one.generatorCores],
    ]),
  ]);
}
