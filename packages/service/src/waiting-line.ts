export interface WaitingLineOptions {
  /** Milliseconds on a clock that only goes forward. */
  readonly now: () => number;
  /** Whoever has waited for longer is passed over, for the others to be in time. */
  readonly freshMs: () => number;
}

const policy = {
  /** Whoever is passed over has a share of the turns again when it has waited for so much longer. */
  againMs: 1300,
  againShare: 1 / 4,
};

/** Those who wait for their turn, each once. */
export interface WaitingLine<One> {
  readonly size: number;
  has(one: One): boolean;
  /** Lets it wait from now on, unless it does already. */
  add(one: One): void;
  /**
   * Takes those whose turn it is out of the line, one by one.
   * @param turns how many there are
   * @param looks at most so many are looked at
   * @param serve is told how long each has waited, and returns whether that took a turn
   * @returns how many turns were taken
   */
  take(turns: number, looks: number, serve: (one: One, waitedMs: number) => boolean): number;
  /**
   * Takes those out of the line who have waited for longer, at most `count`.
   * @returns how many they were
   */
  takeOlder(leastMs: number, count: number, tell: (one: One, waitedMs: number) => void): number;
  /**
   * Takes the one out of the line that has waited for the longest of those that fit, if for longer.
   * @param looks at most so many are looked at
   */
  takeOldest(leastMs: number, looks: number, fits: (one: One) => boolean): One | undefined;
}

/**
 * A queue that stays useful when more come than can be served. First come, first served makes
 * everybody wait for as long as it takes, and once that is longer than they are willing to, all that
 * is done is done for those who have left; nor does it end by itself, for they come again. So whoever
 * has waited for too long is passed over until there is nobody else, and those behind are served in
 * time (as with adaptive LIFO and CoDel; Maurer, "Fail at Scale", ACM Queue 13(8), 2015). Some may be
 * more patient than that: later they have a share of the turns whoever else is there.
 */
export function createWaitingLine<One>({ now, freshMs }: WaitingLineOptions): WaitingLine<One> {
  /** Since when each waits; in both those first who have for the longest. */
  const fresh = new Map<One, number>();
  const passedOver = new Map<One, number>();
  const has = (one: One) => fresh.has(one) || passedOver.has(one);

  /** Those who have waited for longer, and the part of the line in which each does. */
  function* older(leastMs: number) {
    const time = now();
    for (const part of [passedOver, fresh]) {
      for (const [one, since] of part) {
        const waitedMs = time - since;
        if (waitedMs <= leastMs) break;
        yield { one, part, waitedMs };
      }
    }
  }

  return {
    get size() {
      return fresh.size + passedOver.size;
    },
    has,
    add(one) {
      if (!has(one)) fresh.set(one, now());
    },
    take(turns, looks, serve) {
      const time = now();
      const mostMs = freshMs();
      let taken = 0;
      let looked = 0;

      function serveFrom(some: Map<One, number>, share = 1, leastMs = 0): void {
        const mostTaken = Math.ceil(share * turns);
        const mostLooked = Math.ceil(share * looks);
        for (const [one, since] of some) {
          const waitedMs = time - since;
          if (taken >= mostTaken || looked >= mostLooked || waitedMs < leastMs) return;
          some.delete(one);
          if (some === fresh && waitedMs > mostMs) {
            passedOver.set(one, since);
            continue;
          }
          looked += 1;
          if (serve(one, waitedMs)) taken += 1;
        }
      }

      serveFrom(passedOver, policy.againShare, mostMs + policy.againMs);
      serveFrom(fresh);
      serveFrom(passedOver);
      return taken;
    },
    takeOlder(leastMs, count, tell) {
      let left = count;
      for (const { one, part, waitedMs } of older(leastMs)) {
        if (left === 0) break;
        part.delete(one);
        left -= 1;
        tell(one, waitedMs);
      }
      return count - left;
    },
    takeOldest(leastMs, looks, fits) {
      let left = looks;
      for (const { one, part } of older(leastMs)) {
        if (left === 0) break;
        left -= 1;
        if (!fits(one)) continue;
        part.delete(one);
        return one;
      }
      return undefined;
    },
  };
}
