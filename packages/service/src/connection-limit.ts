import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import type { Seen } from './movement.js';

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
  /** How many were ended, on which nothing moved. */
  ended(): number;
}

const policy = {
  /** A look at all connections has to pay for more than one of those who come. */
  shareEnded: 1 / 128,
  /** When nobody could be spared, the next look waits for so long. */
  lookAgainMs: 100,
  /** In the middle of a request nothing has to move for so long. */
  stuckMs: 1000,
  /** Nobody is heard any more who has waited for longer to be read. */
  unreadMs: 5000,
  linesMs: 10_000,
};

/**
 * Makes room where the limit of connections is met: those are ended that have been idle for the
 * longest, be they mute or kept alive; after them those on which nothing has moved for a second,
 * though a body is still to come or an answer to be read; and a newcomer is turned away only if there
 * are none. Without that, whoever opens many and sends or reads nothing shuts out everybody, health
 * included. Nobody is ended whose answer is being made.
 *
 * @param connections all that are open
 * @param look shows what moves on them
 */
export function limitConnections(
  server: Server,
  connections: Set<Socket>,
  look: () => readonly Seen[],
  { maxConnections, now, warn }: ConnectionLimitOptions,
): ConnectionLimit {
  const handful = Math.ceil(maxConnections * policy.shareEnded);
  const told = { refused: 0, ended: 0, at: Number.NEGATIVE_INFINITY };
  let lookAgainAt = Number.NEGATIVE_INFINITY;
  let refused = 0;
  let ended = 0;

  /** Those that can be spared, the idle before the others and whoever has been so longest first. */
  function quiet(): Socket[] {
    const idle: Seen[] = [];
    const stuck: Seen[] = [];
    for (const one of look()) {
      const { socket, exchange, since } = one;
      if (exchange === 'answering') continue;
      // Of an idle one that is paused something waits to be read, be it that its client has left.
      const isUnread = exchange === 'idle' && socket.isPaused();
      const stillMs = now() - since.at;
      if (isUnread && stillMs < policy.unreadMs) continue;
      if (exchange === 'idle') idle.push(one);
      else if (stillMs >= policy.stuckMs) stuck.push(one);
    }
    const bySince = (one: Seen, other: Seen) => one.since.look - other.since.look;
    return [...idle.sort(bySince), ...stuck.sort(bySince)].map(({ socket }) => socket);
  }

  /** @returns whether there is room now */
  function makeRoom(newcomer: Socket): boolean {
    if (now() < lookAgainAt) return false;
    const longest = quiet()
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
  return { refused: () => refused, ended: () => ended };
}
