import type {
  Audit,
  Book,
  BookChange,
  catalogAdmin,
  NewBook,
  NumberedOrder,
  orderAdmin,
} from '@bazar/contracts';
import { type Call, createAsker, type Pages, realEffects, type Write } from './call.js';
import {
  baseUrlOf,
  type CallOptions,
  type ClientOptions,
  type PageOptions,
  type WriteOptions,
} from './options.js';
import { numberAfter, pagesOf } from './pages.js';
import { catalogRoutes, orderRoutes } from './routes.js';
import { isObject } from './shape.js';

export interface AdminOptions extends ClientOptions {
  /** Where the catalog is, as `http://127.0.0.1:5001`. */
  readonly catalogUrl: string;
  /** Where the order service is, as `http://127.0.0.1:5002`. */
  readonly orderUrl: string;
}

/** The shop, as its keeper sees it. */
export interface Admin {
  /**
   * Changes the price or the stock of a book; `quantity` sets it, `quantity_delta` adjusts it.
   *
   * @example
   * ```ts
   * const { quantity } = await admin.update(2, { quantity_delta: 10 });
   * ```
   * @throws BazarError `book_not_found`, `stock_below_zero`
   */
  update(id: number, change: BookChange, options?: WriteOptions): Write<Book>;
  /**
   * Adds a book under the next free id.
   *
   * @example
   * ```ts
   * const { id } = await admin.addBook({ title: 'A title', topic: 'a topic', quantity: 5, price: 40 });
   * ```
   */
  addBook(book: NewBook, options?: WriteOptions): Write<Book>;
  /**
   * The orders, by the number of their sale.
   *
   * @example
   * ```ts
   * for await (const { sale, order_id } of admin.orders()) console.log(sale, order_id);
   * ```
   */
  orders(options?: PageOptions<number>): Pages<NumberedOrder, number>;
  /**
   * Compares the stock with the order log: stocked = remaining + sold, and sold = logged.
   *
   * @example
   * ```ts
   * const { balanced, differences } = await admin.audit();
   * ```
   */
  audit(options?: CallOptions): Call<Audit>;
}

/**
 * Connects to the services that the keeper of a shop may change; `token` is the shop's `ADMIN_TOKEN`.
 *
 * @example
 * ```ts
 * import { createAdmin } from '@bazar/client';
 *
 * const admin = createAdmin({
 *   catalogUrl: 'http://127.0.0.1:5001',
 *   orderUrl: 'http://127.0.0.1:5002',
 *   token,
 * });
 * await admin.update(2, { quantity_delta: 10 });
 * ```
 * @throws TypeError that names the option that is wrong
 */
export function createAdmin({ catalogUrl, orderUrl, ...client }: AdminOptions): Admin {
  const catalogBase = baseUrlOf('catalogUrl', catalogUrl);
  const orderBase = baseUrlOf('orderUrl', orderUrl);
  const catalog = createAsker<typeof catalogAdmin>(catalogRoutes, catalogBase, client, realEffects);
  const order = createAsker<typeof orderAdmin>(orderRoutes, orderBase, client, realEffects);
  return {
    update: (item_id, body, call) =>
      catalog.write(
        'update',
        { params: { item_id }, body },
        ({ book }) => (isObject(book) && book.id === item_id ? book : undefined),
        call,
      ),
    addBook: (body, call) =>
      catalog.write('addBook', { body }, ({ book }) => (isObject(book) ? book : undefined), call),
    orders: (options) =>
      pagesOf(
        (query, read, call) => order.ask('orders', { query }, read, call),
        numberAfter,
        options,
      ),
    audit: (call) =>
      order.ask(
        'audit',
        {},
        (audit) => (typeof audit.balanced === 'boolean' ? audit : undefined),
        call,
      ),
  };
}
