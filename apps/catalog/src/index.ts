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
export { type CsvStore, openCsvStore } from './store/csv.js';
export {
  type CatalogRows,
  type CatalogSums,
  type CatalogTarget,
  openCatalogTarget,
  sumCatalog,
} from './store/move.js';
export type { CatalogStore, Operation, Outcome, Stock } from './store.js';
