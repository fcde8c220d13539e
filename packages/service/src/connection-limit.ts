import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import type { Movement, Seen } from './movement.js';
import { isRead } from './pause.js';

export interface ConnectionLimitOptions {
  /** More are never open: each costs memory and a descriptor, and both end. */
  readonly maxConnections: number;
  /** Takes one whose client has most probably hung up, unread, out of the line of those that rest. */
  readonly takeOverdue: () => Socket | undefined;
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
  /** To be called now and then: lets go of the connections that were seen. */
  forget(): void;
}

const policy = {
  /** A look at all connections has to pay for more than one of those who come. */
  shareFound: 1 / 128,
  /** When it found fewer that can be spared, the next look waits for so long. */
  lookAgainMs: 100,
  /** In the middle of a request nothing has to move for so long. */
  stuckMs: 1000,
  linesMs: 10_000,
};

/**
 * Makes room where the limit of connections is met. Whose request waits unread for longer than clients
 * are seen to wait makes room first: where all are busy, nearly all of those have hung up, and come
 * again. Then those are ended that have been idle for the longest, be they mute or kept alive; after
 * them those on which nothing has moved for a second, though a body is still to come or an answer to
 * be read; and a newcomer is turned away only if there are none. Without that, whoever opens many and
 * sends or reads nothing shuts out everybody, health included. Nobody is ended whose answer is being
 * made.
 *
 * @param connections all that are open
 */
export function limitConnections(
  server: Server,
  connections: Set<Socket>,
  { look, isStill }: Movement,
  { maxConnections, takeOverdue, now, warn }: ConnectionLimitOptions,
): ConnectionLimit {
  const told = { refused: 0, ended: 0, at: Number.NEGATIVE_INFINITY };
  /** Those that could be spared at the last look, the best last. */
  let spare: Seen[] = [];
  let lookAgainAt = Number.NEGATIVE_INFINITY;
  let refused = 0;
  let ended = 0;

  /** Those that can be spared, the idle before the others and whoever has been so longest first. */
  function quiet(): Seen[] {
    const idle: Seen[] = [];
    const stuck: Seen[] = [];
    for (const one of look()) {
      const { socket, exchange, since } = one;
      // Of an idle one that is not read from something may wait to be read.
      if (exchange === 'answering' || (exchange === 'idle' && !isRead(socket))) continue;
      if (exchange === 'idle') idle.push(one);
      else if (now() - since.at >= policy.stuckMs) stuck.push(one);
    }
    const bySince = (one: Seen, other: Seen) => one.since.look - other.since.look;
    return [...idle.sort(bySince), ...stuck.sort(bySince)];
  }

  /** The one that can be spared best of those that were seen and are as they were then. */
  function spared(): Socket | undefined {
    for (;;) {
      const one = spare.pop();
      if (one === undefined) return undefined;
      const isQuiet = one.exchange !== 'idle' || isRead(one.socket);
      if (isQuiet && isStill(one)) return one.socket;
    }
  }

  function lookForSpare(newcomer: Socket): void {
    if (now() < lookAgainAt) return;
    spare = quiet()
      .filter(({ socket }) => socket !== newcomer)
      .reverse();
    const enough = Math.ceil(maxConnections * policy.shareFound);
    if (spare.length < enough) lookAgainAt = now() + policy.lookAgainMs;
  }

  /** @returns whether there is room now */
  function makeRoom(newcomer: Socket): boolean {
    let socket = takeOverdue() ?? spared();
    if (socket === undefined) {
      lookForSpare(newcomer);
      socket = spared();
    }
    if (socket === undefined) return false;
    connections.delete(socket);
    socket.destroy();
    ended += 1;
    return true;
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
  return {
    refused: () => refused,
    ended: () => ended,
    forget() {
      spare = [];
    },
  };
}
