import { isDeepStrictEqual } from 'node:util';
import { requestIdPattern } from '@bazar/contracts';
import swagger from '@fastify/swagger';
import swaggerUi from '@fastify/swagger-ui';
import type { FastifyInstance } from 'fastify';
import { pageSecurityHeaders } from './security-headers.js';

/** Set by `mount` on a route whose body may be left out; no part of the document. */
export const optionalBody = 'x-optional-body';

/**
 * The OpenAPI 3.1 document of the mounted routes at `/docs/json`, and its pages under `/docs`. Two
 * different schemas of one title are a mistake that reading the document throws.
 */
export function addDocs(app: FastifyInstance, name: string, version: string): void {
  app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: `Bazar: ${name}`,
        version,
        description:
          'What fails is answered with a problem document (RFC 9457), whose code is one of a table. ' +
          'Routes that need a bearer token say so.',
        license: { name: 'MIT', identifier: 'MIT' },
      },
      servers: [{ url: '/' }],
      components: {
        parameters: requestHeaders,
        securitySchemes: { bearer: { type: 'http', scheme: 'bearer' } },
      },
    },
    transformObject: (document) => {
      if (!('openapiObject' in document)) return document.swaggerObject;
      const { openapiObject } = document;
      const schemas = completeOperations(openapiObject.paths);
      Object.assign(openapiObject, { components: { ...openapiObject.components, schemas } });
      return openapiObject;
    },
  });
  let text: string | undefined;
  app.register((scope, _options, done) => {
    scope.addHook('onRequest', (_request, reply, next) => {
      reply.headers(pageSecurityHeaders);
      next();
    });
    scope.register(swaggerUi, {
      routePrefix,
      // Else the pages tell a validator on the internet where they are, and show what it says.
      uiConfig: { validatorUrl: null },
      uiHooks: {
        // The plugin would write out the same hundred thousand characters for everybody who asks.
        async preHandler(request, reply) {
          if (request.routeOptions.url !== `${routePrefix}/json`) return;
          text ??= JSON.stringify(app.swagger());
          return reply.type('application/json; charset=utf-8').send(text);
        },
      },
    });
    done();
  });
}

const routePrefix = '/docs';

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

/**
 * Adds the headers of every request; and the plugin takes every declared body for a required one.
 *
 * @returns the schemas that have a title, by it: the operations now refer to them
 */
function completeOperations(paths: object | undefined): Record<string, Schema> {
  const references = Object.keys(requestHeaders).map((name) => ({
    $ref: `#/components/parameters/${name}`,
  }));
  const named: Record<string, Schema> = {};
  for (const operation of Object.values(paths ?? {}).flatMap((path) => Object.values(path))) {
    if (!isOperation(operation)) continue;
    operation.parameters = [...(operation.parameters ?? []), ...references];
    if (operation[optionalBody] && operation.requestBody) operation.requestBody.required = false;
    delete operation[optionalBody];
    for (const { content = {} } of [
      operation.requestBody ?? {},
      ...Object.values(operation.responses),
    ]) {
      for (const media of Object.values(content)) {
        if (media.schema !== undefined) media.schema = referring(media.schema, named);
      }
    }
  }
  return named;
}

interface Schema {
  readonly $ref?: string;
  readonly title?: string;
  readonly description?: string;
  readonly type?: string | readonly string[];
  readonly enum?: readonly unknown[];
  readonly anyOf?: readonly Schema[];
  readonly items?: Schema;
  readonly properties?: Readonly<Record<string, Schema>>;
}

interface WithContent {
  readonly content?: Readonly<Record<string, { schema?: Schema }>>;
}

interface Operation {
  parameters?: object[];
  requestBody?: WithContent & { required?: boolean };
  readonly responses: Readonly<Record<string, WithContent>>;
  [optionalBody]?: true;
}

function isOperation(value: unknown): value is Operation {
  return typeof value === 'object' && value !== null && 'responses' in value;
}

/**
 * A schema in which every part that has a title is a reference to it, so that a generated client
 * has one type for each and a reader finds it once. The parts are put into `named`.
 */
function referring(schema: Schema, named: Record<string, Schema>): Schema {
  const plain = enumeration(schema);
  const { title, anyOf, items, properties } = plain;
  const parts: Schema = {
    ...plain,
    ...(anyOf && { anyOf: anyOf.map((part) => referring(part, named)) }),
    ...(items && { items: referring(items, named) }),
    ...(properties && {
      properties: Object.fromEntries(
        Object.entries(properties).map(([key, part]) => [key, referring(part, named)]),
      ),
    }),
  };
  if (title === undefined) return parts;
  const earlier = named[title];
  if (earlier !== undefined && !isSame(earlier, parts)) {
    throw new TypeError(`Two different schemas have the title ${title}`);
  }
  named[title] = earlier ?? parts;
  return { $ref: `#/components/schemas/${title}` };
}

/** The plugin takes the example out of a body's schema, and leaves it in an answer's. */
function isSame(one: Schema, other: Schema): boolean {
  return isDeepStrictEqual({ ...one, examples: [] }, { ...other, examples: [] });
}

/** A union of literal strings as the enumeration that it is; any other schema as it stands. */
function enumeration(schema: Schema): Schema {
  const { anyOf, ...rest } = schema;
  const isOfLiterals = anyOf?.every((each) => each.type === 'string' && each.enum !== undefined);
  if (anyOf === undefined || !isOfLiterals) return schema;
  return { ...rest, type: 'string', enum: anyOf.flatMap((each) => each.enum ?? []) };
}
