import { requestIdPattern } from '@bazar/contracts';
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
        parameters: requestHeaders,
        securitySchemes: { bearer: { type: 'http', scheme: 'bearer' } },
      },
    },
    transformObject: (document) => {
      if ('openapiObject' in document) completeOperations(document.openapiObject.paths);
      return 'openapiObject' in document ? document.openapiObject : document.swaggerObject;
    },
  });
  app.register(swaggerUi, { routePrefix: '/docs' });
}

/** What every route reads from a request, said once: `callerOf`. */
const requestHeaders = {
  requestId: {
    name: 'x-request-id',
    in: 'header',
    description: 'Names the request in the log, and in the answer.',
    schema: { type: 'string', pattern: requestIdPattern.source },
  },
  timeoutMs: {
    name: 'x-timeout-ms',
    in: 'header',
    description: 'For how many milliseconds the caller still waits.',
    schema: { type: 'string', pattern: '^[0-9]{1,7}$' },
  },
  traceparent: {
    name: 'traceparent',
    in: 'header',
    description: 'W3C Trace Context.',
    schema: { type: 'string' },
  },
} as const;

/** The headers of every request; and the plugin takes every declared body for a required one. */
function completeOperations(paths: object | undefined): void {
  const references = Object.keys(requestHeaders).map((name) => ({
    $ref: `#/components/parameters/${name}`,
  }));
  for (const operation of Object.values(paths ?? {}).flatMap((path) => Object.values(path))) {
    if (!isOperation(operation)) continue;
    operation.parameters = [...(operation.parameters ?? []), ...references];
    if (operation[optionalBody] && operation.requestBody) operation.requestBody.required = false;
    delete operation[optionalBody];
  }
}

interface Operation {
  parameters?: object[];
  requestBody?: { required?: boolean };
  [optionalBody]?: true;
}

function isOperation(value: unknown): value is Operation {
  return typeof value === 'object' && value !== null && 'responses' in value;
}
