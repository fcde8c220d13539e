import type { FastifyInstance } from 'fastify';
import { Counter, collectDefaultMetrics, Registry } from 'prom-client';

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
export interface Metrics {
  /** One that belongs to no route. */
  unmatched(status: number): void;
  /** One to a `GET` of the route of this pattern. */
  read(route: string, status: number): void;
}
const metricsSchema = {
  operationId: 'metrics',
  summary: 'Counters of the process and of its answers, for Prometheus',
  tags: ['health'],
  response: {
    200: {
      description: "Prometheus' text form",
      content: { 'text/plain': { schema: { type: 'string' } } },
    },
  },
};

/**
 * `GET /metrics` in Prometheus' text form: the process' own and a count of answers by route, method
 * and status. A labelled increment or a histogram at every request costs more than many a handler;
 * here a request adds one to an array that belongs to its route, and the scrape does the rest.
 */
export function addMetrics(app: FastifyInstance): Metrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const unmatched = tallyOf('(none)', '(any)');
  const tallies = [unmatched];
  const reads = new Map<string, Tally>();
  new Counter({
    name: 'bazar_http_requests_total',
    help: 'Answers by route, method and status.',
    labelNames: ['route', 'method', 'status'],
    registers: [registry],
    collect() {
      this.reset();
      for (const { route, method, answers } of tallies) {
        for (const [status, count] of answers.entries()) {
          if (count > 0) this.inc({ route, method, status }, count);
        }
      }
    },
  });
  app.addHook('onRoute', (route) => {
    const tally = tallyOf(route.url, [route.method].flat().join(','));
    tallies.push(tally);
    if ([route.method].flat().includes('GET')) reads.set(route.url, tally);
    const earlier = [route.onResponse ?? []].flat();
    route.onResponse = [
      ...earlier,
      (_request, reply, done) => {
        count(tally, reply.statusCode);
        done();
      },
    ];
  });
  app.register((scope, _options, done) => {
    scope.get('/metrics', { schema: metricsSchema }, async (_request, reply) => {
      reply.header('content-type', registry.contentType);
      return registry.metrics();
    });
    done();
  });
  return {
    unmatched: (status) => count(unmatched, status),
    read: (route, status) => count(reads.get(route) ?? unmatched, status),
  };
}
