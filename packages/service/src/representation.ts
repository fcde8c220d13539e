import { createHash } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { FastifyReply } from 'fastify';
import { alreadySent, type Ready, type Sent } from './ready.js';

/** A strong entity tag (RFC 9110, section 8.8.3) for these bytes: equal bytes, equal tag. */
export function etagOf(bytes: string | Buffer): string {
  return `"${createHash('sha1').update(bytes).digest('base64url')}"`;
}

const opaqueTag = /(?:W\/)?("[^"]*")/g;

/** RFC 9110, section 13.1.2: a list or `*`, compared weakly. */
function isKnown(ifNoneMatch: string | undefined, etag: string): boolean {
  if (ifNoneMatch === undefined) return false;
  if (ifNoneMatch === etag || ifNoneMatch.trim() === '*') return true;
  for (const [, tag] of ifNoneMatch.matchAll(opaqueTag)) if (tag === etag) return true;
  return false;
}

/** A reply whose contract declares `ETag`; at run time it is Fastify's own. */
export interface TaggedReply {
  header(name: 'ETag', value: string): unknown;
}

/**
 * Answers a read: with the bytes and their tag, or with 304 and nothing when the caller has them
 * already. `no-cache` lets anyone keep the bytes but nobody use them without asking again, so that
 * no cache on the way shows an older stock. Bytes that are kept should be kept with their tag.
 */
export function representation<T>(
  request: { readonly raw: IncomingMessage },
  reply: TaggedReply,
  bytes: Ready<T>,
  etag: string = etagOf(bytes),
): Ready<T> | Sent {
  const native = reply as unknown as FastifyReply;
  native.header('etag', etag).header('cache-control', 'no-cache');
  if (!isKnown(request.raw.headers['if-none-match'], etag)) return bytes;
  // Whoever ran out of patience has been answered by now.
  if (!native.sent) native.removeHeader('content-type').code(304).send();
  return alreadySent;
}
