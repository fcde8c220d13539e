import { Failure } from '@bazar/contracts';
import type { ResponseCheck } from './answer.js';
import type { Plan } from './plan.js';
import type { TransportRequest } from './transport.js';

const defaultTimeoutMs = 10_000;
/** The longest that a timer takes; a longer one would fire at once. */
const maxTimeoutMs = 2_147_483_647;

export interface CallerOptions {
  /** Checks what comes back; without one, bodies are taken on trust. */
  readonly check?: ResponseCheck;
  /** How long a call may take that names no time itself; 10,000 ms by default. */
  readonly timeoutMs?: number;
  /** Sent with every call, for example `authorization`. Names in lower case. */
  readonly headers?: Readonly<Record<string, string>>;
}

export interface CallOptions {
  /** How long this call may take, from now to the last byte of its answer. */
  readonly timeoutMs?: number;
  /** Ends the call early; it then rejects with the signal's reason. */
  readonly signal?: AbortSignal;
  /** Names the request in the logs of all services that it touches. */
  readonly requestId?: string;
  /** Sent with this call. Names in lower case. */
  readonly headers?: Readonly<Record<string, string>>;
}

/** A request as any route's caller may write it. */
export interface AnyInput {
  readonly params?: Readonly<Record<string, unknown>>;
  readonly query?: Readonly<Record<string, unknown>>;
  readonly headers?: Readonly<Record<string, unknown>>;
  readonly body?: unknown;
}

/**
 * Writes a call as HTTP.
 *
 * @throws Failure `malformed_request` for an input that cannot be written, `deadline_exceeded` when
 *   no time is left to send it.
 */
export function requestOf(
  plan: Plan,
  input: AnyInput,
  call: CallOptions,
  options: CallerOptions,
): TransportRequest {
  const patienceMs = call.timeoutMs ?? options.timeoutMs ?? defaultTimeoutMs;
  const timeoutMs = Math.floor(Math.min(patienceMs, maxTimeoutMs));
  if (!(timeoutMs >= 1)) {
    throw new Failure('deadline_exceeded', `${plan.label}: no time was left to send it`, {
      nothingDone: true,
    });
  }
  const body = input.body === undefined ? undefined : JSON.stringify(input.body);
  const headers = headersOf(plan, options.headers, call.headers, input.headers, {
    'content-type': body === undefined ? undefined : 'application/json',
    'x-request-id': call.requestId,
    // What is left of the caller's patience goes along, so that nobody works for a gone caller.
    'x-timeout-ms': timeoutMs,
  });
  const { method } = plan;
  return { method, path: pathOf(plan, input), headers, body, timeoutMs, signal: call.signal };
}

function pathOf(plan: Plan, { params = {}, query = {} }: AnyInput): string {
  let path = '';
  for (const [index, part] of plan.path.entries()) {
    path += index % 2 === 0 ? part : segment(plan, part, params[part]);
  }
  let separator = '?';
  for (const [name, value] of Object.entries(query)) {
    if (value === undefined) continue;
    path += `${separator}${encodeURIComponent(name)}=${encoded(plan, name, value)}`;
    separator = '&';
  }
  return path;
}

/** One dot or two would be another route, whatever they are written as. */
function segment(plan: Plan, name: string, value: unknown): string {
  if (value === '.' || value === '..') throw malformed(plan, name);
  return encoded(plan, name, value);
}

function encoded(plan: Plan, name: string, value: unknown): string {
  const text = String(value);
  // An empty part of a path would be another route; 1e21 and NaN are no plain decimals; half of a
  // surrogate pair has no UTF-8 form.
  const sound =
    typeof value === 'number'
      ? /^-?\d+(\.\d+)?$/.test(text)
      : text !== '' && !/\p{Surrogate}/u.test(text);
  if (value === undefined || !sound) throw malformed(plan, name);
  return encodeURIComponent(text);
}

/** One set of headers; where two sources name the same, the later one holds. */
function headersOf(plan: Plan, ...sources: AnyInput['headers'][]): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const source of sources) {
    for (const [name, value] of Object.entries(source ?? {})) {
      if (value === undefined) continue;
      const text = String(value);
      // Anything else could end this header and begin another one (RFC 9110, section 5.5).
      if (!/^[\t\x20-\x7e]*$/.test(text)) throw malformed(plan, name);
      headers[name] = text;
    }
  }
  return headers;
}

function malformed(plan: Plan, name: string): Failure {
  return new Failure('malformed_request', `${plan.label}: ${name} cannot be written as HTTP`);
}
