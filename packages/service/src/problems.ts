/**
 * The one place where failures become HTTP. Whatever goes wrong ends here as a problem document
 * (RFC 9457), whether it was thrown by a use case, found by Fastify or noticed on the bare socket.
 */
import { STATUS_CODES } from 'node:http';
import {
  accusesUs,
  Failure,
  type FailureCode,
  health,
  problemMediaType,
  problemOf,
} from '@bazar/contracts';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { noteAnswer } from './exchange.js';
import type { FailureLog } from './failure-log.js';
import { securityHeaders } from './security-headers.js';

/** Statuses that Fastify and its plugins give to their errors, and what the table calls them. */
const codeOfStatus: ReadonlyMap<number, FailureCode> = new Map([
  [400, 'malformed_request'],
  // The files of the documents refuse paths that lead out of their folder: nothing is there.
  [403, 'route_not_found'],
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
  ['FST_STATIC_FORBIDDEN_PATH', 'There is no route to this path.'],
]);

const drainableBytes = 16 * 1024 * 1024;
const opaqueDetail = 'The service made a mistake; its log tells more under this request id.';

/** What Fastify, its plugins (`FST_ERR_…`) and http-errors (`expose`) found wrong. */
function fastifyFailure(error: Error): Failure | undefined {
  if (!('statusCode' in error) || typeof error.statusCode !== 'number') return undefined;
  const { statusCode } = error;
  const code = 'code' in error ? String(error.code) : '';
  // A caller who hangs up while its body arrives: Fastify marks the stream's error with a 400.
  if (code === 'ECONNRESET' && statusCode === 400) {
    return new Failure('malformed_request', 'The body was cut short.', { cause: error });
  }
  const isForCaller = 'expose' in error && error.expose === true;
  if (!code.startsWith('FST_') && !isForCaller) return undefined;
  const isOfCaller = statusCode >= 400 && statusCode < 500;
  const known = codeOfStatus.get(statusCode) ?? (isOfCaller ? 'malformed_request' : undefined);
  return known && new Failure(known, details.get(code) ?? error.message, { cause: error });
}

/** The failure that our caller is told of: itself, or ours when another service accused us. */
export function failureOf(error: unknown): Failure {
  if (error instanceof Failure) {
    if (!accusesUs(error)) return error;
    const detail = 'A service behind this one did not accept our request.';
    return new Failure('unavailable', detail, { cause: error });
  }
  const known = error instanceof Error ? fastifyFailure(error) : undefined;
  return known ?? new Failure('internal', opaqueDetail, { cause: error });
}

/** Whoever asks for the health every second writes down the answer too; but not our mistakes. */
function isToldAnyway({ code }: Failure, route: string | undefined): boolean {
  return route === health.ready.url && (code === 'unavailable' || code === 'storage_full');
}

/** Answers a request with the problem document of whatever was thrown, and logs a 5xx. */
export function answerErrors(logFailure: FailureLog) {
  return (error: unknown, request: FastifyRequest, reply: FastifyReply): void => {
    const failure = failureOf(error);
    const { id: reqId, method, url, routeOptions } = request;
    if (!isToldAnyway(failure, routeOptions.url)) {
      logFailure(failure, `${method} ${routeOptions.url}`, { reqId, method, url: pathOf(url) });
    }
    // The handler may have set these for the answer that it did not come to give.
    reply.removeHeader('etag').removeHeader('link');
    // Removed where it was not set, Node would forget that the client has closed its side.
    if (reply.hasHeader('connection') && canBeDrained(request)) reply.removeHeader('connection');
    noteAnswer(request.raw);
    const { status, headers, body } = problemAnswer(failure, request.id);
    // Bytes, because Fastify adds a charset to a string and the media type has none.
    reply.code(status).headers(headers).send(body);
  };
}

const maxPathLength = 200;

/** What of a URL is logged: people put secrets into queries. */
function pathOf(url: string): string {
  return url.slice(0, Math.min(maxPathLength, ...[url.indexOf('?')].filter((at) => at >= 0)));
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
    ...securityHeaders,
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
