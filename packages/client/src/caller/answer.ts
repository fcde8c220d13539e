import {
  type Body,
  Failure,
  failures,
  isFailureCode,
  problemMediaType,
  type ResponseHeaders,
  type Route,
} from '@bazar/contracts';
import type { Plan } from './plan.js';
import type { TransportResponse } from './transport.js';

/** The headers of an answer; those that the route declares are known by their lower-case names. */
export type AnswerHeaders<R extends Route> = Readonly<Record<string, string>> & {
  readonly [Name in Lowercase<keyof ResponseHeaders<R> & string>]?: string;
};

/** The one success of a route. */
export interface Answer<R extends Route> {
  readonly status: number;
  readonly headers: AnswerHeaders<R>;
  readonly body: Body<R>;
  /** The body as it came, for whoever passes it on. */
  readonly text: string;
}

/** Says where and why the body of a route's success is wrong, or nothing when all is well. */
export type ResponseCheck = (route: string, body: unknown) => string | undefined;

/**
 * Reads an answer as the success that its route declares.
 *
 * @throws Failure the problem that the service declared and told us (`foreign`), or `unavailable`
 *   for an answer against the contract.
 */
export function answerOf(
  plan: Plan,
  response: TransportResponse,
  check: ResponseCheck | undefined,
): { status: number; headers: Record<string, string>; body: unknown; text: string } {
  const { status } = response;
  const headers = singleValues(response.headers);
  if (status !== plan.status) throw refusal(plan, response, headers);
  const body = successBody(plan, response.body, headers);
  const complaint = check?.(plan.name, body);
  if (complaint !== undefined) throw breach(plan, `in the body, ${complaint}`);
  return { status, headers, body, text: response.body };
}

function breach(plan: Plan, what: string, cause?: unknown): Failure {
  const detail = `${plan.label} was answered against its contract: ${what}`;
  return new Failure('unavailable', detail, cause === undefined ? {} : { cause });
}

function successBody(plan: Plan, body: string, headers: Record<string, string>): unknown {
  if (plan.mediaType === undefined) {
    if (body !== '') throw breach(plan, 'there should be no body');
    return undefined;
  }
  const mediaType = mediaTypeOf(headers);
  if (mediaType !== plan.mediaType) {
    throw breach(plan, `the body should be ${plan.mediaType}`);
  }
  return mediaType.startsWith('text/') ? body : parsed(plan, body);
}

function parsed(plan: Plan, body: string): unknown {
  try {
    return JSON.parse(body);
  } catch (cause) {
    throw breach(plan, 'the body is not JSON', cause);
  }
}

/** The failure that an answer other than the success stands for. */
function refusal(plan: Plan, response: TransportResponse, headers: Record<string, string>) {
  const { status } = response;
  if (status < 400 || mediaTypeOf(headers) !== problemMediaType) {
    return breach(plan, `status ${status} without a problem document`);
  }
  const told = toldFailure(parsed(plan, response.body), status, headers['retry-after']);
  if (told === undefined) return breach(plan, `status ${status} with an unknown problem`);
  // A failure that the route does not declare is between us and that service, so it must not reach
  // our own caller as if it were the caller's mistake.
  return Object.hasOwn(plan.declared, status)
    ? told
    : breach(plan, `status ${status} is not declared`, told);
}

function toldFailure(
  problem: unknown,
  status: number,
  retryAfter: string | undefined,
): Failure | undefined {
  if (typeof problem !== 'object' || problem === null) return undefined;
  if (!('code' in problem && isFailureCode(problem.code))) return undefined;
  if (!('detail' in problem && typeof problem.detail === 'string')) return undefined;
  if (failures[problem.code].status !== status) return undefined;
  return new Failure(problem.code, problem.detail, {
    foreign: true,
    ...(/^\d{1,9}$/.test(retryAfter ?? '') && { retryAfterSeconds: Number(retryAfter) }),
  });
}

function mediaTypeOf(headers: Record<string, string>): string {
  return (headers['content-type'] ?? '').replace(/;.*/s, '').trim().toLowerCase();
}

function singleValues(headers: TransportResponse['headers']): Record<string, string> {
  const single: Record<string, string> = {};
  for (const [name, value] of Object.entries(headers)) {
    if (value !== undefined) single[name] = typeof value === 'string' ? value : value.join(', ');
  }
  return single;
}
