import type { FastifyInstance } from 'fastify';
import type { Metrics } from './metrics.js';

interface Tally {
  readonly route: string;
  readonly method: string;
  /** Answers by status: index 0 is unused, as is most of it; adding one is all a request costs. */
  readonly answers: Float64Array;
}

function tallyOf(route: string, method: string): Tally {
  return { route, method, answers: new Float64Array(600) };
}

function count({ answers }: Tally, status: number): void {
  answers[status] = (answers[status] ?? 0) + 1;
}

/** Counts answers that Fastify does not. */
export interface AnswerCount {
  /** One that belongs to no route. */
  unmatched(status: number): void;
  /** One to a request for the route of this pattern. */
  early(method: string, route: string, status: number): void;
}

/**
 * Counts answers by route, method and status. A labelled increment or a histogram at every request
 * costs more than many a handler; here a request adds one to an array that belongs to its route, and
 * the scrape does the rest.
 */
export function countAnswers(app: FastifyInstance, metrics: Metrics): AnswerCount {
  const unmatched = tallyOf('(none)', '(any)');
  const tallies = [unmatched];
  const byMethod = new Map<string, Map<string, Tally>>();
  metrics.counter(
    {
      name: 'bazar_http_requests_total',
      help: 'Answers by route, method and status.',
      labels: ['route', 'method', 'status'],
    },
    () => tallies.flatMap(readTally),
  );
  app.addHook('onRoute', (route) => {
    const methods = [route.method].flat();
    const tally = tallyOf(route.url, methods.join(','));
    tallies.push(tally);
    for (const method of methods) {
      byMethod.set(method, (byMethod.get(method) ?? new Map()).set(route.url, tally));
    }
    const earlier = [route.onResponse ?? []].flat();
    route.onResponse = [
      ...earlier,
      (_request, reply, done) => {
        count(tally, reply.statusCode);
        done();
      },
    ];
  });
  return {
    unmatched: (status) => count(unmatched, status),
    early: (method, route, status) => count(byMethod.get(method)?.get(route) ?? unmatched, status),
  };
}

function readTally({ route, method, answers }: Tally) {
  return [...answers.entries()].flatMap(([status, value]) =>
    value > 0 ? [{ labels: { route, method, status: String(status) }, value }] : [],
  );
}
