export { buildCatalog } from './app.js';
export { type After, type Catalog, createCatalog } from './catalog.js';
export { openCsvStore } from './store/csv.js';
export type { CatalogStore, Operation, Outcome } from './store.js';
