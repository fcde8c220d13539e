import { createBatcher } from '@bazar/batching';
import { accusesUs, Failure } from '@bazar/contracts';
import {
  failedOutcome,
  type IsGone,
  keyReused,
  oncePerId,
  type PurchaseOperation,
  type PurchaseOutcome,
  type SaleOperation,
  type SaleOutcome,
  toldOfItem,
  withNothingDone,
} from '@bazar/contracts/internal';
import { createHop } from '@bazar/service/hop';
import type { LoggedOrder, OrderStore } from './store.js';

/** Asks the catalog to decide a batch of sales; a rejection leaves all of them unknown. */
export type Sell = (operations: readonly SaleOperation[]) => Promise<readonly SaleOutcome[]>;

export interface PurchaseEffects {
  readonly store: OrderStore;
  readonly sell: Sell;
  /** How many catalogs take batches now; one unless told. */
  readonly catalogs?: () => number;
  /** @throws Failure while purchases must not be made, e.g. before the log is known to be whole */
  readonly assertOpen: () => void;
  /** Told of every purchase that our side failed, once, with what is known of the reason. */
  readonly onFailure?: (failure: Failure, operation: PurchaseOperation) => void;
  /** Told of every purchase that was answered. */
  readonly onDone?: (operation: PurchaseOperation, outcome: PurchaseOutcome) => void;
  /** Is told how many purchases each batch carries: a call of the catalog, or a write of the log. */
  readonly onBatch?: (kind: 'sales' | 'log', purchases: number) => void;
  /** Milliseconds on a clock that only goes forward. */
  readonly now?: () => number;
  /** Runs a batch soon, but not now. */
  readonly defer?: (run: () => void) => unknown;
}

/** Bounds of the two batches that a purchase joins: the catalog's call, and the log's write. */
const policy = {
  sales: { maxBatch: 1024, maxQueue: 20_000 },
  maxSalesInFlightPerCatalog: 2,
  log: { maxBatch: 4096, maxQueue: 40_000 },
};

type Sold = Extract<SaleOutcome, { result: 'sold' }>;

export interface Purchases {
  /** Makes one purchase, or repeats its answer; what goes wrong is in the outcome. */
  purchase(operation: PurchaseOperation): Promise<PurchaseOutcome>;
  /** The same for a caller who may hang up: if all have before the catalog is asked, it is not. */
  purchaseFor(operation: PurchaseOperation, isGone: IsGone): Promise<PurchaseOutcome>;
  /** Finishes a sale that the catalog has and the log lacks. @throws Failure */
  recover(orderId: string, itemId: number): Promise<void>;
  /** How many purchases wait for a call of the catalog, and for a write of the log. */
  waiting(): { readonly sales: number; readonly log: number };
  /** True while a purchase under this id is being made. */
  isInFlight(orderId: string): boolean;
  /** Answers everything accepted. */
  close(): Promise<void>;
}

export function createPurchases(effects: PurchaseEffects): Purchases {
  // A batch that arrives is asked for at once; to wait for what else may be on its way, as whoever
  // gathers single requests does, would cost a turn of the event loop.
  const { store, sell, catalogs = () => 1, assertOpen, onFailure, onDone, onBatch } = effects;
  const { now, defer = process.nextTick } = effects;
  const sales = createHop<SaleOperation, SaleOutcome>({
    send: sell,
    idOf,
    idOfOutcome: idOf,
    ...policy.sales,
    maxInFlight: () => policy.maxSalesInFlightPerCatalog * catalogs(),
    isWanted: ({ operation_id }, waitedMs) => once.isWanted(operation_id, waitedMs),
    onFlush: (operations) => onBatch?.('sales', operations),
    now,
    defer,
  });
  // No bound of its own: what is here was sold, and went through the bounded queue before.
  const log = createBatcher(
    async (orders: readonly LoggedOrder[]) => {
      await store.append(orders);
      return orders;
    },
    { ...policy.log, onFlush: (orders) => onBatch?.('log', orders), defer },
  );

  /** @throws Failure that says that nothing was done, for the catalog was not asked */
  async function assertAble(): Promise<void> {
    try {
      assertOpen();
      // A sale that could not be logged would spend stock on a buyer who is refused.
      await store.assertRoom();
    } catch (error) {
      throw error instanceof Failure ? withNothingDone(error) : error;
    }
  }

  /** Failures of this service itself, and of none behind it. */
  const own = new WeakSet<Failure>();

  async function noteOwn<Result>(work: Promise<Result>): Promise<Result> {
    try {
      return await work;
    } catch (error) {
      if (error instanceof Failure) own.add(error);
      throw error;
    }
  }

  async function make(operation: PurchaseOperation): Promise<PurchaseOutcome> {
    const { order_id, item_id } = operation;
    const known = await noteOwn(store.find(order_id));
    if (known !== undefined) {
      if (known.itemId !== item_id) throw keyReused(order_id);
      return soldOutcome(known, true);
    }
    await noteOwn(assertAble());
    const outcome = await sales.ask(toSale(operation));
    if (outcome.result === 'failed') {
      throw toldOfItem(outcome.problem);
    }
    if (outcome.result === 'sold_out') {
      return { order_id, result: 'sold_out', replayed: outcome.replayed };
    }
    return soldOutcome(await log.add(toRow(operation, outcome)), outcome.replayed);
  }

  const once = oncePerId(make);

  async function answer(operation: PurchaseOperation, isGone?: IsGone): Promise<PurchaseOutcome> {
    try {
      const outcome = await once.purchase(operation, isGone);
      onDone?.(operation, outcome);
      return outcome;
    } catch (error) {
      // One purchase that cannot be answered must not take the others of its batch with it.
      const failure = error instanceof Failure ? error : mistake(error);
      if (failure.status >= 500 || accusesUs(failure)) onFailure?.(failure, operation);
      return failedOutcome(operation, failure, own.has(failure));
    }
  }

  return {
    purchase: (operation) => answer(operation),
    purchaseFor: answer,
    async recover(order_id, item_id) {
      const request_id = `recovery-${order_id}`;
      const outcome = await once.purchase({ order_id, item_id, request_id });
      if (outcome.result === 'sold') return;
      throw new Failure('unavailable', `order ${order_id}, named as a sale, is none`);
    },
    waiting: () => ({ sales: sales.waiting(), log: log.waiting() }),
    isInFlight: once.isInFlight,
    async close() {
      // Between its two batches a purchase is in neither of them.
      await once.idle();
      await sales.close();
      await log.close();
    },
  };
}

const idOf = ({ operation_id }: SaleOperation | SaleOutcome) => operation_id;

/** Field by field: to copy the rest of an object takes ten times as long. */
function toSale(operation: PurchaseOperation): SaleOperation {
  const { order_id: operation_id, item_id, request_id, timeout_ms, traceparent } = operation;
  const sale: SaleOperation = {
    operation_id,
    kind: 'sale',
    item_id,
    quantity_delta: -1,
    request_id,
  };
  if (timeout_ms !== undefined) sale.timeout_ms = timeout_ms;
  if (traceparent !== undefined) sale.traceparent = traceparent;
  return sale;
}

function toRow({ order_id: orderId, item_id: itemId }: PurchaseOperation, sold: Sold): LoggedOrder {
  const { title, price, timestamp, sale } = sold;
  return { orderId, itemId, title, price, timestamp, sale };
}

function mistake(cause: unknown): Failure {
  return new Failure('internal', 'the order service made a mistake', { cause });
}

function soldOutcome(order: LoggedOrder, replayed: boolean): PurchaseOutcome {
  const { orderId: order_id, itemId: item_id, title, price, timestamp } = order;
  return { order_id, result: 'sold', replayed, item_id, title, price, timestamp };
}
