import type { Book, BookTitle, Order, TopicCount } from '@bazar/contracts';
import { type Asker, type Call, createAsker, type Pages, realEffects, type Write } from './call.js';
import type { CallOptions, ClientOptions, PageOptions, WriteOptions } from './options.js';
import { nameAfter, numberAfter, pagesOf } from './pages.js';
import { shopRoutes as routes } from './routes.js';
import { objectWith } from './shape.js';

export interface BazarOptions extends ClientOptions {
  /** Where the shop's gateway is, as `http://127.0.0.1:5000`. */
  readonly baseUrl: string;
}

/** What a purchase comes to. To be sold out is a result, not an error. */
export type PurchaseResult =
  | {
      readonly result: 'sold';
      readonly order: Order;
      /** The answer was decided by an earlier request with the same key. */
      readonly replayed: boolean;
    }
  | { readonly result: 'sold_out'; readonly order?: undefined; readonly replayed: boolean };

/** The shop, as its customers see it. */
export interface Bazar {
  /**
   * The books of a topic, by id; the topic is matched whole, ignoring case.
   *
   * @example
   * ```ts
   * for await (const { id, title } of bazar.search('distributed')) console.log(id, title);
   * const { items, next } = await bazar.search('distributed', { limit: 10 }); // one page
   * ```
   */
  search(topic: string, options?: PageOptions<number>): Pages<BookTitle, number>;
  /**
   * One book, its price and its stock: no older than any purchase that was answered before.
   *
   * @example
   * ```ts
   * const { title, price, quantity } = await bazar.info(2);
   * ```
   * @throws BazarError `book_not_found`
   */
  info(id: number, options?: CallOptions): Call<Book>;
  /**
   * Buys one copy. It is repeated under one key until its outcome is known, and never bought twice.
   *
   * @example
   * ```ts
   * const purchase = await bazar.purchase(2);
   * if (purchase.result === 'sold') console.log(purchase.order.order_id);
   * ```
   * @throws BazarError `book_not_found`, or one whose `key` tells under which to ask again
   */
  purchase(id: number, options?: WriteOptions): Write<PurchaseResult>;
  /**
   * An order that was made; its id is the key of its purchase.
   *
   * @example
   * ```ts
   * const { title, price, timestamp } = await bazar.order(order_id);
   * ```
   * @throws BazarError `order_not_found`
   */
  order(orderId: string, options?: CallOptions): Call<Order>;
  /**
   * The topics, by name, and how many titles each has.
   *
   * @example
   * ```ts
   * for await (const { topic, titles } of bazar.topics()) console.log(topic, titles);
   * ```
   */
  topics(options?: PageOptions<string>): Pages<TopicCount, string>;
}

/**
 * Connects to a shop. Nothing is sent before the first call.
 *
 * @example
 * ```ts
 * import { createBazar } from '@bazar/client';
 *
 * const bazar = createBazar({ baseUrl: 'http://127.0.0.1:5000' });
 * const book = await bazar.info(2);
 * ```
 * @throws TypeError that names the option that is wrong
 */
export function createBazar({ baseUrl, ...client }: BazarOptions): Bazar {
  return bazarThrough(createAsker({ baseUrl }, client, realEffects));
}

export function bazarThrough(asker: Asker): Bazar {
  return {
    search: (topic, call) =>
      pagesOf(
        asker,
        { name: 'search', route: routes.search, params: { topic } },
        numberAfter,
        call,
      ),
    info: (item_id, call) =>
      asker.ask(
        {
          name: 'info',
          route: routes.info,
          params: { item_id },
          read: objectWith<Book>('id', item_id),
        },
        call,
      ),
    purchase: (item_id, { key = asker.newKey(), ...call } = {}) =>
      asker.write(
        {
          name: 'purchase',
          route: routes.purchase,
          params: { item_id },
          key,
          read: purchaseOf(item_id, key),
        },
        call,
      ),
    order: (order_id, call) =>
      asker.ask(
        {
          name: 'order',
          route: routes.order,
          params: { order_id },
          read: objectWith<Order>('order_id', canonical(order_id)),
        },
        call,
      ),
    topics: (call) => pagesOf(asker, { name: 'topics', route: routes.topics }, nameAfter, call),
  };
}

const readSold = objectWith<{ order: unknown }>('order');
const readSoldOut = objectWith<{ message: unknown }>('message', 'Out of stock');

/** A UUID is the same in small letters, and so the shop writes it. */
const canonical = (id: string) => String(id).toLowerCase();

/** Somebody between us and the shop may have kept the answer to another purchase. */
function purchaseOf(itemId: number, key: string) {
  const isOfItem = objectWith<Order>('item_id', itemId);
  const isOfKey = objectWith<Order>('order_id', canonical(key));
  return (body: unknown, headers: Headers): PurchaseResult | undefined => {
    const replayed = headers.get('idempotency-replayed') === 'true';
    const order = isOfItem(isOfKey(readSold(body)?.order));
    if (order !== undefined) return { result: 'sold', order, replayed };
    return readSoldOut(body) && { result: 'sold_out', replayed };
  };
}
