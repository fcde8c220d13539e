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

interface InFlight {
  readonly itemId: number;
  readonly outcome: Promise<PurchaseOutcome>;
}

export function createBuying({ purchase, after }: BuyEffects): Buying {
  const inFlight = new Map<string, InFlight>();
  const batches = createBatcher<PurchaseOperation, PurchaseOutcome>(
    async (operations) => matchOutcomes(operations, idOf, await purchase(operations), idOf),
    policy,
  );

  async function send(operation: PurchaseOperation): Promise<PurchaseOutcome> {
    try {
      return await batches.add(operation);
    } finally {
      inFlight.delete(operation.order_id);
    }
  }

  /** Outcomes are matched by id, so an id is asked once at a time; who repeats it shares it. */
  async function join(operation: PurchaseOperation): Promise<PurchaseOutcome> {
    const { order_id, item_id } = operation;
    const earlier = inFlight.get(order_id);
    if (earlier === undefined) {
      const outcome = send(operation);
      inFlight.set(order_id, { itemId: item_id, outcome });
      return outcome;
    }
    if (earlier.itemId !== item_id) {
      throw new Failure('key_reused', `the key ${order_id} was used for another book`);
    }
    const outcome = await earlier.outcome;
    return outcome.result === 'failed' ? outcome : { ...outcome, replayed: true };
  }

  async function joinInTime(operation: PurchaseOperation): Promise<PurchaseOutcome> {
    const { timeout_ms } = operation;
    // Most callers name no time; their bound is the batch's own, which costs no timer.
    if (timeout_ms === undefined) return join(operation);
    if (timeout_ms === 0) throw new Failure('deadline_exceeded', 'no time was left');
    return withDeadline(join(operation), timeout_ms, after);
  }

  return {
    async buy(operation) {
      let outcome: PurchaseOutcome;
      try {
        outcome = await joinInTime(operation);
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
