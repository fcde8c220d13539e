import type { Static, TObject, TOptional, TSchema } from '@sinclair/typebox';

/** One answer of a route: Fastify's `content` form of a response schema. */
export interface Representation {
  readonly description: string;
  readonly headers?: Readonly<Record<string, TSchema>>;
  readonly content?: Readonly<Record<string, { readonly schema: TSchema }>>;
}

/**
 * A Fastify route without its handler. The server's routes, the client's methods and the OpenAPI
 * document are all derived from this one value.
 */
export interface Route {
  readonly method: 'GET' | 'POST';
  readonly url: `/${string}`;
  readonly schema: {
    readonly summary: string;
    readonly description?: string;
    readonly tags?: string[];
    readonly params?: TObject;
    readonly querystring?: TObject;
    readonly headers?: TObject;
    readonly body?: TSchema;
    readonly response: Readonly<Record<number, Representation>>;
  };
}

/** Route name → route. */
export type Contract = Readonly<Record<string, Route>>;

type SuccessStatus = 200 | 201 | 204;
type SuccessOf<R extends Route> = R['schema']['response'][keyof R['schema']['response'] &
  SuccessStatus];

/** The type of a success body: JSON as its schema says, text as a string, none as undefined. */
export type Body<R extends Route> =
  SuccessOf<R> extends {
    content: Readonly<Record<string, { schema: infer S extends TSchema }>>;
  }
    ? Static<S>
    : undefined;

/** The headers that a route declares for its success, all of them optional on the wire. */
export type ResponseHeaders<R extends Route> =
  SuccessOf<R> extends { headers: infer H extends Readonly<Record<string, TSchema>> }
    ? { [K in keyof H]?: Static<H[K]> }
    : Record<never, never>;

type Part<S> = S extends TSchema ? Static<S> : undefined;
type PartOf<R extends Route, K extends keyof Route['schema']> = R['schema'] extends {
  [key in K]: infer S;
}
  ? Part<S>
  : undefined;

/** The four parts of a request as the server's handler sees them, validated. */
export interface Request<R extends Route> {
  readonly params: PartOf<R, 'params'>;
  readonly query: PartOf<R, 'querystring'>;
  readonly headers: PartOf<R, 'headers'>;
  readonly body: PartOf<R, 'body'>;
}

type Parts<R extends Route> = {
  [K in keyof Request<R> as Request<R>[K] extends undefined ? never : K]: Request<R>[K];
};
/** A body may be left out only where the contract says so; what else has no required key, always. */
type MayBeLeftOut<R extends Route> = {
  [K in keyof Parts<R>]: K extends 'body'
    ? R['schema']['body'] extends TOptional<TSchema>
      ? K
      : never
    : Record<never, never> extends Parts<R>[K]
      ? K
      : never;
}[keyof Parts<R>];
/** The request as a caller writes it: a part in which all is optional may be left out. */
export type Input<R extends Route> = Omit<Parts<R>, MayBeLeftOut<R>> &
  Partial<Pick<Parts<R>, MayBeLeftOut<R>>>;

/** The status that a route answers when all is well; there is exactly one. */
export function successStatus(route: Route): number {
  const statuses = Object.keys(route.schema.response)
    .map(Number)
    .filter((status) => status >= 200 && status < 300);
  const [status] = statuses;
  if (status === undefined || statuses.length > 1) {
    throw new TypeError(`${route.method} ${route.url} must declare exactly one success status`);
  }
  return status;
}

/** What a read answers to a caller who names the state that it has already. */
export const notModified = { description: 'Nothing has changed since the state named.' } as const;

/** A success that carries JSON. */
export function json<S extends TSchema>(description: string, schema: S) {
  return { description, content: { 'application/json': { schema } } } as const;
}

/** A success that carries JSON and may carry these headers. */
export function jsonWithHeaders<S extends TSchema, H extends Readonly<Record<string, TSchema>>>(
  description: string,
  schema: S,
  headers: H,
) {
  return { description, headers, content: { 'application/json': { schema } } } as const;
}
