/** A row of the order log: a sale as the catalog recorded it. */
export interface LoggedOrder {
  readonly orderId: string;
  readonly itemId: number;
  readonly title: string;
  readonly price: number;
  /** ISO 8601, as the catalog recorded it. */
  readonly timestamp: string;
  /** The number of the sale: 1, 2, 3, … in the catalog's commit order. */
  readonly sale: number;
}

/** What the log holds of a range of sale numbers. */
export interface LoggedSales {
  /** How many copies of each book. */
  readonly copies: ReadonlyMap<number, number>;
  /** The numbers that no row has. */
  readonly lacking: readonly number[];
}

/** Where orders are kept. Every store passes the same suite. */
export interface OrderStore {
  /**
   * Adds the orders that are not there yet, with one commit; resolves when all are durable.
   * @throws Failure `storage_full` when none of them was kept
   * @throws StorageError when a sale number belongs to another order already
   */
  append(orders: readonly LoggedOrder[]): Promise<void>;
  /** @throws Failure `unavailable` for an order that is there, and cannot be read */
  find(orderId: string): Promise<LoggedOrder | undefined>;
  /** Orders by the number of their sale, after one (exclusive). @throws Failure likewise */
  list(after: number, limit: number): Promise<readonly LoggedOrder[]>;
  /** How far the log reaches: complete up to `watermark`, and with `lastSale` as its highest. */
  reach(): Promise<{ watermark: number; lastSale: number }>;
  /** The sales above `from` and up to `to`, at one moment. */
  sales(from: number, to: number): Promise<LoggedSales>;
  /** The orders that have these sale numbers, by number; those that are logged. */
  ordersOfSales(sales: readonly number[]): Promise<ReadonlyMap<number, string>>;
  /**
   * Resolves when a row could be written now.
   * @throws Failure `storage_full` while the last write found no room and a probe finds none, and
   * `unavailable` while the storage itself is away
   */
  assertRoom(): Promise<void>;
  /** The catalog that the sale numbers belong to, once it is known. */
  catalogId(): Promise<string | undefined>;
  adoptCatalog(catalogId: string): Promise<void>;
  close(): Promise<void>;
}
