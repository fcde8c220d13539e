import type { Audit, Book, BookChange, NewBook, NumberedOrder } from '@bazar/contracts';
import { type Asker, type Call, createAsker, type Pages, realEffects, type Write } from './call.js';
import type { CallOptions, ClientOptions, PageOptions, WriteOptions } from './options.js';
import { numberAfter, pagesOf } from './pages.js';
import { catalogRoutes, orderRoutes } from './routes.js';
import { objectWith } from './shape.js';

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
  /** Adds a book under the next free id. */
  addBook(book: NewBook, options?: WriteOptions): Write<Book>;
  /** The orders, by the number of their sale. */
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
  return adminThrough(
    createAsker({ catalogUrl }, client, realEffects),
    createAsker({ orderUrl }, client, realEffects),
  );
}

function adminThrough(catalog: Asker, order: Asker): Admin {
  return {
    update: (item_id, body, { key = catalog.newKey(), ...call } = {}) =>
      catalog.write(
        {
          name: 'update',
          route: catalogRoutes.update,
          params: { item_id },
          body,
          key,
          read: readBook,
        },
        call,
      ),
    addBook: (body, { key = catalog.newKey(), ...call } = {}) =>
      catalog.write(
        { name: 'addBook', route: catalogRoutes.addBook, body, key, read: readBook },
        call,
      ),
    orders: (call) =>
      pagesOf(order, { name: 'orders', route: orderRoutes.orders }, numberAfter, call),
    audit: (call) =>
      order.ask(
        { name: 'audit', route: orderRoutes.audit, read: objectWith<Audit>('balanced') },
        call,
      ),
  };
}

const readWritten = objectWith<{ book: unknown }>('book');
const isBook = objectWith<Book>('id');
const readBook = (body: unknown): Book | undefined => isBook(readWritten(body)?.book);
