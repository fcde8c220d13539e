import { type Static, Type } from '@sinclair/typebox';
import { ItemId, Price, Quantity, Title, Topic } from './fields.js';

export const Book = Type.Object(
  {
    id: ItemId,
    title: Type.String(),
    topic: Type.String(),
    /** How many copies are left. */
    quantity: Type.Integer({ minimum: 0 }),
    /** In the currency of the shop, with at most two decimals. */
    price: Type.Number({ minimum: 0 }),
  },
  {
    title: 'Book',
    examples: [{ id: 2, title: 'RPCs for Noobs', topic: 'distributed', quantity: 2, price: 50 }],
  },
);
export type Book = Static<typeof Book>;

/** A line of a search result. */
export const BookTitle = Type.Object(
  { id: ItemId, title: Type.String() },
  { title: 'BookTitle', examples: [{ id: 2, title: 'RPCs for Noobs' }] },
);
export type BookTitle = Static<typeof BookTitle>;

export const TopicCount = Type.Object(
  { topic: Type.String(), titles: Type.Integer({ minimum: 1 }) },
  { title: 'TopicCount', examples: [{ topic: 'distributed', titles: 2 }] },
);
export type TopicCount = Static<typeof TopicCount>;

export const NewBook = Type.Object(
  { title: Title, topic: Topic, quantity: Quantity, price: Price },
  { additionalProperties: false, title: 'NewBook' },
);
export type NewBook = Static<typeof NewBook>;

const change = {
  price: Type.Optional(Price),
  /** The stock from now on. */
  quantity: Type.Optional(Quantity),
  /** How many copies more or, below zero, less. */
  quantity_delta: Type.Optional(Type.Integer({ minimum: -1_000_000_000, maximum: 1_000_000_000 })),
};

export const BookChange = Type.Object(change, {
  additionalProperties: false,
  minProperties: 1,
  not: { required: ['quantity', 'quantity_delta'] },
  title: 'BookChange',
  description:
    'At least one change; quantity sets the stock, quantity_delta adjusts it, and both would be a contradiction.',
});
export type BookChange = Static<typeof BookChange>;
