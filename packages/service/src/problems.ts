/**
 * The one place where failures become HTTP. Whatever goes wrong ends here as a problem document
 * (RFC 9457), whether it was thrown by a use case, found by Fastify or noticed on the bare socket.
 */
import { STATUS_CODES } from 'node:http';
import { Failure, type FailureCode, problemMediaType, problemOf } from '@bazar/contracts';
import type { FastifyBaseLogger, FastifyReply, FastifyRequest } from 'fastify';
import { noteAnswer } from './exchange.js';

/**
 * What another service says about *our* request. Our caller did nothing to deserve it: it would
 * try in vain to mend a request that was never wrong, so it is told that we are not available.
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

/** Statuses that Fastify gives to its own errors (`FST_ERR_…`), and what the table calls them. */
const codeOfStatus: ReadonlyMap<number, FailureCode> = new Map([
  [400, 'malformed_request'],
  [404, 'route_not_found'],
  [408, 'request_timeout'],
  [413, 'body_too_large'],
  [414, 'url_too_long'],
  [415, 'unsupported_media_type'],
  [417, 'expectation_failed'],
  [429, 'too_many_requests'],
  [431, 'headers_too_large'],
  [503, 'unavailable'],
]);

/** Fastify's own sentences, where those would repeat what was sent at any length. */
const details: ReadonlyMap<string, string> = new Map([
  ['FST_ERR_BAD_URL', 'The path is not validly percent-encoded.'],
  ['FST_ERR_MAX_PARAM_LENGTH', 'A part of the path is too long.'],
]);

const drainableBytes = 16 * 1024 * 1024;
const opaqueDetail = 'The service made a mistake; its log tells more under this request id.';

function fastifyFailure(error: Error): Failure | undefined {
  if (!('code' in error) || !('statusCode' in error)) return undefined;
  const { code, statusCode } = error;
  if (typeof statusCode !== 'number') return undefined;
  // A caller who hangs up while its body arrives: Fastify marks the stream's error with a 400.
  if (code === 'ECONNRESET' && statusCode === 400) {
    return new Failure('malformed_request', 'The body was cut short.', { cause: error });
  }
  if (typeof code !== 'string' || !code.startsWith('FST_')) return undefined;
  const known = codeOfStatus.get(statusCode);
  return known && new Failure(known, details.get(code) ?? error.message, { cause: error });
}

/** The failure that our caller is told of: itself, or ours when another service accused us. */
export function failureOf(error: unknown): Failure {
  if (error instanceof Failure) {
    if (!error.foreign || !accusations.has(error.code)) return error;
    const detail = 'A service behind this one did not accept our request.';
    return new Failure('unavailable', detail, { cause: error });
  }
  const known = error instanceof Error ? fastifyFailure(error) : undefined;
  return known ?? new Failure('internal', opaqueDetail, { cause: error });
}

/** One line per answer that is our side's fault, none for what the caller did. */
function logFailure(failure: Failure, request: FastifyRequest, log: FastifyBaseLogger): void {
  // Whoever asks for the health every second writes down the answer too.
  if (failure.status < 500 || request.url.startsWith('/health/')) return;
  const { cause, code } = failure;
  const line = { code, method: request.method, url: request.url, err: cause };
  const ours = code === 'internal' && !failure.foreign;
  const accused = cause instanceof Failure && cause.foreign;
  if (ours || accused) log.error(line, failure.message);
  else log.warn(line, failure.message);
}

/** Answers a request with the problem document of whatever was thrown, and logs a 5xx. */
export function answerError(error: unknown, request: FastifyRequest, reply: FastifyReply): void {
  const failure = failureOf(error);
  logFailure(failure, request, request.log);
  // The handler may have set these for the answer that it did not come to give.
  reply.removeHeader('etag').removeHeader('link');
  if (canBeDrained(request)) reply.removeHeader('connection');
  noteAnswer(request.raw);
  const { status, headers, body } = problemAnswer(failure, request.id);
  // Bytes, because Fastify adds a charset to a string and the media type has none.
  reply.code(status).headers(headers).send(body);
}

/**
 * Fastify closes the connection under a body that it refuses. A caller that is still sending then
 * sees a reset and never reads why; so a body of bearable length is read to its end and dropped.
 */
function canBeDrained(request: FastifyRequest): boolean {
  return request.raw.complete || Number(request.headers['content-length']) <= drainableBytes;
}

/** The headers of a problem document. */
function failureHeaders(failure: Failure, requestId: string): Record<string, string> {
  return {
    'x-request-id': requestId,
    'content-type': problemMediaType,
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
    ...(failure.retryAfterSeconds !== undefined && {
      'retry-after': String(failure.retryAfterSeconds),
    }),
    // RFC 9110, section 11.6.1: a 401 must say which scheme would do.
    ...(failure.status === 401 && { 'www-authenticate': 'Bearer' }),
  };
}

/** The parts of an answer with a problem document. */
export function problemAnswer(failure: Failure, requestId: string) {
  const body = Buffer.from(JSON.stringify(problemOf(failure, requestId)));
  const length = { 'content-length': String(body.length) };
  const headers = { ...failureHeaders(failure, requestId), ...length };
  return { status: failure.status, headers, body };
}

/** A whole HTTP/1.1 answer as text, for connections that have no request to reply to. */
export function rawAnswer(
  failure: Failure,
  requestId: string,
  extraHeaders: Readonly<Record<string, string>> = {},
): string {
  const { status, headers, body } = problemAnswer(failure, requestId);
  const lines = Object.entries({ ...headers, ...extraHeaders, connection: 'close' })
    .map(([name, value]) => `${name}: ${value}\r\n`)
    .join('');
  return `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${lines}\r\n${body}`;
}
