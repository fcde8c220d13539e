import type { FastifyInstance } from 'fastify';
import { after } from './after.js';
import type { Metrics } from './metrics.js';

/** Between the end of a scrape and the next one, so that nobody can keep a service busy by them. */
const pauseMs = 100;

const schema = {
  operationId: 'metrics',
  summary: 'Figures of the process and of its work, for Prometheus',
  tags: ['health'],
  response: {
    200: {
      description: "Prometheus' text form",
      content: { 'text/plain': { schema: { type: 'string' } } },
    },
  },
};

/**
 * `GET /metrics` in Prometheus' text form. A scrape takes milliseconds: whoever asks too soon after the
 * last one waits for a moment, and all who wait get the same figures.
 */
export function addScrape(app: FastifyInstance, metrics: Metrics): void {
  let next: Promise<string> | undefined;
  let last: Promise<unknown> = Promise.resolve();

  function scrape(): Promise<string> {
    next ??= last.then(() => {
      next = undefined;
      const scraped = metrics.scrape();
      const pause = () => new Promise<void>((resolve) => after(pauseMs, resolve));
      last = scraped.then(pause, pause);
      return scraped;
    });
    return next;
  }

  app.register((scope, _options, done) => {
    scope.get('/metrics', { schema }, async (_request, reply) => {
      reply.header('content-type', metrics.contentType);
      return scrape();
    });
    done();
  });
}
