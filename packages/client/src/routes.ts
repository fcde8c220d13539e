import type { Contract, catalogAdmin, gateway, orderAdmin } from '@bazar/contracts';

/**
 * A contract reduced to what a browser needs of it; the rest of it is used by its types alone, so
 * that no schema is shipped.
 */
export type Wire<C extends Contract> = {
  readonly [Name in keyof C]: `${C[Name]['method']} ${C[Name]['url']}`;
};

/** What a gateway is asked for by programs. */
export type Shop = Omit<typeof gateway, 'home'>;

/** The routes of the gateway. */
export const shopRoutes = {
  search: 'GET /search/:topic',
  info: 'GET /info/:item_id',
  topics: 'GET /topics',
  purchase: 'POST /purchase/:item_id',
  order: 'GET /orders/:order_id',
} as const satisfies Wire<Shop>;

/** The routes of the catalog that are its keeper's. */
export const catalogRoutes = {
  addBook: 'POST /books',
  update: 'POST /update/:item_id',
} as const satisfies Wire<typeof catalogAdmin>;

/** The routes of the order service that are its keeper's. */
export const orderRoutes = {
  orders: 'GET /orders',
  audit: 'GET /audit',
} as const satisfies Wire<typeof orderAdmin>;
