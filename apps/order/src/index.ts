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
export { type CsvStore, openCsvStore } from './store/csv.js';
export {
  type OrderRows,
  type OrderSums,
  type OrderTarget,
  openOrderTarget,
  sumOrders,
} from './store/move.js';
export type { OrderLine } from './store/scan.js';
export type { LoggedOrder, OrderStore } from './store.js';
