export { buildOrder } from './app.js';
export { type AuditEffects, auditShop } from './audit.js';
export { createPurchases, type Purchases, type Sell } from './purchase.js';
export { createRecovery, type Feed, type Recovery } from './recovery.js';
export { openCsvStore } from './store/csv.js';
export type { LoggedOrder, OrderStore } from './store.js';
