import type { After } from '@bazar/contracts/internal';
import { momentMs } from './exchange.js';
import { createPatience } from './patience.js';
import { createWaitingLine } from './waiting-line.js';

export interface BackpressureOptions<One> {
  /** Milliseconds on a clock that only goes forward. */
  readonly now: () => number;
  /** Runs something once all that has arrived by now was read. */
  readonly defer: (run: () => void) => unknown;
  readonly after: After;
  /** Whether what was read already waits to be worked on. */
  readonly isBackedUp: () => boolean;
  readonly stopReading: (connection: One) => void;
  /** Reads on, unless somebody else does not want that, and returns whether it did. */
  readonly readOn: (connection: One) => boolean;
}

/** What of a connection is needed here. */
export interface Connection {
  readonly destroyed: boolean;
}

/** How a connection has rested. */
export interface Rest {
  readonly ms: number;
  isObserved: boolean;
}

const policy = {
  /**
   * A turn of the event loop should not take longer: meanwhile nobody reads what the services behind
   * have answered long ago, nor looks at the timers by which a lease is kept.
   */
  turnMs: 20,
  /** How many connections are read from again in one turn: at first, at least, at most. */
  quota: { first: 256, least: 32, most: 4096 },
  /** How the quota grows after a turn that was short enough, and shrinks after one that was not. */
  grow: 1.25,
  shrink: 0.5,
  /**
   * For how long turns are all for newcomers, before the others have theirs. libuv accepts one of them
   * per turn, so between long turns whoever comes to a busy service waits outside for seconds; that
   * queue knows nothing of patience, and nearly all are let in late who have given up.
   */
  acceptMs: 20,
  /** How many are looked at for one that is overdue: whoever comes is not to cost a look at all. */
  overdueLooks: 100,
};

export interface Backpressure<One> {
  /** To be called at each request. */
  arrived(): void;
  /** To be called at each new connection. */
  accepted(): void;
  /** Whether newcomers are being taken, before anybody else is served. */
  isAccepting(): boolean;
  /** Whether connections are to rest once their request is answered. */
  isHigh(): boolean;
  /**
   * Lets a connection rest until its turn comes to be read: from the end of this turn of the event
   * loop on, or at once where this one has taken too long already.
   */
  rest(connection: One): void;
  /** How a connection has rested from which was read in this turn, if for more than a moment. */
  restOf(connection: One): Rest | undefined;
  /** To be told whether the client of one that has rested was still there. Each counts once. */
  observe(rest: Rest, hasLeft: boolean): void;
  isResting(connection: One): boolean;
  /** How many rest. */
  resting(): number;
  /**
   * Takes out of the line who has rested for the longest of those that fit, if that is longer than
   * clients are seen to wait, or than 5 s: many of those have hung up, which shows only when they are
   * read from.
   */
  takeOverdue(fits: (connection: One) => boolean): One | undefined;
  /** From now on nobody rests; calls back once what they have sent was read. */
  end(done: () => void): void;
}

/**
 * Lets connections rest while more arrives than can be worked on, so that what waits does so in the
 * buffers of the system and of the clients (TCP's flow control; RFC 9293, section 3.8): there it
 * costs nothing, where a request that was read costs memory and the garbage collector's time, and a
 * refusal nearly as much as an answer. Each turn reads on from as many as it has time for, those first
 * who rest for the longest and are still in time (`createWaitingLine`).
 */
export function createBackpressure<One extends Connection>(
  options: BackpressureOptions<One>,
): Backpressure<One> {
  const { now, defer, after, isBackedUp, stopReading, readOn } = options;
  const patience = createPatience({ now });
  const resting = createWaitingLine<One>({ now, freshMs: patience.limitMs });
  /** Those that rest from the end of this turn on: one after the other costs less than in between. */
  let answered: One[] = [];
  /** How those had rested from which is read in this turn. */
  const rests = new Map<One, Rest>();
  let quota: number = policy.quota.first;
  /** Whether all of the quota was read from in this turn, so that it shows if there can be more. */
  let isQuotaRead = true;
  let turnBeganAt: number | undefined;
  let wasLong = false;
  let hasEnded = false;
  /** Whether to read on has to wait, for enough was read already. */
  let isPacing = false;
  let hasNewcomer = false;
  /** Since when turns are all for newcomers: from the `next` one on; `over` in the one after those. */
  let accepting: 'next' | { readonly since: number } | 'over' | undefined;

  function beginUnlessBegun(): void {
    if (turnBeganAt === undefined) beginTurn();
  }

  function beginTurn(): void {
    turnBeganAt = now();
    defer(endTurn);
  }

  /** Whether this turn has taken too long already. */
  const isLong = () => turnBeganAt !== undefined && now() - turnBeganAt > policy.turnMs;

  function endTurn(): void {
    wasLong = isLong();
    turnBeganAt = undefined;
    letAllRest();
    if (accepting === 'next' || typeof accepting === 'object') {
      if (isQuotaRead) judgeTurn();
      // The turn in which the first of them came was as long as any.
      if (accepting === 'next') accepting = { since: now() };
      // The turn after them belongs to those who are here already.
      else if (!hasNewcomer || now() - accepting.since >= policy.acceptMs) accepting = 'over';
      hasNewcomer = false;
      beginTurn();
      return;
    }
    accepting = undefined;
    if (resting.size === 0) return;
    judgeTurn();
    const isSlow = isBackedUp();
    // Whatever is read begins a turn, and would else set the pace itself.
    if (isSlow && isPacing) return;
    const isAll = readOnFrom(isSlow ? policy.quota.least : quota);
    isQuotaRead = isAll && !isSlow;
    if (resting.size === 0) return;
    if (!isSlow) {
      beginTurn();
      return;
    }
    isPacing = true;
    after(policy.turnMs, () => {
      isPacing = false;
      beginUnlessBegun();
    });
  }

  /** @returns whether there were as many as that */
  function readOnFrom(count: number): boolean {
    const read = resting.take(count, resting.size, (connection, waitedMs) => {
      if (connection.destroyed) return false;
      if (!readOn(connection)) return false;
      if (waitedMs > momentMs) rests.set(connection, { ms: waitedMs, isObserved: false });
      return true;
    });
    // What they have sent is read in the turn that follows.
    defer(() => rests.clear());
    return read === count;
  }

  function letAllRest(): void {
    for (const connection of answered) {
      if (connection.destroyed) continue;
      resting.add(connection);
      stopReading(connection);
    }
    answered = [];
  }

  /** Sets the quota by the turn that ends. */
  function judgeTurn(): void {
    const { least, most } = policy.quota;
    if (wasLong) quota = Math.max(least, Math.floor(quota * policy.shrink));
    else if (isQuotaRead) quota = Math.min(most, Math.ceil(quota * policy.grow));
    isQuotaRead = false;
  }

  return {
    arrived() {
      beginUnlessBegun();
    },
    accepted() {
      hasNewcomer = true;
      accepting ??= 'next';
      beginUnlessBegun();
    },
    isAccepting: () => typeof accepting === 'object',
    isHigh: () => !hasEnded && (wasLong || resting.size > 0 || isBackedUp() || isLong()),
    restOf: (connection) => rests.get(connection),
    observe(rest, hasLeft) {
      if (!rest.isObserved) patience.observe(rest.ms, hasLeft);
      rest.isObserved = true;
    },
    isResting: (connection) => resting.has(connection),
    resting: () => resting.size,
    takeOverdue: (fits) => resting.takeOldest(patience.limitMs(), policy.overdueLooks, fits),
    rest(connection) {
      if (hasEnded) return;
      answered.push(connection);
      // What they ask meanwhile would be read in this very turn: libuv polls up to 48 times, as long as
      // 1,024 connections at once have something to read.
      if (isLong()) letAllRest();
      beginUnlessBegun();
    },
    end(done) {
      hasEnded = true;
      answered = [];
      readOnFrom(resting.size);
      // They are read from in the next turn, for this one may have read already.
      defer(() => defer(done));
    },
  };
}
