import { Failure, type PurchaseAnswer } from '@bazar/contracts';
import {
  type After,
  type IsGone,
  inTime,
  oncePerId,
  type PurchaseOperation,
  type PurchaseOutcome,
  purchaseAnswer,
  purchaseFailure,
} from '@bazar/contracts/internal';
import { createHop } from '@bazar/service/hop';

/** Asks an order service to make a batch of purchases; a rejection leaves all of them unknown. */
export type Purchase = (
  operations: readonly PurchaseOperation[],
) => Promise<readonly PurchaseOutcome[]>;

export interface BuyEffects {
  readonly purchase: Purchase;
  /** How many order services take batches now; one unless told. */
  readonly replicas?: () => number;
  readonly after: After;
  /** Is told of every purchase that was answered, and how many milliseconds it took. */
  readonly onDone?: (operation: PurchaseOperation, outcome: PurchaseOutcome, ms: number) => void;
  /** Is told how many purchases each call carries. */
  readonly onBatch?: (purchases: number) => void;
  /** Milliseconds on a clock that only goes forward. */
  readonly now?: () => number;
  /** Runs a batch soon, but not now. */
  readonly defer?: (run: () => void) => unknown;
}

/**
 * One call carries at most this many purchases. More waiting than `maxQueue` is overload; and so is
 * an old queue of more than `minQueue`, see `createHop`.
 */
const policy = {
  maxBatch: 1024,
  maxQueue: 20_000,
  maxInFlightPerReplica: 2,
  shedding: { minQueue: 512, maxWaitMs: 1000 },
};

export interface Buying {
  /**
   * Buys a copy, or repeats the answer that its order id was given before.
   * @param isGone asked before the purchase is sent; if all who wait for it have gone, it is not
   * @throws Failure; one of 500 and above names the key under which to ask again
   */
  buy(
    operation: PurchaseOperation,
    isGone?: IsGone,
  ): Promise<{ answer: PurchaseAnswer; replayed: boolean }>;
  /** How many purchases wait for a call. */
  waiting(): number;
  /** Whether another one would be refused for those that wait already. */
  isOverloaded(): boolean;
  /** Answers everything accepted. */
  close(): Promise<void>;
}

export function createBuying(effects: BuyEffects): Buying {
  const { purchase, replicas = () => 1, after, onDone, onBatch, defer } = effects;
  const { now = () => performance.now() } = effects;
  const { maxBatch, maxQueue, maxInFlightPerReplica, shedding } = policy;
  const idOf = ({ order_id }: PurchaseOperation | PurchaseOutcome) => order_id;
  const hop = createHop<PurchaseOperation, PurchaseOutcome>({
    send: purchase,
    idOf,
    idOfOutcome: idOf,
    maxBatch,
    maxQueue,
    shedding,
    maxInFlight: () => maxInFlightPerReplica * replicas(),
    isWanted: ({ order_id }, waitedMs) => once.isWanted(order_id, waitedMs),
    onFlush: onBatch,
    now,
    defer,
  });
  const once = oncePerId(hop.ask);

  return {
    async buy(operation, isGone = () => false) {
      const from = now();
      // Whoever was told that the time is up does not wait any more either.
      let isAnswered = false;
      const asked = once.purchase(operation, (waitedMs) => isAnswered || isGone(waitedMs));
      let outcome: PurchaseOutcome;
      try {
        outcome = await inTime(asked, operation, after);
      } catch (error) {
        throw error instanceof Failure ? purchaseFailure(error, operation.order_id) : error;
      } finally {
        isAnswered = true;
      }
      onDone?.(operation, outcome, now() - from);
      return purchaseAnswer(outcome);
    },
    waiting: hop.waiting,
    isOverloaded: hop.isOverloaded,
    close: hop.close,
  };
}
