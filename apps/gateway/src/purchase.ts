import { Failure, type PurchaseAnswer } from '@bazar/contracts';
import {
  inTime,
  oncePerId,
  type PurchaseOperation,
  type PurchaseOutcome,
  purchaseAnswer,
  purchaseFailure,
} from '@bazar/contracts/internal';
import { createHop } from '@bazar/service/hop';
import type { After } from './after.js';

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

/** One call carries at most this many purchases; more waiting than `maxQueue` is overload. */
const policy = { maxBatch: 1024, maxQueue: 20_000, maxInFlightPerReplica: 2 };

export interface Buying {
  /**
   * Buys a copy, or repeats the answer that its order id was given before.
   * @throws Failure; one of 500 and above names the key under which to ask again
   */
  buy(operation: PurchaseOperation): Promise<{ answer: PurchaseAnswer; replayed: boolean }>;
  /** How many purchases wait for a call. */
  waiting(): number;
  /** Answers everything accepted. */
  close(): Promise<void>;
}

export function createBuying(effects: BuyEffects): Buying {
  const { purchase, replicas = () => 1, after, onDone, onBatch, defer } = effects;
  const { now = () => performance.now() } = effects;
  const { maxBatch, maxQueue, maxInFlightPerReplica } = policy;
  const idOf = ({ order_id }: PurchaseOperation | PurchaseOutcome) => order_id;
  const hop = createHop<PurchaseOperation, PurchaseOutcome>({
    send: purchase,
    idOf,
    idOfOutcome: idOf,
    maxBatch,
    maxQueue,
    maxInFlight: () => maxInFlightPerReplica * replicas(),
    onFlush: onBatch,
    now,
    defer,
  });
  const once = oncePerId(hop.ask);

  return {
    async buy(operation) {
      const from = now();
      let outcome: PurchaseOutcome;
      try {
        outcome = await inTime(once.purchase(operation), operation, after);
      } catch (error) {
        throw error instanceof Failure ? purchaseFailure(error, operation.order_id) : error;
      }
      onDone?.(operation, outcome, now() - from);
      return purchaseAnswer(outcome);
    },
    waiting: hop.waiting,
    close: hop.close,
  };
}
