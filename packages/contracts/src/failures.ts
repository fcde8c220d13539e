import { type Static, Type } from '@sinclair/typebox';

/**
 * Every way in which a request can fail, and the HTTP status it maps to. A use case throws a code;
 * the mapping to HTTP happens once, from this table. The title is the same for every occurrence
 * (RFC 9457, section 3.1.3); what is particular to one occurrence stands in the detail.
 */
export const failures = {
  malformed_request: { status: 400, title: 'The request is malformed' },
  unauthorized: { status: 401, title: 'A bearer token is required' },
  forbidden: { status: 403, title: 'The bearer token does not open this route' },
  book_not_found: { status: 404, title: 'There is no such book' },
  order_not_found: { status: 404, title: 'There is no such order' },
  route_not_found: { status: 404, title: 'There is no such route' },
  method_not_allowed: { status: 405, title: 'The route does not take this method' },
  request_timeout: { status: 408, title: 'The request did not arrive in time' },
  lease_unknown: { status: 409, title: 'The lease is not of this gateway' },
  stock_below_zero: { status: 409, title: 'The update would take the stock below zero' },
  body_too_large: { status: 413, title: 'The body is too large' },
  url_too_long: { status: 414, title: 'The URL is too long' },
  unsupported_media_type: { status: 415, title: 'The body must be JSON' },
  expectation_failed: { status: 417, title: 'The expectation cannot be met' },
  key_reused: { status: 422, title: 'The key was used for another request' },
  too_many_requests: { status: 429, title: 'Too many requests' },
  headers_too_large: { status: 431, title: 'The headers are too large' },
  internal: { status: 500, title: 'The service made a mistake' },
  unavailable: { status: 503, title: 'The service is not available for the moment' },
  overloaded: { status: 503, title: 'The service has more work than it can take' },
  storage_full: { status: 503, title: 'The service cannot promise durability for the moment' },
  deadline_exceeded: { status: 504, title: 'The deadline passed before the answer was known' },
} as const satisfies Record<string, { status: number; title: string }>;

export type FailureCode = keyof typeof failures;

export const failureCodes = Object.keys(failures) as FailureCode[];

/** True for a string that is a code of the table. */
export function isFailureCode(code: unknown): code is FailureCode {
  return typeof code === 'string' && Object.hasOwn(failures, code);
}

const Code = Type.Union(
  failureCodes.map((code) => Type.Literal(code)),
  { description: 'One of the table of failures.' },
);

/** A problem document (RFC 9457), the body of every answer that is not a 200, 201, 204 or 304. */
export const Problem = Type.Object(
  {
    type: Type.String({ description: 'A URI that names the kind of problem.' }),
    title: Type.String(),
    status: Type.Integer({ minimum: 400, maximum: 599 }),
    detail: Type.String(),
    code: Type.Unsafe<FailureCode>(Code),
    request_id: Type.String(),
  },
  { title: 'Problem' },
);
export type Problem = Static<typeof Problem>;

export const problemMediaType = 'application/problem+json';

/** Why one item of a batch failed: a problem without what belongs to an HTTP answer. */
export const ItemProblem = Type.Object(
  {
    code: Type.Unsafe<FailureCode>(Code),
    detail: Type.String(),
    nothing_done: Type.Optional(
      Type.Literal(true, { description: 'The item was refused before anything was done for it.' }),
    ),
  },
  { additionalProperties: false },
);
export type ItemProblem = Static<typeof ItemProblem>;

export interface FailureOptions extends ErrorOptions {
  /** Seconds after which a repeat is worth while; goes out as `Retry-After`. */
  readonly retryAfterSeconds?: number;
  /** True when another service said so in answer to us, false when we found it ourselves. */
  readonly foreign?: boolean;
  /** True when it is known that nothing came of the request; else the outcome may be unknown. */
  readonly nothingDone?: boolean;
}

/** What a use case throws: a code of the table and one sentence for the caller. */
export class Failure extends Error {
  readonly code: FailureCode;
  readonly retryAfterSeconds: number | undefined;
  readonly foreign: boolean;
  readonly nothingDone: boolean;

  constructor(code: FailureCode, detail: string, options: FailureOptions = {}) {
    super(detail, options);
    this.name = 'Failure';
    this.code = code;
    this.foreign = options.foreign ?? false;
    this.nothingDone = options.nothingDone ?? false;
    this.retryAfterSeconds =
      options.retryAfterSeconds ?? (failures[code].status === 503 ? 1 : undefined);
  }

  get status(): number {
    return failures[this.code].status;
  }
}

/**
 * What another service says about *our* request. Our caller did nothing to deserve it: it would
 * try in vain to mend a request that was never wrong.
 */
const accusations: ReadonlySet<FailureCode> = new Set([
  'malformed_request',
  'unauthorized',
  'forbidden',
  'route_not_found',
  'method_not_allowed',
  'request_timeout',
  'body_too_large',
  'url_too_long',
  'unsupported_media_type',
  'expectation_failed',
  'too_many_requests',
  'headers_too_large',
]);

/** True when another service found our own request wrong: a mistake on our side, to be mended. */
export function accusesUs(failure: unknown): boolean {
  return failure instanceof Failure && failure.foreign && accusations.has(failure.code);
}

/** A failed item of a batch as it travels. */
export function itemProblem({ code, message: detail, nothingDone }: Failure): ItemProblem {
  return { code, detail, ...(nothingDone && { nothing_done: true as const }) };
}

/** The failure of an item, as the service behind told it. */
export function toldOfItem({ code, detail, nothing_done }: ItemProblem): Failure {
  return new Failure(code, detail, { foreign: true, nothingDone: nothing_done === true });
}

/** The same failure, now that it is known that nothing came of the request. */
export function withNothingDone(failure: Failure): Failure {
  const { code, message, cause, foreign, retryAfterSeconds } = failure;
  return new Failure(code, message, {
    cause,
    foreign,
    nothingDone: true,
    ...(retryAfterSeconds !== undefined && { retryAfterSeconds }),
  });
}

/** The problem document of a failure. */
export function problemOf(failure: Failure, requestId: string): Problem {
  return {
    type: `urn:problem-type:bazar:${failure.code}`,
    title: failures[failure.code].title,
    status: failure.status,
    detail: failure.message,
    code: failure.code,
    request_id: requestId,
  };
}

const RetryAfter = Type.String({ description: 'Seconds to wait before a repeat.' });

export interface ProblemRepresentation {
  readonly description: string;
  readonly headers?: { readonly 'Retry-After': typeof RetryAfter };
  readonly content: { readonly [problemMediaType]: { readonly schema: typeof Problem } };
}

type StatusOf<Code extends FailureCode> = (typeof failures)[Code]['status'];

/** What any route can answer, whatever it does. */
const always = [
  'malformed_request',
  'request_timeout',
  'expectation_failed',
  'too_many_requests',
  'headers_too_large',
  'internal',
  'unavailable',
  'overloaded',
  'deadline_exceeded',
] as const satisfies FailureCode[];

/** What else a route that takes a body can answer. */
export const bodyFailures = [
  'body_too_large',
  'unsupported_media_type',
] as const satisfies FailureCode[];

/** The response entries of a route that can fail in these ways, and in those that any route can. */
export function fails<Code extends FailureCode = never>(...codes: readonly Code[]) {
  const entries: Record<number, ProblemRepresentation> = {};
  for (const code of [...always, ...codes]) {
    const { status, title } = failures[code];
    const known = entries[status]?.description;
    entries[status] = {
      description: known === undefined ? `${title} (${code})` : `${known}; ${title} (${code})`,
      ...((status === 503 || status === 429) && { headers: { 'Retry-After': RetryAfter } }),
      content: { [problemMediaType]: { schema: Problem } },
    };
  }
  return entries as Record<StatusOf<Code | (typeof always)[number]>, ProblemRepresentation>;
}
