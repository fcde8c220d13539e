export { connectDatabase, type Database, type DatabaseOptions } from './database.js';
export { createDigest, type Digest } from './digest.js';
export type { Sql } from './link.js';
export { type MigrationOptions, migrate } from './migrations.js';
export { sendRows } from './stream.js';
export { DatabaseError, refusalOf } from './trouble.js';
