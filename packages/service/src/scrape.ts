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

/** `GET /metrics` in Prometheus' text form. */
export function addScrape(app: FastifyInstance, metrics: Metrics): void {
  app.register((scope, _options, done) => {
    scope.get('/metrics', { schema }, async (_request, reply) => {
      reply.header('content-type', metrics.contentType);
      return metrics.scrape();
    });
    done();
  });
}
