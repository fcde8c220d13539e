import { createBatcher, QueueFull } from '@bazar/batching';
import { Failure } from '@bazar/contracts';
import {
  matchOutcomes,
  type PurchaseOperation,
  type PurchaseOutcome,
  type SaleOperation,
  type SaleOutcome,
} from '@bazar/contracts/internal';
import type { LoggedOrder, OrderStore } from './store.js';

/** Asks the catalog to decide a batch of sales; a rejection leaves all of them unknown. */
export type Sell = (operations: readonly SaleOperation[]) => Promise<readonly SaleOutcome[]>;

export interface PurchaseEffects {
  readonly store: OrderStore;
  readonly sell: Sell;
  /** @throws Failure while purchases must not be made, e.g. before the log is known to be whole */
  readonly assertOpen: () => void;
}

/** Bounds of the two batches that a purchase joins: the catalog's call, and the log's write. */
const policy = {
  sales: { maxBatch: 1024, maxQueue: 20_000 },
  log: { maxBatch: 4096, maxQueue: 40_000 },
};

type Sold = Extract<SaleOutcome, { result: 'sold' }>;

export interface Purchases {
  /** Makes one purchase, or repeats its answer; what goes wrong is in the outcome. */
  purchase(operation: PurchaseOperation): Promise<PurchaseOutcome>;
  /** Finishes a sale that the catalog has and the log lacks. @throws Failure */
  recover(orderId: string, itemId: number): Promise<void>;
  /** True while a purchase under this id is being made. */
  isInFlight(orderId: string): boolean;
  /** Answers everything accepted. */
  close(): Promise<void>;
}

export function createPurchases({ store, sell, assertOpen }: PurchaseEffects): Purchases {
  const sales = createBatcher<SaleOperation, SaleOutcome>(
    async (operations: readonly SaleOperation[]) =>
      matchOutcomes(operations, idOf, await sell(operations), idOf),
    policy.sales,
  );
  const log = createBatcher(async (orders: readonly LoggedOrder[]) => {
    await store.append(orders);
    return orders;
  }, policy.log);

  async function decide(operation: PurchaseOperation): Promise<SaleOutcome> {
    const { order_id: operation_id, ...rest } = operation;
    const sale = { ...rest, operation_id, kind: 'sale', quantity_delta: -1 } as const;
    return bounded(sales.add(sale));
  }

  async function record(operation: PurchaseOperation, outcome: Sold): Promise<LoggedOrder> {
    const { order_id: orderId, item_id: itemId } = operation;
    const { title, price, timestamp, sale } = outcome;
    return bounded(log.add({ orderId, itemId, title, price, timestamp, sale }));
  }

  async function tell(operation: PurchaseOperation): Promise<PurchaseOutcome> {
    const { order_id, item_id } = operation;
    const known = await store.find(order_id);
    if (known !== undefined) {
      if (known.itemId !== item_id) throw reused(order_id);
      return soldOutcome(known, true);
    }
    assertOpen();
    // A sale that could not be logged would spend stock on a buyer who is refused.
    await store.assertRoom();
    const outcome = await decide(operation);
    if (outcome.result === 'failed') {
      throw new Failure(outcome.problem.code, outcome.problem.detail, { foreign: true });
    }
    if (outcome.result === 'sold_out') {
      return { order_id, result: 'sold_out', replayed: outcome.replayed };
    }
    return soldOutcome(await record(operation, outcome), outcome.replayed);
  }

  async function make(operation: PurchaseOperation): Promise<PurchaseOutcome> {
    try {
      return await tell(operation);
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      return failedOutcome(operation, error);
    }
  }

  const { purchase, isInFlight, idle } = oncePerId(make);

  return {
    purchase,
    async recover(order_id, item_id) {
      const request_id = `recovery-${order_id}`;
      const outcome = await purchase({ order_id, item_id, request_id });
      if (outcome.result === 'sold') return;
      const none = {
        code: 'unavailable',
        detail: `order ${order_id}, named as a sale, is none`,
      } as const;
      const { code, detail } = outcome.result === 'failed' ? outcome.problem : none;
      throw new Failure(code, detail, { foreign: true });
    },
    isInFlight,
    async close() {
      // Between its two batches a purchase is in neither of them.
      await idle();
      await sales.close();
      await log.close();
    },
  };
}

/**
 * Outcomes are matched by id, so an id is at work once at a time: another book under it would be
 * told, and logged, with what became of the first.
 */
function oncePerId(make: (operation: PurchaseOperation) => Promise<PurchaseOutcome>) {
  const inFlight = new Map<string, { itemId: number; outcome: Promise<PurchaseOutcome> }>();
  return {
    async purchase(operation: PurchaseOperation): Promise<PurchaseOutcome> {
      const { order_id, item_id, timeout_ms } = operation;
      // Work whose caller has given up is not started: nobody would read its answer.
      if (timeout_ms === 0) {
        return failedOutcome(operation, new Failure('deadline_exceeded', 'no time was left'));
      }
      const earlier = inFlight.get(order_id);
      if (earlier === undefined) {
        const outcome = make(operation).finally(() => inFlight.delete(order_id));
        inFlight.set(order_id, { itemId: item_id, outcome });
        return outcome;
      }
      if (earlier.itemId !== item_id) return failedOutcome(operation, reused(order_id));
      const outcome = await earlier.outcome;
      return outcome.result === 'failed' ? outcome : { ...outcome, replayed: true };
    },
    isInFlight: (orderId: string) => inFlight.has(orderId),
    async idle(): Promise<void> {
      await Promise.allSettled(Array.from(inFlight.values(), ({ outcome }) => outcome));
    },
  };
}

const idOf = ({ operation_id }: SaleOperation | SaleOutcome) => operation_id;

async function bounded<Result>(result: Promise<Result>): Promise<Result> {
  try {
    return await result;
  } catch (error) {
    if (!(error instanceof QueueFull)) throw error;
    throw new Failure('overloaded', 'too many purchases are waiting', { cause: error });
  }
}

function reused(orderId: string): Failure {
  return new Failure('key_reused', `the key ${orderId} was used for another book`);
}

function failedOutcome({ order_id }: PurchaseOperation, failure: Failure): PurchaseOutcome {
  const problem = { code: failure.code, detail: failure.message };
  return { order_id, result: 'failed', problem };
}

function soldOutcome(order: LoggedOrder, replayed: boolean): PurchaseOutcome {
  const { orderId: order_id, itemId: item_id, title, price, timestamp } = order;
  return { order_id, result: 'sold', replayed, item_id, title, price, timestamp };
}
