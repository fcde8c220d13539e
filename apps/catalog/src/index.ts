export type { After } from './after.js';
export { buildCatalog } from './app.js';
export { type Catalog, createCatalog } from './catalog.js';
export { feedBody, totalsBody } from './handlers.js';
export { createLeases, type LeaseEffects, type Leases, withoutGateways } from './leases.js';
export type { Announcement, LeaseRow, Registry } from './registry.js';
export {
  createSharedLeases,
  type SharedLeaseEffects,
  type SharedLeases,
} from './shared-leases.js';
export { openCsvStore } from './store/csv.js';
export type { CatalogStore, Operation, Outcome } from './store.js';
