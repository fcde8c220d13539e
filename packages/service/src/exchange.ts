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

/**
 * How many bytes of its answers a connection has taken. What Node documents counts a piece once all
 * of it was taken; of one that a slow client takes bit by bit only the queue of the handle below
 * tells, by which Node's own timeouts go too.
 */
export function sentBytes(socket: Socket): number {
  const dispatched = property(socket, '_bytesDispatched');
  const queued = property(property(socket, '_handle'), 'writeQueueSize');
  if (typeof dispatched === 'number' && typeof queued === 'number') return dispatched - queued;
  return socket.bytesWritten - socket.writableLength;
}

/** Whoever has waited for no longer has hardly waited. */
export const momentMs = 250;

/**
 * Tells whether a client has hung up. One that has ended its side may have closed the connection, as
 * nearly all do who hang up, or may still read the answer, as `nc -N` does: TCP does not tell. So it
 * is served like everybody else as long as nobody waits for longer than a moment; where it has had
 * to, so have others, and it is told honestly that nothing came of its request.
 */
export function hasHungUp(socket: Socket, waitedMs: number): boolean {
  return socket.destroyed || (socket.readableEnded && waitedMs > momentMs);
}

/** What the parser is told to take a request for that leads away from HTTP: it stops behind that. */
const upgrade = 2;

/**
 * Makes no more requests of what has arrived on a connection that is over. Node parses every piece to
 * its end, some two thousand requests of it, though the connection was destroyed at the first; and
 * keeps them until the turn of the event loop ends, in which a thousand connections may be read.
 */
export function stopParsing(socket: Socket): void {
  const parser = property(socket, 'parser');
  if (typeof parser === 'object' && parser !== null) {
    Reflect.set(parser, 'onIncoming', () => upgrade);
  }
}
