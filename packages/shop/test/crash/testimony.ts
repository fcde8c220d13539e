import type { Answer } from './ask.js';
import { field } from './ask.js';

/** What became of a purchase, as a buyer was told. */
export type Told =
  | { readonly result: 'sold'; readonly order: Row }
  | { readonly result: 'sold_out' };

/** An order, in an answer or in a row of the log. */
export interface Row {
  readonly orderId: string;
  readonly itemId: number;
  readonly title: string;
  readonly price: number;
  readonly timestamp: string;
}

/** What the clients of a shop asked for and were told. */
export interface Testimony {
  /** Key → book, written down before the first request leaves. */
  readonly attempted: Map<string, number>;
  /** Key → every answer to it. */
  readonly told: Map<string, Told[]>;
  /** Book → copies put on the shelf by acknowledged updates, and by the first start. */
  readonly stocked: Map<number, number>;
  /** Answers that nobody should get. */
  readonly surprises: string[];
}

/** The copies of the report's four books, which a new shop has. */
const firstStock = [
  [1, 10],
  [2, 2],
  [3, 3],
  [4, 6],
] as const;

export function createTestimony(): Testimony {
  return { attempted: new Map(), told: new Map(), stocked: new Map(firstStock), surprises: [] };
}

/** Writes down the answer to a purchase. */
export function hear(testimony: Testimony, key: string, { status, body }: Answer): void {
  const told = status === 200 ? toldIn(body) : undefined;
  if (told === undefined) {
    testimony.surprises.push(`purchase ${key}: ${status} ${JSON.stringify(body)}`);
    return;
  }
  const earlier = testimony.told.get(key);
  if (earlier === undefined) testimony.told.set(key, [told]);
  else earlier.push(told);
}

function toldIn(body: unknown): Told | undefined {
  if (field(body, 'message') === 'Out of stock') return { result: 'sold_out' };
  const order = rowIn(field(body, 'order'));
  return order === undefined ? undefined : { result: 'sold', order };
}

/** An order as the services show it. */
export function rowIn(order: unknown): Row | undefined {
  const orderId = field(order, 'order_id');
  const itemId = field(order, 'item_id');
  const title = field(order, 'title');
  const price = field(order, 'price');
  const timestamp = field(order, 'timestamp');
  if (typeof orderId !== 'string' || typeof title !== 'string') return undefined;
  if (typeof itemId !== 'number' || typeof price !== 'number') return undefined;
  if (typeof timestamp !== 'string') return undefined;
  return { orderId, itemId, title, price, timestamp };
}
