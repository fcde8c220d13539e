import { Failure } from './failures.js';
import type { PurchaseOperation, PurchaseOutcome } from './internal.js';

/**
 * Whether a caller is known not to wait for its answer any more.
 * @param waitedMs for how long its purchase has waited for a call of the service behind
 */
export type IsGone = (waitedMs: number) => boolean;

/** Makes purchases, each order id once at a time. */
export interface OncePerId {
  /** @param isGone asked before the purchase is begun; a caller without it stays */
  purchase(operation: PurchaseOperation, isGone?: IsGone): Promise<PurchaseOutcome>;
  /** Whether anybody still waits for what becomes of the purchase under this id. */
  isWanted(orderId: string, waitedMs: number): boolean;
  isInFlight(orderId: string): boolean;
  /** Resolves when nothing is in flight. */
  idle(): Promise<void>;
}

/**
 * Outcomes are matched by id, so an id must be at work once at a time: another book under it would
 * be told, and logged, with what became of the first. Whoever repeats a purchase that is being made
 * shares its answer; whoever names another book is refused.
 * @param make one purchase; may reject
 */
export function oncePerId(
  make: (operation: PurchaseOperation) => Promise<PurchaseOutcome>,
): OncePerId {
  interface Purchase {
    readonly itemId: number;
    readonly outcome: Promise<PurchaseOutcome>;
    /** Of all who wait for it; undefined as soon as one of them stays whatever happens. */
    callers: IsGone[] | undefined;
  }
  const inFlight = new Map<string, Purchase>();

  async function begin(operation: PurchaseOperation): Promise<PurchaseOutcome> {
    try {
      return await make(operation);
    } finally {
      inFlight.delete(operation.order_id);
    }
  }

  async function repeat(outcome: Promise<PurchaseOutcome>): Promise<PurchaseOutcome> {
    const known = await outcome;
    return known.result === 'failed' ? known : { ...known, replayed: true };
  }

  return {
    // Not an async function: there are thousands a second, and each would cost a promise more.
    purchase(operation, isGone) {
      const { order_id, item_id, timeout_ms } = operation;
      // Work whose caller has given up is not started: nobody would read its answer.
      if (timeout_ms === 0) {
        const options = { nothingDone: true };
        return Promise.reject(new Failure('deadline_exceeded', 'no time was left', options));
      }
      const earlier = inFlight.get(order_id);
      if (earlier === undefined) {
        const outcome = begin(operation);
        inFlight.set(order_id, { itemId: item_id, outcome, callers: isGone && [isGone] });
        return outcome;
      }
      if (earlier.itemId !== item_id) return Promise.reject(keyReused(order_id));
      if (isGone === undefined) earlier.callers = undefined;
      else earlier.callers?.push(isGone);
      return repeat(earlier.outcome);
    },
    isWanted(orderId, waitedMs) {
      const callers = inFlight.get(orderId)?.callers;
      return callers === undefined || callers.some((isGone) => !isGone(waitedMs));
    },
    isInFlight: (orderId) => inFlight.has(orderId),
    async idle() {
      await Promise.allSettled(Array.from(inFlight.values(), ({ outcome }) => outcome));
    },
  };
}

/** The refusal of a key that was used for another book. */
export function keyReused(orderId: string): Failure {
  return new Failure('key_reused', `the key ${orderId} was used for another book`);
}
