import type { IncomingMessage } from 'node:http';

/** Who asks, and how long it will wait: what goes along with every further call. */
export interface Caller {
  readonly requestId: string;
  /** What is left of the caller's patience; 0 when it is spent, undefined when it did not say. */
  readonly timeoutMs: number | undefined;
  readonly traceparent: string | undefined;
}

/** Seven digits are almost three hours: more is as good as no deadline and is treated as none. */
const milliseconds = /^[0-9]{1,7}$/;

function matching(value: string | string[] | undefined, pattern: RegExp): string | undefined {
  return typeof value === 'string' && pattern.test(value) ? value : undefined;
}

/** What a request's `x-timeout-ms` says, as `Caller.timeoutMs`. */
export function timeoutOf({ headers }: IncomingMessage): number | undefined {
  const given = headers['x-timeout-ms'];
  if (given === undefined) return undefined;
  const timeout = matching(given, milliseconds);
  return timeout === undefined ? undefined : Number(timeout);
}

/** W3C Trace Context, section 3.2: version, trace, parent and flags; all zeros are invalid. */
const trace =
  /^(?!ff)([0-9a-f]{2})-((?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2})(-.*)?$/;

/**
 * A trace parent of version 00. One of a later version may have more behind what 00 knows of it, and
 * goes on as what we know (W3C Trace Context, section 4.3), so that it always has the same length.
 */
function traceOf(value: string | string[] | undefined): string | undefined {
  const [, version, known, more] = (typeof value === 'string' && trace.exec(value)) || [];
  if (known === undefined || (version === '00' && more !== undefined)) return undefined;
  return `00-${known}`;
}

/**
 * Reads a request's `x-timeout-ms` and `traceparent`. Both are advice: what cannot be read is left
 * out rather than refused, as W3C asks for trace parents.
 */
export function callerOf(request: { readonly id: string; readonly raw: IncomingMessage }): Caller {
  const { headers } = request.raw;
  return {
    requestId: request.id,
    timeoutMs: timeoutOf(request.raw),
    traceparent: traceOf(headers['traceparent']),
  };
}
