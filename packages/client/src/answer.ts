import { failures, isFailureCode } from '@bazar/contracts/failures';
import { BazarContractError, BazarError, type ErrorFacts } from './errors.js';
import type { HttpAnswer, HttpRequest } from './exchange.js';

/**
 * The body of a success.
 *
 * @throws BazarError for a problem that the shop told, BazarContractError for anything else
 */
export function bodyOf(request: HttpRequest, answer: HttpAnswer): unknown {
  const { status, headers, text } = answer;
  const requestId = headers.get('x-request-id') ?? request.requestId;
  const facts = { requestId, key: request.key, status };
  const mediaType = (headers.get('content-type') ?? '').replace(/;.*/s, '').trim().toLowerCase();
  const breach = (what: string, cause?: unknown) =>
    new BazarContractError(`${request.label}: status ${status} ${what}`, {
      ...facts,
      ...(cause !== undefined && { cause }),
    });
  const isProblem = status >= 400 && mediaType === 'application/problem+json';
  const isSuccess = status >= 200 && status < 300 && mediaType === 'application/json';
  if (!isProblem && !isSuccess) throw breach('is no answer of this shop');
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch (cause) {
    throw breach('with a body that is not JSON', cause);
  }
  if (isSuccess) return body;
  throw problem(request, body, headers, facts) ?? breach('with a problem that is not known');
}

function problem(
  { label }: HttpRequest,
  body: unknown,
  headers: Headers,
  facts: ErrorFacts,
): BazarError | undefined {
  if (typeof body !== 'object' || body === null) return undefined;
  const { code, detail } = body as { code?: unknown; detail?: unknown };
  if (!isFailureCode(code) || typeof detail !== 'string') return undefined;
  if (failures[code].status !== facts.status) return undefined;
  const retryAfter = headers.get('retry-after') ?? '';
  return new BazarError(code, `${label}: ${detail}`, {
    ...facts,
    ...(/^\d{1,9}$/.test(retryAfter) && { retryAfterMs: Number(retryAfter) * 1000 }),
  });
}
