import type { Database } from '@bazar/postgres';
import type { LeaseRow, Registry } from '../registry.js';

/** What the replicas know together, in the tables of the catalog. */
export function createRegistry(database: Database): Registry {
  return {
    rows: () =>
      database.read((sql) => sql<LeaseRow>`SELECT instance, epoch, url, evicting FROM leases`),
    async find(instance) {
      const [row] = await database.read(
        (sql) => sql<LeaseRow>`SELECT instance, epoch, url, evicting FROM leases
          WHERE instance = ${instance}`,
      );
      return row;
    },
    async grant(instance, epoch, url) {
      const granted = await database.transaction(
        (sql) => sql`INSERT INTO leases (instance, epoch, url, evicting)
          VALUES (${instance}, ${epoch}, ${url}, false)
          ON CONFLICT (instance) DO UPDATE SET epoch = excluded.epoch, url = excluded.url
            WHERE NOT leases.evicting
          RETURNING instance`,
      );
      return granted.length > 0;
    },
    async evict(instance, epoch) {
      const evicted = await database.transaction(
        (sql) => sql`UPDATE leases SET evicting = true
          WHERE instance = ${instance} AND epoch = ${epoch} RETURNING instance`,
      );
      return evicted.length > 0;
    },
    async remove(instance, epoch) {
      await database.transaction(
        (sql) => sql`DELETE FROM leases WHERE instance = ${instance} AND epoch = ${epoch}`,
      );
    },
    async unannounced(books) {
      const rows = await database.read(
        (sql) => sql<{ batch: string; books: string; titles: boolean }>`
          SELECT batch, array_to_json(books)::text AS books, titles FROM announcements
          WHERE ${books === undefined} OR books && ${books ?? []}::bigint[]`,
      );
      return rows.map(({ batch, books, titles }) => ({
        batch,
        changes: { books: JSON.parse(books), titles },
      }));
    },
    async announced(batches) {
      await database.transaction(
        (sql) => sql`DELETE FROM announcements WHERE batch = ANY (${batches}::uuid[])`,
      );
    },
  };
}
