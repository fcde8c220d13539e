import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import { exchangeOn } from './exchange.js';

export interface ConnectionLimitOptions {
  /** More are never open: each costs memory and a descriptor, and both end. */
  readonly maxConnections: number;
  /** Milliseconds on a clock that only goes forward. */
  readonly now: () => number;
  readonly warn: (fields: object, sentence: string) => void;
}

/** What became of connections for want of room. */
export interface ConnectionLimit {
  /** How many newcomers were turned away. */
  refused(): number;
  /** How many were ended, on which nothing was under way. */
  ended(): number;
}

const policy = {
  /** A look at all connections has to pay for more than one of those who come. */
  shareEnded: 1 / 128,
  /** When nobody was idle, the next look waits for so long. */
  lookAgainMs: 100,
  /** From this share of the limit on it is kept in mind since when each has been idle, to so long. */
  shareWatched: 1 / 2,
  watchMs: 1000,
  linesMs: 10_000,
};

interface Mark {
  readonly bytesRead: number;
  readonly look: number;
}

/**
 * Makes room where the limit of connections is met: those are ended that have been idle for the
 * longest, be they mute or kept alive, and a newcomer is turned away only if there are none. Without
 * that, whoever opens many and sends nothing shuts out everybody, health included. Requests cost
 * nothing of it: how long a connection has been idle is told by what it had sent at earlier looks.
 *
 * @param connections all that are open, in the order in which they came
 */
export function limitConnections(
  server: Server,
  connections: Set<Socket>,
  { maxConnections, now, warn }: ConnectionLimitOptions,
): ConnectionLimit {
  const marks = new WeakMap<Socket, Mark>();
  const handful = Math.ceil(maxConnections * policy.shareEnded);
  const told = { refused: 0, ended: 0, at: Number.NEGATIVE_INFINITY };
  let looks = 0;
  let lookAgainAt = Number.NEGATIVE_INFINITY;
  let refused = 0;
  let ended = 0;

  /** Those with nothing under way, whoever has been so for the longest first. */
  function idle(): Socket[] {
    looks += 1;
    const found: { socket: Socket; since: number }[] = [];
    for (const socket of connections) {
      // Of one that is paused something waits to be read.
      if (socket.destroyed || socket.isPaused() || exchangeOn(socket) !== 'idle') continue;
      const { bytesRead } = socket;
      const earlier = marks.get(socket);
      const mark = earlier?.bytesRead === bytesRead ? earlier : { bytesRead, look: looks };
      marks.set(socket, mark);
      found.push({ socket, since: mark.look });
    }
    return found.sort((one, other) => one.since - other.since).map(({ socket }) => socket);
  }

  /** @returns whether there is room now */
  function makeRoom(newcomer: Socket): boolean {
    if (now() < lookAgainAt) return false;
    const longest = idle()
      .filter((socket) => socket !== newcomer)
      .slice(0, handful);
    if (longest.length === 0) lookAgainAt = now() + policy.lookAgainMs;
    for (const socket of longest) {
      connections.delete(socket);
      socket.destroy();
    }
    ended += longest.length;
    return longest.length > 0;
  }

  function tell(): void {
    if (now() - told.at < policy.linesMs) return;
    const counts = { ended: ended - told.ended, refused: refused - told.refused };
    Object.assign(told, { ended, refused, at: now() });
    warn({ ...counts, open: connections.size }, 'too many connections are open');
  }

  server.on('connection', (socket) => {
    if (connections.size <= maxConnections) return;
    if (!makeRoom(socket)) {
      refused += 1;
      connections.delete(socket);
      socket.destroy();
    }
    tell();
  });
  const watching = setInterval(() => {
    if (connections.size > maxConnections * policy.shareWatched) idle();
  }, policy.watchMs).unref();
  server.once('close', () => clearInterval(watching));
  return { refused: () => refused, ended: () => ended };
}
