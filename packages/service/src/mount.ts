import { createHash, timingSafeEqual } from 'node:crypto';
import {
  type Body,
  type Contract,
  Failure,
  isDecimal,
  type ResponseHeaders,
  type Route,
  successStatus,
} from '@bazar/contracts';
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import { TypeGuard } from '@sinclair/typebox';
import type {
  FastifyInstance,
  FastifyReply,
  FastifyRequest,
  onRequestHookHandler,
  preValidationHookHandler,
  RawRequestDefaultExpression,
  RawServerDefault,
  RouteGenericInterface,
  RouteOptions,
} from 'fastify';
import { timeoutOf } from './caller.js';
import { inTimeOf } from './deadline.js';
import { optionalBody } from './docs.js';
import type { Ready, Sent } from './ready.js';
import { pageSecurityHeaders } from './security-headers.js';

/** Fastify's own request, with the types that the TypeBox provider reads from the contract. */
export type HandlerRequest<R extends Route> = FastifyRequest<
  RouteGenericInterface,
  RawServerDefault,
  RawRequestDefaultExpression,
  R['schema'],
  TypeBoxTypeProvider
>;

/** Fastify's reply, narrowed to the headers that the contract declares. */
export interface NarrowReply<R extends Route> {
  header<K extends keyof ResponseHeaders<R>>(
    name: K,
    value: Exclude<ResponseHeaders<R>[K], undefined>,
  ): unknown;
}

type Answer<R extends Route> = Body<R> | Ready<Body<R>> | Sent;

/** Answers one route: the body of its success, or a thrown `Failure`. */
export type Handler<R extends Route> = (
  request: HandlerRequest<R>,
  reply: NarrowReply<R>,
) => Answer<R> | Promise<Answer<R>>;

/** One handler for every route of a contract, and none besides. */
export type Handlers<C extends Contract> = { readonly [K in keyof C]: Handler<C[K]> };

export interface MountOptions<C extends Contract = Contract> {
  /** The bearer token that the routes take; undefined leaves them open. */
  readonly token?: string | undefined;
  /** The largest body in bytes, where the service's own limit does not suit. */
  readonly bodyLimitBytes?: number;
  /** True for routes that the OpenAPI document does not show. */
  readonly hidden?: boolean;
  /**
   * Routes that keep to `x-timeout-ms` themselves, because they have more to say of what became of
   * the request, or that need not; true for all. The kit answers all others in time.
   */
  readonly ownTime?: true | readonly (keyof C)[];
}

type Part = 'params' | 'query' | 'headers';
type Fields = Record<string, unknown>;

/** The keys of a route whose strings are numbers in code, found once. */
function decimalKeys(route: Route): readonly (readonly [Part, string])[] {
  const { params, querystring, headers } = route.schema;
  const parts = { params, query: querystring, headers } as const;
  const found: [Part, string][] = [];
  for (const part of ['params', 'query', 'headers'] as const) {
    for (const [key, schema] of Object.entries(parts[part]?.properties ?? {})) {
      if (isDecimal(schema)) found.push([part, key]);
    }
  }
  return found;
}

/** Turns the validated digits into numbers, in place: a copy would cost every request. */
function toNumbers(request: FastifyRequest, keys: readonly (readonly [Part, string])[]): void {
  for (const [part, key] of keys) {
    const fields = request[part] as Fields;
    const text = fields[key];
    if (text !== undefined) fields[key] = Number(text);
  }
}

const digest = (text: string) => createHash('sha256').update(text).digest();
const bearer = /^Bearer +(\S+)$/i;

type WithHeaders = Pick<FastifyRequest, 'headers'>;

function tokenOf({ headers }: WithHeaders): string | undefined {
  return bearer.exec(headers.authorization ?? '')?.[1];
}

/**
 * Whether a request has the token. Both are hashed so that the comparison takes the same time
 * whatever their lengths and first characters are.
 */
export function tokenCheck(token: string): (request: WithHeaders) => boolean {
  const expected = digest(token);
  return (request) => {
    const presented = tokenOf(request);
    return presented !== undefined && timingSafeEqual(digest(presented), expected);
  };
}

/** Lets nobody through without the token, before a byte of the body is read. */
function requireToken(token: string): onRequestHookHandler {
  const isRight = tokenCheck(token);
  return (request, _reply, done) => {
    if (tokenOf(request) === undefined) {
      done(new Failure('unauthorized', 'Send the header "Authorization: Bearer <token>".'));
    } else if (!isRight(request)) {
      done(new Failure('forbidden', 'This token does not open this route.'));
    } else {
      done();
    }
  };
}

/** No body is an empty object where there could be one: the schema then names what is missing. */
const missingBody: preValidationHookHandler = (request, _reply, done) => {
  if (request.body === undefined) request.body = {};
  done();
};

const charset = '; charset=utf-8';

function contentTypeOf(route: Route): string | undefined {
  const [mediaType] = Object.keys(route.schema.response[successStatus(route)]?.content ?? {});
  return mediaType && mediaType + charset;
}

/** What Fastify calls: the handler between the conversion of ids and the type of the answer. */
function nativeHandler(route: Route, handler: Handler<Route>) {
  const status = successStatus(route);
  const contentType = contentTypeOf(route);
  const isPage = contentType?.startsWith('text/html') ?? false;
  const keys = decimalKeys(route);
  return (request: FastifyRequest, reply: FastifyReply): unknown => {
    toNumbers(request, keys);
    if (contentType !== undefined) reply.header('content-type', contentType);
    if (isPage) reply.headers(pageSecurityHeaders);
    if (status !== 200) reply.code(status);
    if (status === 204) return answerNothing(handler, request, reply);
    return handler(narrow(request), reply);
  };
}

/** The same handler, for callers who wait only so long. */
function inTime(handler: Handler<Route>): Handler<Route> {
  return (request, reply) => {
    const timeoutMs = timeoutOf(request.raw);
    if (timeoutMs === undefined) return handler(request, reply);
    return inTimeOf(timeoutMs, () => handler(request, reply));
  };
}

/** Fastify takes an undefined result for "not yet answered", so 204 has to be sent. */
async function answerNothing(
  handler: Handler<Route>,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<void> {
  await handler(narrow(request), reply);
  if (!reply.sent) await reply.send();
}

/** Fastify has validated the four parts against the contract; the type says what that proved. */
function narrow(request: FastifyRequest): HandlerRequest<Route> {
  return request as unknown as HandlerRequest<Route>;
}

/** A route of a contract as Fastify takes it. */
function nativeRoute<C extends Contract>(
  name: string,
  route: Route,
  handler: Handler<Route>,
  options: MountOptions<C>,
): RouteOptions {
  const { token, bodyLimitBytes, hidden = false, ownTime = [] } = options;
  const own: true | readonly PropertyKey[] = ownTime;
  const { method, url, schema } = route;
  return {
    method,
    url,
    schema: {
      ...schema,
      operationId: name,
      hide: hidden,
      security: token === undefined ? [] : [{ bearer: [] }],
      ...(schema.body !== undefined &&
        TypeGuard.IsOptional(schema.body) && { [optionalBody]: true }),
    },
    ...(token !== undefined && { onRequest: requireToken(token) }),
    ...(schema.body !== undefined && { preValidation: missingBody }),
    ...(bodyLimitBytes !== undefined && { bodyLimit: bodyLimitBytes }),
    handler: nativeHandler(route, own === true || own.includes(name) ? handler : inTime(handler)),
  };
}

/**
 * Registers every route of a contract natively: Fastify validates and serializes. Throws a
 * `TypeError` when a handler is missing or has no route.
 */
export function mount<C extends Contract>(
  app: FastifyInstance,
  contract: C,
  handlers: Handlers<NoInfer<C>>,
  options: MountOptions<NoInfer<C>> = {},
): void {
  const invented = Object.keys(handlers).find((name) => !Object.hasOwn(contract, name));
  if (invented !== undefined) throw new TypeError(`There is no route "${invented}" to handle`);
  // Fastify's own validation is what makes each handler safe to call with a request of its route.
  const byName = handlers as unknown as Readonly<Record<string, Handler<Route> | undefined>>;
  const routes = Object.entries<Route>(contract).map(([name, route]) => {
    const handler = byName[name];
    if (handler === undefined) throw new TypeError(`Nothing handles the route "${name}"`);
    return nativeRoute(name, route, handler, options);
  });
  // A plugin of its own loads after the docs, whose hook would otherwise miss the routes.
  app.register((scope, _options, done) => {
    for (const route of routes) scope.route(route);
    done();
  });
}
