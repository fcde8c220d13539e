export interface WaitingLineOptions {
  /** Milliseconds on a clock that only goes forward. */
  readonly now: () => number;
  /** Whoever has waited for longer is passed over, for the others to be in time. */
  readonly freshMs: number;
}

const policy = {
  /** Whoever has waited for so long has a share of the turns again. */
  patientMs: 2500,
  patientShare: 1 / 4,
};

/** Those who wait for their turn, each once. */
export interface WaitingLine<One> {
  readonly size: number;
  has(one: One): boolean;
  /** @param waitedMs for how long it has waited already */
  add(one: One, waitedMs?: number): void;
  /**
   * Takes those whose turn it is out of the line, one by one.
   * @param count how many turns there are
   * @param take is told how long each has waited, and returns whether that was a turn
   */
  take(count: number, take: (one: One, waitedMs: number) => boolean): void;
  /** Takes those out of the line who have waited for longer, at most `count`. */
  takeOlder(waitedMs: number, count: number, take: (one: One, waitedMs: number) => void): void;
  /** Takes all out of the line. */
  clear(): One[];
}

/**
 * A queue that stays useful when more come than can be served. First come, first served makes
 * everybody wait for as long as it takes, and once that is longer than they are willing to, all that
 * is done is done for those who have left; nor does it end by itself, for they come again. So whoever
 * has waited for too long is passed over until there is nobody else, and those behind are served in
 * time (as with adaptive LIFO and CoDel; Maurer, "Fail at Scale", ACM Queue 13(8), 2015). Those who are
 * seen to be patient have a share of the turns later.
 */
export function createWaitingLine<One>({ now, freshMs }: WaitingLineOptions): WaitingLine<One> {
  /** Since when each waits. */
  const fresh = new Map<One, number>();
  const passedOver = new Map<One, number>();

  return {
    get size() {
      return fresh.size + passedOver.size;
    },
    has: (one) => fresh.has(one) || passedOver.has(one),
    add(one, waitedMs = 0) {
      fresh.set(one, now() - waitedMs);
    },
    take(count, take) {
      const time = now();
      let left = count;

      function takeFrom(some: Map<One, number>, most: number, leastMs: number): void {
        let turns = 0;
        for (const [one, since] of some) {
          if (turns >= most || time - since < leastMs) break;
          some.delete(one);
          if (some === fresh && time - since > freshMs) passedOver.set(one, since);
          else if (take(one, time - since)) turns += 1;
        }
        left -= turns;
      }

      takeFrom(passedOver, Math.ceil(count * policy.patientShare), policy.patientMs);
      takeFrom(fresh, left, 0);
      takeFrom(passedOver, left, 0);
    },
    takeOlder(waitedMs, count, take) {
      const time = now();
      let left = count;
      for (const some of [passedOver, fresh]) {
        for (const [one, since] of some) {
          if (left === 0 || time - since <= waitedMs) break;
          some.delete(one);
          left -= 1;
          take(one, time - since);
        }
      }
    },
    clear() {
      const all = [...fresh.keys(), ...passedOver.keys()];
      fresh.clear();
      passedOver.clear();
      return all;
    },
  };
}
