import { failures, isFailureCode } from '@bazar/contracts/failures';
import { BazarContractError, BazarError } from './errors.js';
import type { HttpAnswer, HttpRequest } from './exchange.js';
import { isOutcomeUnknown } from './retry.js';

/**
 * The body of a success.
 *
 * @throws BazarError for a problem that the shop told, BazarContractError for anything else
 */
export function bodyOf(request: HttpRequest, answer: HttpAnswer): unknown {
  const { status, headers, text } = answer;
  const { label, key } = request;
  const requestId = requestIdOf(request, headers);
  const facts = { requestId, status, retryAfterMs: retryAfterMs(headers) };
  const mediaType = (headers.get('content-type') ?? '').replace(/;.*/s, '').trim().toLowerCase();
  // Whoever answered so may have been asked before or after the shop.
  const breach = (what: string, cause?: unknown) =>
    new BazarContractError(`${label}: status ${status} ${what}`, { ...facts, key, cause });
  const isProblem = status >= 400 && mediaType === 'application/problem+json';
  const isSuccess = (status === 200 || status === 201) && mediaType === 'application/json';
  if (!isProblem && !isSuccess) {
    throw breach(`with ${mediaType || 'no media type'}, which is no answer of this shop`);
  }
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch (cause) {
    throw breach('with a body that is not JSON', cause);
  }
  if (isSuccess) return body;
  const { code, detail } = Object(body) as { code?: unknown; detail?: unknown };
  if (typeof code !== 'string' || typeof detail !== 'string') throw breach('with no known problem');
  if (!isFailureCode(code) || failures[code].status !== status) {
    throw breach(`with a problem that this client does not know: ${line(`${code}: ${detail}`)}`);
  }
  const isUnknown = request.mayBeDone || isOutcomeUnknown({ code, status });
  throw new BazarError(code, `${label}: ${line(detail)}`, {
    ...facts,
    key: isUnknown ? key : undefined,
  });
}

/** By what name the call is found in the logs of the shop. */
export function requestIdOf({ requestId }: HttpRequest, headers: Headers): string {
  const answered = headers.get('x-request-id') ?? '';
  return /^[\w-]{1,64}$/.test(answered) ? answered : requestId;
}

/** What others wrote, as part of a message: one line of it, and not a long one. */
function line(text: string): string {
  return text.replace(/\p{Cc}+/gu, ' ').slice(0, 500);
}

/** In seconds, or as a date (RFC 9110, section 10.2.3), which counts from the answer's own. */
function retryAfterMs(headers: Headers): number | undefined {
  const text = headers.get('retry-after') ?? '';
  // More than one is none of the shop's doing; whoever wants us to wait longer is heard.
  const seconds = text.split(',').map((each) => each.trim());
  if (seconds.every((each) => /^\d{1,15}$/.test(each))) {
    return Math.max(...seconds.map(Number)) * 1000;
  }
  const ms = Date.parse(text) - Date.parse(headers.get('date') ?? '');
  return Number.isNaN(ms) ? undefined : Math.max(0, ms);
}
