import type { After } from '@bazar/contracts/internal';

/** While somebody waits, it is looked so often whether other replicas have sold something. */
const lookMs = 100;

/** Wakes whoever waits for a sale. */
export interface SaleSignal {
  /** How often something was sold here. */
  readonly count: number;
  /** Something was sold here. */
  notify(): void;
  /** From now on nobody waits. */
  end(): void;
  /**
   * Resolves at a sale, at the latest after this time. It does not wait if something was sold here
   * since the count was seen: the look came first, then the wait.
   * @param afterSale the last sale that the caller knows of
   */
  wait(seen: number, afterSale: number, ms: number): Promise<void>;
}

/** @param lastSale tells of the last sale, where other replicas sell of the same stock */
export function createSaleSignal(after: After, lastSale?: () => Promise<number>): SaleSignal {
  /** What wakes each of them, and the last sale that each knows of. */
  const waiting = new Map<() => void, number>();
  let count = 0;
  let ended = false;
  let isLooking = false;

  /** Looks for what others have sold, as long as somebody waits. */
  async function lookOut(look: () => Promise<number>): Promise<void> {
    isLooking = true;
    for (;;) {
      await new Promise<void>((resolve) => void after(lookMs, resolve));
      if (waiting.size === 0) break;
      // Where it cannot be known now, it may be at the next look; whoever waits is not told of that.
      const last = await look().catch(() => 0);
      for (const [wake, known] of waiting) if (last > known) wake();
    }
    isLooking = false;
  }

  function notify(): void {
    count += 1;
    for (const wake of waiting.keys()) wake();
  }

  return {
    get count() {
      return count;
    },
    notify,
    end() {
      ended = true;
      notify();
    },
    wait(seen, afterSale, ms) {
      if (ended || count !== seen) return Promise.resolve();
      return new Promise((resolve) => {
        const cancel = after(ms, wake);
        function wake() {
          cancel();
          waiting.delete(wake);
          resolve();
        }
        waiting.set(wake, afterSale);
        if (lastSale !== undefined && !isLooking) void lookOut(lastSale);
      });
    },
  };
}
