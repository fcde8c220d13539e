import { Order } from '@bazar/contracts';
import { Type } from '@sinclair/typebox';

export const ItemParams = Type.Object({ item_id: Type.Integer({ minimum: 0 }) });

/** What the catalog answers to the order service: nothing in it when the book is sold out. */
export const Reservation = Type.Object({
  title: Type.Optional(Type.String()),
  price: Type.Optional(Type.Number()),
});

export const Totals = Type.Object({
  stocked: Type.Integer(),
  remaining: Type.Integer(),
  sold: Type.Integer(),
});

/** One object instead of a union: Fastify's serializer is much faster so. */
export const Purchased = Type.Object({ message: Type.String(), order: Type.Optional(Order) });
