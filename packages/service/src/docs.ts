import swagger from '@fastify/swagger';
import swaggerUi from '@fastify/swagger-ui';
import type { FastifyInstance } from 'fastify';

/** Set by `mount` on a route whose body may be left out; no part of the document. */
export const optionalBody = 'x-optional-body';

/** The OpenAPI 3.1 document of the mounted routes at `/docs/json`, and its pages under `/docs`. */
export function addDocs(app: FastifyInstance, name: string, version: string): void {
  app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: `Bazar: ${name}`,
        version,
        license: { name: 'MIT', identifier: 'MIT' },
      },
      servers: [{ url: '/' }],
      components: {
        securitySchemes: { bearer: { type: 'http', scheme: 'bearer' } },
      },
    },
    transformObject: (document) => {
      if ('openapiObject' in document) relaxBodies(document.openapiObject.paths);
      return 'openapiObject' in document ? document.openapiObject : document.swaggerObject;
    },
  });
  app.register(swaggerUi, { routePrefix: '/docs' });
}

/** The plugin takes every declared body for a required one. */
function relaxBodies(paths: object | undefined): void {
  for (const operation of Object.values(paths ?? {}).flatMap((path) => Object.values(path))) {
    if (!isOperation(operation)) continue;
    operation.requestBody.required = false;
    delete operation[optionalBody];
  }
}

interface Operation {
  requestBody: { required?: boolean };
  [optionalBody]?: true;
}

function isOperation(value: unknown): value is Operation {
  return typeof value === 'object' && value !== null && optionalBody in value;
}
