export { connectDatabase, type Database, type DatabaseOptions } from './database.js';
export type { Sql } from './link.js';
export { type MigrationOptions, migrate } from './migrations.js';
export { DatabaseError, refusalOf } from './trouble.js';
