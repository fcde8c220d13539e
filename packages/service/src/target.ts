import type { IncomingMessage } from 'node:http';
import { Failure } from '@bazar/contracts';

/** A host and perhaps a port, as far as their alphabet tells (RFC 3986, section 3.2); or nothing. */
const authority = /^[\w.~!$&'()*+,;=%:[\]-]*$/;

const malformed = (detail: string) => new Failure('malformed_request', detail);

/**
 * What is wrong with where a request wants to go, beyond its path, which the router reads. Whoever
 * stands in front of us may have read the other of two hosts (RFC 9112, section 3.2).
 */
export function wrongTarget(request: IncomingMessage): Failure | undefined {
  const { headers, httpVersion, rawHeaders, url = '' } = request;
  const { host } = headers;
  if (host === undefined) {
    return httpVersion === '1.1' ? malformed('The header Host is missing.') : undefined;
  }
  if (namesHostTwice(rawHeaders)) return malformed('The header Host comes more than once.');
  if (!authority.test(host)) return malformed('The header Host is no host.');
  if (url === '*') return new Failure('route_not_found', 'There is no route to this path.');
  return isDecodable(url) ? undefined : malformed('The query is not validly percent-encoded.');
}

/** Node keeps the first of two and drops the other; only the raw headers tell. */
function namesHostTwice(rawHeaders: readonly string[]): boolean {
  let hosts = 0;
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index];
    if (name?.length === 4 && name.toLowerCase() === 'host') hosts += 1;
  }
  return hosts > 1;
}

/** The parser of queries takes what it cannot decode as it stands. */
function isDecodable(url: string): boolean {
  const from = url.indexOf('?');
  if (from < 0 || !url.includes('%', from)) return true;
  try {
    decodeURIComponent(url.slice(from));
    return true;
  } catch {
    return false;
  }
}
