import { type PostgresServer, startPostgres } from '@bazar/simulation/postgres';
import t from 'tap';
import type { ShopOptions } from '../src/index.js';

/** What a shop keeps its rows in: what is not about files holds on each of them. */
export const stores = ['files', 'PostgreSQL'] as const;
export type Store = (typeof stores)[number];

let server: Promise<PostgresServer> | undefined;

/** Databases for a new shop; none for one that keeps files. */
export async function newDatabases(store: Store): Promise<NonNullable<ShopOptions['databases']>> {
  if (store === 'files') return {};
  server ??= startServer();
  const { newDatabase } = await server;
  return { catalog: await newDatabase(), order: await newDatabase() };
}

/** One for all tests of a file. */
async function startServer(): Promise<PostgresServer> {
  const started = await startPostgres();
  t.teardown(() => started.remove());
  return started;
}
