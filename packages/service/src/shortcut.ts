import {
  type IncomingMessage,
  type ServerResponse,
  validateHeaderName,
  validateHeaderValue,
} from 'node:http';
import { byteText, sendInOnePiece } from './one-piece.js';
import { wrongTarget } from './target.js';

/** An answer that is the same for whoever asks, down to its bytes. */
export interface ReadyAnswer {
  /** The pattern of the route that gave it, as it is counted. */
  readonly route: string;
  /** The head, without what differs from one answer to the next. */
  readonly head: string;
  /** The body: bytes, one to a character. */
  readonly bytes: string;
}

/**
 * Writes an answer out as it is sent.
 * @param headers of the answer, but for its length and what differs from one to the next: the id of
 *   the request, the date, and what becomes of the connection
 * @throws TypeError when one of them cannot stand in a head
 */
export function readyAnswer(
  route: string,
  headers: readonly (readonly [name: string, value: string])[],
  body: string,
): ReadyAnswer {
  const lines = headers.map(([name, value]) => {
    validateHeaderName(name);
    validateHeaderValue(name, value);
    return `${name}: ${value}\r\n`;
  });
  const bytes = byteText(body);
  // Were the length wrong, the next answer on the connection would be taken for a part of this one.
  const head = `HTTP/1.1 200 OK\r\n${lines.join('')}content-length: ${bytes.length}\r\n`;
  return { route, head, bytes };
}

/** The ready answer to `GET` of a URL, if there is one at this very moment. */
export type Shortcut = (url: string) => ReadyAnswer | undefined;

/** Whether an answer depends on more than the URL, or a body has to be read. */
function needsMore({ headers }: IncomingMessage): boolean {
  // One by one, which is faster than a loop over their names.
  return (
    headers.origin !== undefined ||
    headers['if-none-match'] !== undefined ||
    headers['content-length'] !== undefined ||
    headers['transfer-encoding'] !== undefined
  );
}

export interface ShortcutOptions {
  readonly shortcut: Shortcut;
  readonly requestId: (request: IncomingMessage) => string;
  readonly count: (route: string, status: number) => void;
  /** For how long connections are kept, as they are told. */
  readonly keepAliveTimeoutMs: number;
  /** Milliseconds since 1970. */
  readonly wallClock?: () => number;
}

/** The time as HTTP writes it (RFC 9110, section 5.6.7), made anew each second. */
function httpDate(wallClock: () => number): () => string {
  let second = Number.NaN;
  let text = '';
  return () => {
    const present = Math.floor(wallClock() / 1000);
    if (present !== second) {
      second = present;
      text = new Date(second * 1000).toUTCString();
    }
    return text;
  };
}

/**
 * Answers a plain read of a URL that Fastify has answered before with the same bytes, at a fraction
 * of the cost: a router, a validation and a handful of hooks would find again what is known, and Node
 * would check and write every header again. All that is not plain takes the long way, where the
 * answer is the same but for what concerns browsers on other origins.
 *
 * @returns true when the request was answered
 */
export function takeShortcut(options: ShortcutOptions) {
  const { shortcut, requestId, count, keepAliveTimeoutMs, wallClock = Date.now } = options;
  const date = httpDate(wallClock);
  const seconds = Math.floor(keepAliveTimeoutMs / 1000);
  const kept = `\r\nConnection: keep-alive\r\nKeep-Alive: timeout=${seconds}\r\n\r\n`;
  const closed = '\r\nConnection: close\r\n\r\n';
  return (request: IncomingMessage, response: ServerResponse): boolean => {
    const { method, url = '' } = request;
    if (method !== 'GET' || needsMore(request)) return false;
    const answer = shortcut(url);
    if (answer === undefined || wrongTarget(request) !== undefined) return false;
    const isLast = !response.shouldKeepAlive;
    const own = `x-request-id: ${requestId(request)}\r\nDate: ${date()}${isLast ? closed : kept}`;
    if (!sendInOnePiece(response, answer.head + own, answer.bytes, isLast)) return false;
    count(answer.route, 200);
    return true;
  };
}
