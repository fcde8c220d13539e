import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import type { Movement, Seen } from './movement.js';

export interface ConnectionLimitOptions {
  /** More are never open: each costs memory and a descriptor, and both end. */
  readonly maxConnections: number;
  /** Whether a connection that looks idle waits for its turn to be read, or has just got it. */
  readonly isWaiting: (socket: Socket) => boolean;
  /** How many requests of a connection have come and are not answered yet. */
  readonly unanswered: (socket: Socket) => number;
  /** Takes a connection, to be ended, whose client has waited for too long to be read. */
  readonly takeOverdue: () => Socket | undefined;
  /** Milliseconds on a clock that only goes forward. */
  readonly now: () => number;
  readonly warn: (fields: object, sentence: string) => void;
}

/** What became of connections for want of room. */
export interface ConnectionLimit {
  /** How many newcomers were turned away. */
  refused(): number;
  /** How many were ended to make room. */
  ended(): number;
  /** To be told what was seen at a look at all connections, so that it need not be looked again. */
  saw(seen: readonly Seen[]): void;
}

const policy = {
  /** Nothing has moved for long; in the middle of a request it has to be as long. */
  longMs: 1000,
  /** A look at all connections has to make room for more than one of those who come. */
  sharePaid: 1 / 128,
  /** When it made room for fewer, the next look waits for so long. */
  lookAgainMs: 100,
  /** What is seen is kept in mind where more are open. */
  nearlyFull: 0.9,
  linesMs: 10_000,
};

/**
 * Makes room where the limit of connections is met: those are ended on which nothing has moved for the
 * longest, be they mute or kept alive, or their client stuck in the middle of a request or of reading an
 * answer. Where none has been still for a second, those go first who have waited for longer to be read
 * than clients are seen to: many of them have hung up, and come again. A newcomer is turned away only
 * if all the others are at work, or wait for a turn that may still come. Without that, whoever opens
 * many and sends or reads nothing shuts out everybody, health included. Nobody is ended whose answer
 * is being made.
 *
 * @param connections all that are open
 */
export function limitConnections(
  server: Server,
  connections: Set<Socket>,
  { look, isStill }: Movement,
  { maxConnections, isWaiting, unanswered, takeOverdue, now, warn }: ConnectionLimitOptions,
): ConnectionLimit {
  const told = { refused: 0, ended: 0, at: Number.NEGATIVE_INFINITY };
  /** Those that could be spared at the last look, the best last. */
  let spare: Seen[] = [];
  let lookedAt = Number.NEGATIVE_INFINITY;
  /** How many of those made room. */
  let paid = 0;
  let refused = 0;
  let ended = 0;

  const stillMs = ({ since }: Seen) => now() - since.at;

  function canBeSpared(one: Seen): boolean {
    if (one.exchange === 'idle') return !isWaiting(one.socket);
    // Behind an answer that is on its way others may be being made.
    const isWorkedOn = one.exchange === 'answering' || unanswered(one.socket) > 1;
    return !isWorkedOn && stillMs(one) >= policy.longMs;
  }

  function saw(seen: readonly Seen[]): void {
    const isFull = connections.size >= maxConnections * policy.nearlyFull;
    const bySince = (one: Seen, other: Seen) => one.since.look - other.since.look;
    spare = isFull ? seen.filter(canBeSpared).sort(bySince).reverse() : [];
  }

  /** The best of those that can be spared still, if nothing has moved on it for so long. */
  function takeSpare(leastMs: number): Socket | undefined {
    for (;;) {
      const one = spare.at(-1);
      if (one === undefined) return undefined;
      const isGood = canBeSpared(one) && isStill(one);
      if (isGood && stillMs(one) < leastMs) return undefined;
      spare.pop();
      if (!isGood) continue;
      paid += 1;
      return one.socket;
    }
  }

  function lookAgain(newcomer: Socket): void {
    const isPaid = paid >= maxConnections * policy.sharePaid;
    if (!isPaid && now() - lookedAt < policy.lookAgainMs) return;
    lookedAt = now();
    paid = 0;
    saw(look().filter(({ socket }) => socket !== newcomer));
  }

  /** @returns whether there was one that could be ended */
  function endOne(): boolean {
    for (;;) {
      const socket = takeSpare(policy.longMs) ?? takeOverdue() ?? takeSpare(0);
      if (socket === undefined) return false;
      socket.destroy();
      if (!connections.delete(socket)) continue;
      ended += 1;
      return true;
    }
  }

  /** @returns whether there is room now */
  function makeRoom(newcomer: Socket): boolean {
    if (endOne()) return true;
    lookAgain(newcomer);
    return endOne();
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
    saw,
  };
}
