import { type Static, Type } from '@sinclair/typebox';
import { Condition, readHeaders } from './condition.js';
import { type Contract, json, jsonWithHeaders, notModified } from './contract.js';
import { bodyFailures, fails } from './failures.js';
import {
  AfterParam,
  IdempotencyKey,
  ItemId,
  ItemIdParam,
  LimitParam,
  OrderIdParam,
  Timestamp,
} from './fields.js';

const orderFields = {
  /** The key of its purchase. */
  order_id: Type.String({ description: 'A UUID; the purchase was made under it as its key.' }),
  item_id: ItemId,
  title: Type.String(),
  /** What was paid, in the currency of the shop. */
  price: Type.Number({ minimum: 0 }),
  /** When the sale was decided, as ISO 8601 in UTC. */
  timestamp: Timestamp,
};
export const Order = Type.Object(orderFields, { title: 'Order' });
export type Order = Static<typeof Order>;

/** An order as the keeper of the shop sees it: with the number of its sale. */
export const NumberedOrder = Type.Object(
  { ...orderFields, sale: Type.Integer({ minimum: 1 }) },
  { title: 'NumberedOrder' },
);
export type NumberedOrder = Static<typeof NumberedOrder>;

/** What a purchase answers: a book, or the plain statement that none is left. */
export const PurchaseAnswer = Type.Union(
  [
    Type.Object({ message: Type.String(), order: Order }, { title: 'Sold' }),
    Type.Object({ message: Type.Literal('Out of stock') }, { title: 'SoldOut' }),
  ],
  { title: 'PurchaseAnswer' },
);
export type PurchaseAnswer = Static<typeof PurchaseAnswer>;

/** How long outcomes other than sales are remembered: so many of the newest, and none younger. */
export const remembered = { outcomes: 1_000_000, ageMs: 10 * 60_000 } as const;

export const Replayed = {
  'Idempotency-Replayed': Type.Literal('true', {
    description:
      'The answer was decided before, by an earlier request with the same key, or by an earlier attempt of this one.',
  }),
} as const;

/** What anybody may ask the order service; the gateway offers the same routes. */
export const order = {
  purchase: {
    method: 'POST',
    url: '/purchase/:item_id',
    schema: {
      summary: 'Buy one copy of a book',
      description:
        'Being sold out is an answer, not an error. With an Idempotency-Key the request may be ' +
        'repeated: one key buys at most one copy. A 503 or a 504 may leave open whether the ' +
        'copy was bought: its detail says so, and the same request again tells. A sale is remembered for ever; a sold-out ' +
        `answer for at least ${remembered.ageMs / 60_000} minutes and ` +
        `${remembered.outcomes.toLocaleString('en')} further operations.`,
      tags: ['orders'],
      params: Type.Object({ item_id: ItemIdParam }, { additionalProperties: false }),
      headers: Type.Object({ 'idempotency-key': Type.Optional(IdempotencyKey) }),
      body: Type.Optional(
        // An object type without keys would take any value.
        Type.Unsafe<Record<string, never>>(
          Type.Object({}, { additionalProperties: false, description: 'Nothing, or {}.' }),
        ),
      ),
      response: {
        200: jsonWithHeaders('Bought, or out of stock', PurchaseAnswer, Replayed),
        ...fails('book_not_found', 'key_reused', 'storage_full', ...bodyFailures),
      },
    },
  },
  order: {
    method: 'GET',
    url: '/orders/:order_id',
    schema: {
      summary: 'One order',
      tags: ['orders'],
      params: Type.Object({ order_id: OrderIdParam }, { additionalProperties: false }),
      headers: Condition,
      response: {
        200: jsonWithHeaders('The order', Order, readHeaders),
        304: notModified,
        ...fails('order_not_found'),
      },
    },
  },
} as const satisfies Contract;

const Difference = Type.Object(
  {
    item_id: ItemId,
    stocked: Type.Integer(),
    remaining: Type.Integer(),
    sold: Type.Integer({ description: "Sold by the catalog's own count." }),
    logged: Type.Integer({ description: 'Rows of the order log up to the sale number.' }),
    pending: Type.Integer({ description: 'Sold, but not logged yet; recovery will log them.' }),
  },
  { title: 'Difference' },
);
export type Difference = Static<typeof Difference>;

/** The conservation law, checked: stocked = remaining + sold, and sold = the rows of the log. */
export const Audit = Type.Object(
  {
    balanced: Type.Boolean(),
    sale: Type.Integer({ minimum: 0, description: 'The sale number at which both are compared.' }),
    books: Type.Integer({ minimum: 0 }),
    stocked: Type.Integer(),
    remaining: Type.Integer(),
    sold: Type.Integer(),
    logged: Type.Integer(),
    pending: Type.Integer({ minimum: 0 }),
    differences: Type.Array(Difference, { maxItems: 1000 }),
  },
  { title: 'Audit' },
);
export type Audit = Static<typeof Audit>;

/** What the keeper of the shop may see: these routes take the admin token. */
export const orderAdmin = {
  orders: {
    method: 'GET',
    url: '/orders',
    schema: {
      summary: 'The orders, by the number of their sale',
      tags: ['admin'],
      querystring: Type.Object(
        { after: Type.Optional(AfterParam), limit: Type.Optional(LimitParam) },
        { additionalProperties: false },
      ),
      response: {
        200: jsonWithHeaders('The orders', Type.Array(NumberedOrder), {
          Link: Type.String({
            description: 'RFC 8288: `<…>; rel="next"` names the next page; absent on the last.',
          }),
        }),
        ...fails('unauthorized', 'forbidden'),
      },
    },
  },
  audit: {
    method: 'GET',
    url: '/audit',
    schema: {
      summary: 'Compare the stock with the order log',
      tags: ['admin'],
      response: { 200: json('The comparison', Audit), ...fails('unauthorized', 'forbidden') },
    },
  },
} as const satisfies Contract;
