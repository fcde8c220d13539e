import swagger from '@fastify/swagger';
import swaggerUi from '@fastify/swagger-ui';
import type { FastifyInstance } from 'fastify';

/** The OpenAPI 3.1 document of the mounted routes at `/docs/json`, and its pages under `/docs`. */
export function addDocs(app: FastifyInstance, name: string, version: string): void {
  app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: { title: `Bazar: ${name}`, version },
      components: {
        securitySchemes: { bearer: { type: 'http', scheme: 'bearer' } },
      },
    },
  });
  app.register(swaggerUi, { routePrefix: '/docs' });
}
