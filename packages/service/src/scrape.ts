import type { FastifyInstance } from 'fastify';
import type { Metrics } from './metrics.js';

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
 * `GET /metrics` in Prometheus' text form. A scrape takes milliseconds: whoever asks while one is under
 * way gets the same figures.
 */
export function addScrape(app: FastifyInstance, metrics: Metrics): void {
  let underWay: Promise<string> | undefined;

  function scrape(): Promise<string> {
    underWay ??= metrics.scrape().finally(() => {
      underWay = undefined;
    });
    return underWay;
  }

  app.register((scope, _options, done) => {
    scope.get('/metrics', { schema }, async (_request, reply) => {
      reply.header('content-type', metrics.contentType);
      return scrape();
    });
    done();
  });
}
