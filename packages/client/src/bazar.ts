import type {
  Book,
  BookTitle,
  gateway,
  Order,
  PurchaseAnswer,
  ResponseHeaders,
  TopicCount,
} from '@bazar/contracts';
import { type Asker, type Call, createAsker, type Pages, realEffects, type Write } from './call.js';
import {
  baseUrlOf,
  type CallOptions,
  type ClientOptions,
  type PageOptions,
  type WriteOptions,
} from './options.js';
import { nameAfter, numberAfter, pagesOf } from './pages.js';
import { type Shop, shopRoutes } from './routes.js';
import { isObject } from './shape.js';

export interface BazarOptions extends ClientOptions {
  /** Where the shop's gateway is, as `http://127.0.0.1:5000`. */
  readonly baseUrl: string;
}

/** What a purchase comes to. To be sold out is a result, not an error. */
export type PurchaseResult =
  | {
      readonly result: 'sold';
      readonly order: Order;
      /** The answer was decided before: by an earlier request with this key, or an attempt of this one. */
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
  return bazarThrough(
    createAsker<Shop>(shopRoutes, baseUrlOf('baseUrl', baseUrl), client, realEffects),
  );
}

export function bazarThrough(asker: Asker<Shop>): Bazar {
  return {
    search: (topic, options) =>
      pagesOf(
        (query, read, call) => asker.ask('search', { params: { topic }, query }, read, call),
        numberAfter,
        options,
      ),
    info: (item_id, call) =>
      asker.ask(
        'info',
        { params: { item_id } },
        (book) => (book.id === item_id ? book : undefined),
        call,
      ),
    purchase: (item_id, call) =>
      asker.write(
        'purchase',
        { params: { item_id } },
        (body, headers, key) => purchaseOf(body, headers, item_id, key),
        call,
      ),
    order: (order_id, call) =>
      asker.ask(
        'order',
        { params: { order_id } },
        (order) => (isSameId(order.order_id, order_id) ? order : undefined),
        call,
      ),
    topics: (options) =>
      pagesOf(
        (query, read, call) => asker.ask('topics', { query }, read, call),
        nameAfter,
        options,
      ),
  };
}

const replayedHeader = 'Idempotency-Replayed' satisfies keyof ResponseHeaders<
  typeof gateway.purchase
>;

/** Somebody between us and the shop may have kept the answer to another purchase. */
function purchaseOf(
  body: PurchaseAnswer,
  headers: Headers,
  itemId: number,
  key: string,
): PurchaseResult | undefined {
  const replayed = headers.get(replayedHeader) === 'true';
  if (!('order' in body)) {
    return body.message === 'Out of stock' ? { result: 'sold_out', replayed } : undefined;
  }
  const { order } = body;
  const isThis = isObject(order) && order.item_id === itemId && isSameId(order.order_id, key);
  return isThis ? { result: 'sold', order, replayed } : undefined;
}

/** UUIDs are the same in large letters; the shop writes them in small ones. */
function isSameId(id: string, asked: string): boolean {
  return id === String(asked).toLowerCase();
}
