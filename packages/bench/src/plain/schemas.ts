import { Order } from '@bazar/contracts';
import { type Static, Type } from '@sinclair/typebox';

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

export const Audit = Type.Object({
  ...Totals.properties,
  balanced: Type.Boolean(),
  logged: Type.Integer(),
  pending: Type.Integer(),
});

/** @param logged orders in the log, counted after the totals were read */
export function auditOf(totals: Static<typeof Totals>, logged: number): Static<typeof Audit> {
  const { stocked, remaining, sold } = totals;
  const balanced = stocked === remaining + sold && sold >= logged;
  return { ...totals, balanced, logged, pending: sold - logged };
}

/** One object instead of a union: Fastify's serializer is much faster so. */
export const Purchased = Type.Object({ message: Type.String(), order: Type.Optional(Order) });
