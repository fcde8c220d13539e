import { createBatcher, QueueFull } from '@bazar/batching';
import { Failure, type PurchaseAnswer } from '@bazar/contracts';
import {
  matchOutcomes,
  type PurchaseOperation,
  type PurchaseOutcome,
  purchaseAnswer,
  purchaseFailure,
} from '@bazar/contracts/internal';

/** Asks an order service to make a batch of purchases; a rejection leaves all of them unknown. */
export type Purchase = (
  operations: readonly PurchaseOperation[],
) => Promise<readonly PurchaseOutcome[]>;

export interface BuyEffects {
  readonly purchase: Purchase;
  /** Waits `ms` milliseconds, then runs; the returned function takes the order back. */
  readonly after: (ms: number, run: () => void) => () => void;
}

/** One call carries at most this many purchases; more waiting than `maxQueue` is overload. */
const policy = { maxBatch: 1024, maxQueue: 20_000 };

export interface Buying {
  /**
   * Buys a copy, or repeats the answer that its order id was given before.
   * @throws Failure; one of 500 and above names the key under which to ask again
   */
  buy(operation: PurchaseOperation): Promise<{ answer: PurchaseAnswer; replayed: boolean }>;
  /** Answers everything accepted. */
  close(): Promise<void>;
}

export function createBuying({ purchase, after }: BuyEffects): Buying {
  const batches = createBatcher<PurchaseOperation, PurchaseOutcome>(
    async (operations) => matchOutcomes(operations, idOf, await purchase(operations), idOf),
    policy,
  );

  async function join(operation: PurchaseOperation): Promise<PurchaseOutcome> {
    const outcome = batches.add(operation);
    // Most callers name no time; their bound is the batch's own, which costs no timer.
    const { timeout_ms } = operation;
    return timeout_ms === undefined ? outcome : withDeadline(outcome, timeout_ms, after);
  }

  return {
    async buy(operation) {
      let outcome: PurchaseOutcome;
      try {
        outcome = await join(operation);
      } catch (error) {
        if (error instanceof QueueFull) {
          throw new Failure('overloaded', 'too many purchases are waiting', { cause: error });
        }
        throw error instanceof Failure ? purchaseFailure(error, operation.order_id) : error;
      }
      return purchaseAnswer(outcome);
    },
    close: () => batches.close(),
  };
}

const idOf = ({ order_id }: PurchaseOperation | PurchaseOutcome) => order_id;

function withDeadline<Result>(
  result: Promise<Result>,
  timeoutMs: number,
  after: BuyEffects['after'],
): Promise<Result> {
  return new Promise((resolve, reject) => {
    const cancel = after(timeoutMs, () => {
      reject(new Failure('deadline_exceeded', `no answer came within ${timeoutMs} ms`));
    });
    result.then(resolve, reject).finally(cancel);
  });
}
