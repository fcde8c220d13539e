import type { Server } from 'node:http';
import { Socket } from 'node:net';
import { type Exchange, exchangeOn, sentBytes } from './exchange.js';

/** What a look at a connection shows. */
export interface Seen {
  readonly socket: Socket;
  readonly exchange: Exchange;
  /** The first look that found it as it is now. */
  readonly since: {
    readonly look: number;
    /** Milliseconds on the clock of who looks. */
    readonly at: number;
  };
}

type Mark = Seen['since'] & {
  /** How much has come and gone. */
  readonly bytes: number;
};

/**
 * Looks at all open connections, in the order in which they came, and keeps in mind since when nothing
 * moves on each: by the bytes that were counted at earlier looks, so that requests cost nothing of it.
 * A look at 10,000 takes some ten milliseconds.
 *
 * @param now milliseconds on a clock that only goes forward
 */
export function watchMovement(connections: Iterable<Socket>, now: () => number): Movement {
  const marks = new WeakMap<Socket, Mark>();
  let look = 0;

  function lookAtAll(): Seen[] {
    look += 1;
    const at = now();
    const seen: Seen[] = [];
    for (const socket of connections) {
      if (socket.destroyed) continue;
      const bytes = movedBytes(socket);
      const earlier = marks.get(socket);
      const since = earlier?.bytes === bytes ? earlier : { bytes, look, at };
      if (since !== earlier) marks.set(socket, since);
      seen.push({ socket, exchange: exchangeOn(socket), since });
    }
    return seen;
  }

  return {
    look: lookAtAll,
    isStill({ socket, exchange, since }) {
      const mark = marks.get(socket);
      const isMoved = mark !== since || mark.bytes !== movedBytes(socket);
      return !isMoved && !socket.destroyed && exchangeOn(socket) === exchange;
    },
  };
}

const movedBytes = (socket: Socket) => socket.bytesRead + sentBytes(socket);

export interface Movement {
  /** Looks at all connections. */
  look(): Seen[];
  /** Whether one is still as it was seen at the last look. */
  isStill(one: Seen): boolean;
}

export interface StillnessLimits {
  /** For how long nothing may move between two requests. */
  readonly idleMs: number;
  /** For how long nothing may move in the middle of one, unread answers included. */
  readonly quietMs: number;
  /** Milliseconds on a clock that only goes forward. */
  readonly now: () => number;
}

/** Ends all connections on which nothing has moved for too long. */
export function endStill(seen: readonly Seen[], { idleMs, quietMs, now }: StillnessLimits): void {
  for (const { socket, exchange, since } of seen) {
    if (now() - since.at > (exchange === 'idle' ? idleMs : quietMs)) socket.destroy();
  }
}

/**
 * Sets no timers for connections. Node sets, clears and collects two of them around every request, a
 * twentieth of what a read from the cache costs; whoever does this has to look at connections instead.
 * Of others those timers are set that are asked for on the socket itself, with somebody to call; but
 * such a one cannot be taken back by `setTimeout(0)`.
 */
export function setNoTimers(server: Server): void {
  server.on('connection', (socket) => {
    socket.setTimeout = setTimeoutOfOthers;
  });
}

function setTimeoutOfOthers(this: Socket, ms: number, callback?: () => void): Socket {
  return callback === undefined ? this : Socket.prototype.setTimeout.call(this, ms, callback);
}
