import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import { type Exchange, exchangeOn, sentBytes } from './exchange.js';

/** What a look at a connection shows. */
export interface Seen {
  readonly socket: Socket;
  readonly exchange: Exchange;
  /** The number of the look that found nothing moved since, and its time. */
  readonly since: { readonly look: number; readonly at: number };
}

/** What all open connections look like at one moment. */
export interface Sight {
  /** The number of this look. */
  readonly look: number;
  /** In the order in which they came. */
  readonly seen: readonly Seen[];
}

interface Mark {
  /** How much has come and gone. */
  readonly bytes: number;
  readonly look: number;
  readonly at: number;
}

/**
 * Looks at all connections, and keeps in mind since when nothing moves on each. Requests cost nothing
 * of it: what has moved is told by the bytes that were counted at earlier looks.
 *
 * @param now milliseconds on a clock that only goes forward
 */
export function watchMovement(connections: Iterable<Socket>, now: () => number): () => Sight {
  const marks = new WeakMap<Socket, Mark>();
  let look = 0;
  return () => {
    look += 1;
    const at = now();
    const seen: Seen[] = [];
    for (const socket of connections) {
      if (socket.destroyed) continue;
      const bytes = socket.bytesRead + sentBytes(socket);
      const earlier = marks.get(socket);
      const since = earlier?.bytes === bytes ? earlier : { bytes, look, at };
      if (since !== earlier) marks.set(socket, since);
      seen.push({ socket, exchange: exchangeOn(socket), since });
    }
    return { look, seen };
  };
}

export interface StillnessLimits {
  /** For how long nothing may move between two requests. */
  readonly idleMs: number;
  /** For how long nothing may move in the middle of one, unread answers included. */
  readonly quietMs: number;
  /** How often all connections are looked at. */
  readonly everyMs: number;
  /** Milliseconds on a clock that only goes forward. */
  readonly now: () => number;
}

/**
 * Ends connections on which nothing moves. Node would set, clear and collect two timers of each
 * connection at every request, which is a twentieth of what a read from the cache costs.
 */
export function endStill(server: Server, look: () => Sight, limits: StillnessLimits): void {
  const { idleMs, quietMs, everyMs, now } = limits;
  server.on('connection', (socket) => {
    socket.setTimeout = () => socket;
  });
  const looking = setInterval(() => {
    for (const { socket, exchange, since } of look().seen) {
      if (now() - since.at > (exchange === 'idle' ? idleMs : quietMs)) socket.destroy();
    }
  }, everyMs).unref();
  server.once('close', () => clearInterval(looking));
}
