export { buildOrder } from './app.js';
export { type AuditEffects, auditShop } from './audit.js';
export { type CatalogCalls, callsThrough } from './catalogs.js';
export { createPurchases, type Purchases, type Sell } from './purchase.js';
export {
  Contradiction,
  compareWithFeed,
  createRecovery,
  type Feed,
  type Recovery,
} from './recovery.js';
export { openCsvStore } from './store/csv.js';
export type { LoggedOrder, OrderStore } from './store.js';
