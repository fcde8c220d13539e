import { isUtf8 } from 'node:buffer';
import type { IncomingMessage } from 'node:http';
import { Failure } from '@bazar/contracts';
import type { FastifyInstance, FastifyRequest } from 'fastify';

type Done = (error: Error | null, body?: unknown) => void;

const cutShort = (cause: Error) =>
  new Failure('malformed_request', 'The body was cut short.', { cause });
const notJson = () =>
  new Failure('unsupported_media_type', 'The content type of a body must be application/json.');

/**
 * Any other content type: an empty body is no body, and the first byte of another is one too many.
 * A declared length is believed, so that nothing of a large upload is read for a 415.
 */
function refuseBody(request: FastifyRequest, payload: IncomingMessage, done: Done): void {
  // Where there is no route, that is what the caller should hear.
  if (request.is404) {
    done(null);
    return;
  }
  if (Number(request.headers['content-length'] ?? 0) > 0) {
    done(notJson());
    return;
  }
  const settle = (error: Error | null) => {
    payload.off('data', onData).off('end', onEnd).off('error', onError);
    done(error, undefined);
  };
  // Whoever sends broken chunks, or hangs up in the middle, broke the body; nothing of ours did.
  const onError = (error: Error) => settle(cutShort(error));
  const onData = () => settle(notJson());
  const onEnd = () => settle(null);
  payload.on('data', onData).on('end', onEnd).on('error', onError);
  payload.resume();
}

/**
 * JSON is the only content type. It is parsed from bytes, because decoding replaces what is not
 * UTF-8 by U+FFFD and would let two different bodies become the same order. Keys that poison
 * prototypes are refused (Fastify's secure-json-parse); a byte order mark is tolerated.
 */
export function parseBodies(app: FastifyInstance): void {
  const parseJson = app.getDefaultJsonParser('error', 'error');
  app.removeAllContentTypeParsers();
  app.addContentTypeParser<Buffer>(
    'application/json',
    { parseAs: 'buffer' },
    (request, body, done) => {
      if (body.length === 0) done(null, undefined);
      else if (isUtf8(body)) parseJson(request, body.toString('utf8'), done);
      else done(new Failure('malformed_request', 'The body is not valid UTF-8.'), undefined);
    },
  );
  app.addContentTypeParser('*', refuseBody);
}

/** True when the headers announce no body. */
export function hasNoBody(headers: IncomingMessage['headers']): boolean {
  const length = headers['content-length'];
  return headers['transfer-encoding'] === undefined && (length === undefined || length === '0');
}
