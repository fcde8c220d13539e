import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';

/**
 * What happens on a connection: nothing (`idle`, or a request whose headers are not complete), a
 * body still arriving (`receiving`), a handler at work (`answering`), or an answer on its way while
 * something may still arrive (`sending`).
 */
export type Exchange = 'idle' | 'receiving' | 'answering' | 'sending';

/** Requests that were answered before their body was complete, by connection. */
const answeredEarly = new WeakMap<Socket, IncomingMessage>();

/** To be told of every failure, most of which do not wait for the rest of a body. */
export function noteAnswer(request: IncomingMessage): void {
  if (!request.complete) answeredEarly.set(request.socket, request);
}

function property(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? Reflect.get(value, name) : undefined;
}

/**
 * Looks at a connection. Node keeps the response in progress on the socket under a name that it
 * does not document, though it has kept it for ten years; without it every connection would look
 * idle, which the tests of shutdown and of garbage behind a request notice.
 */
export function exchangeOn(socket: Socket): Exchange {
  const response = property(socket, '_httpMessage');
  if (typeof response !== 'object' || response === null) {
    return answeredEarly.get(socket)?.complete === false ? 'sending' : 'idle';
  }
  if (property(response, 'headersSent') === true) return 'sending';
  return property(property(response, 'req'), 'complete') === true ? 'answering' : 'receiving';
}
