import { type Static, Type } from '@sinclair/typebox';
import { type FailureCode, failureCodes, failures } from './failure-table.js';

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
    own: Type.Optional(
      Type.Literal(true, {
        description: 'The replica that answers could not work itself: another one may.',
      }),
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
  /** What else the problem document tells programs (RFC 9457, section 3.2). */
  readonly members?: Readonly<Record<string, unknown>>;
}

/** What a use case throws: a code of the table and one sentence for the caller. */
export class Failure extends Error {
  readonly code: FailureCode;
  readonly retryAfterSeconds: number | undefined;
  readonly foreign: boolean;
  readonly nothingDone: boolean;
  readonly members: Readonly<Record<string, unknown>> | undefined;

  constructor(code: FailureCode, detail: string, options: FailureOptions = {}) {
    super(detail, options);
    this.name = 'Failure';
    this.code = code;
    this.foreign = options.foreign ?? false;
    this.nothingDone = options.nothingDone ?? false;
    this.members = options.members;
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
export function itemProblem(
  { code, message: detail, nothingDone }: Failure,
  isOwn = false,
): ItemProblem {
  return {
    code,
    detail,
    ...(nothingDone && { nothing_done: true as const }),
    ...(isOwn && { own: true as const }),
  };
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

/** The same failure, where an earlier attempt may have done what this one did not. */
export function withOutcomeUnknown(failure: Failure): Failure {
  if (!failure.nothingDone) return failure;
  const { code, message, cause, foreign, retryAfterSeconds } = failure;
  return new Failure(code, message, {
    cause,
    foreign,
    ...(retryAfterSeconds !== undefined && { retryAfterSeconds }),
  });
}

/** The problem document of a failure. */
export function problemOf(failure: Failure, requestId: string): Problem {
  return {
    ...failure.members,
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
