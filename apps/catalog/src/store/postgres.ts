import { createBatcher, QueueFull } from '@bazar/batching';
import { Failure, remembered } from '@bazar/contracts';
import {
  connectDatabase,
  type Database,
  DatabaseError,
  type DatabaseOptions,
  migrate,
  type Sql,
} from '@bazar/postgres';
import type { Registry } from '../registry.js';
import type { CatalogStore, Feed, Operation, Outcome, Stock, Totals } from '../store.js';
import { applyBatch, DecidedElsewhere } from './batch.js';
import { moveTable } from './move.js';
import type { Retention } from './outcomes.js';
import { createRegistry } from './registry.js';
import { reportBooks } from './report-books.js';
import { foldTopic } from './shelf.js';

export interface PostgresStoreOptions {
  /** postgres://user:password@host:port/database */
  readonly url: string;
  readonly now: () => number;
  readonly newId: () => string;
  readonly log: (level: 'info' | 'warn', sentence: string) => void;
  readonly retention?: Retention;
  readonly bounds?: Partial<DatabaseOptions>;
  /** For so long a start waits for a database that is away. */
  readonly patienceMs?: number;
}

export interface PostgresStore extends CatalogStore {
  /** `ok`, or why the database cannot be asked. */
  health(): Promise<'ok' | Failure>;
  hasRoom(): Promise<boolean>;
  readonly lastSale: () => Promise<number>;
  /** What its replicas know together of the gateways before them. */
  readonly registry: Registry;
  /** Ends all connections at once, as the death of the process would. */
  destroy(): void;
}

const policy = {
  /** How often a batch begins again because another replica decided one of its ids. */
  attempts: 10,
  /** After so many outcomes it is looked whether some need no longer be remembered. */
  forgetEvery: 1000,
  /** More than come meanwhile, so that it catches up. */
  forgetAtOnce: 2000,
  /** Of books that are looked up together. A second statement is made up while one is answered. */
  finds: { maxBatch: 1024, maxQueue: 20_000, maxInFlight: 2 },
};

/**
 * The catalog in PostgreSQL, where any number of replicas may share it.
 * @throws DatabaseError with a sentence when the database does not do
 */
export async function openPostgresStore(options: PostgresStoreOptions): Promise<PostgresStore> {
  const { url, log, bounds, patienceMs } = options;
  await migrate(url, {
    owner: 'catalog',
    // Seen from the source as from what is built of it.
    folder: new URL('../../src/store/migrations/', import.meta.url),
    log,
    fill: (sql) => openShop(sql, options),
    ...(patienceMs !== undefined && { patienceMs }),
  });
  const database = connectDatabase(url, { name: 'bazar catalog', ...bounds });
  const { apply, settled } = createWriter(database, options);
  const readers = createReaders(database);
  const forgetting = createForgetting(database, options, () => readers.loggedThrough);
  return {
    registry: createRegistry(database),
    async apply(operations, batch) {
      const outcomes = await apply(operations, batch);
      forgetting.note(outcomes.length);
      return outcomes;
    },
    book: readers.book,
    search: readers.search,
    topics: readers.topics,
    operations: readers.operations,
    lastSale: readers.lastSale,
    totals: readers.totals,
    async health() {
      try {
        await database.read((sql) => sql`SELECT id FROM shop`);
        return 'ok';
      } catch (error) {
        if (error instanceof Failure) return error;
        throw error;
      }
    },
    hasRoom: () => database.hasRoom(),
    async close() {
      await settled();
      await readers.close();
      await forgetting.close();
      await database.close();
    },
    destroy: () => database.destroy(),
  };
}

/** Lays down the first books where there is no shop. */
async function openShop(sql: Sql, { newId, log }: PostgresStoreOptions): Promise<void> {
  const [move] = await sql<{ is_begun: boolean }>`
    SELECT to_regclass(${moveTable}) IS NOT NULL AS is_begun`;
  if (move?.is_begun) {
    throw new DatabaseError('a shop was half moved into it: run that move again, to its end');
  }
  const made = await sql`INSERT INTO shop (id, catalog_id, last_sale, last_outcome)
    VALUES (1, ${newId()}, 0, 0) ON CONFLICT (id) DO NOTHING RETURNING id`;
  if (made.length === 0) return;
  for (const { id, title, topic, quantity, price } of reportBooks) {
    await sql`INSERT INTO books (id, title, topic, folded_topic, quantity, price, stocked, sold)
      VALUES (${id}, ${title}, ${topic}, ${foldTopic(topic)}, ${quantity}, ${price}, ${quantity}, 0)`;
  }
  log('info', `the database is new: the report's ${reportBooks.length} books are laid down`);
}

function createWriter(database: Database, { now }: PostgresStoreOptions) {
  const under = new Set<Promise<unknown>>();

  async function commit(
    operations: readonly Operation[],
    batch: string | undefined,
  ): Promise<readonly Outcome[]> {
    for (let count = 1; count <= policy.attempts; count += 1) {
      try {
        return await database.transaction((sql) =>
          applyBatch(sql, operations, { at: now(), batch }),
        );
      } catch (error) {
        if (!(error instanceof DecidedElsewhere)) throw error;
      }
    }
    const detail = 'other replicas were deciding the same operations';
    throw new Failure('unavailable', detail, { nothingDone: true });
  }

  return {
    apply(operations: readonly Operation[], batch?: string): Promise<readonly Outcome[]> {
      const applied = database.settle(() => commit(operations, batch));
      under.add(applied);
      const done = () => under.delete(applied);
      applied.then(done, done);
      return applied;
    },
    /** Resolves when nothing is under way. */
    settled: () => Promise.allSettled(under),
  };
}

/** A row of a page, beside what is the same in all of them; without a page there is one such row. */
type Paged<Row> = { [Key in keyof Row]: Row[Key] | null };

function createReaders(database: Database) {
  let loggedThrough = 0;
  const finds = createBatcher((ids: readonly number[]) => findBooks(database, ids), policy.finds);
  return {
    /** The order log is complete up to this sale, as it has reported to this replica. */
    get loggedThrough() {
      return loggedThrough;
    },
    book: (id: number) =>
      finds.add(id).catch((error: unknown) => {
        if (!(error instanceof QueueFull)) throw error;
        const options = { cause: error, nothingDone: true };
        throw new Failure('overloaded', 'too many books are looked up', options);
      }),
    async search(topic: string, after: number, limit: number) {
      // PostgreSQL takes no such text, so no book has it either.
      if (topic.includes('\0')) return [];
      return database.read(
        (sql) => sql<{ id: number; title: string }>`SELECT id, title FROM books
          WHERE folded_topic = ${foldTopic(topic)} AND id > ${after} ORDER BY id LIMIT ${limit}`,
      );
    },
    // A topic is spelled as its oldest book spells it.
    topics: (after: string, limit: number) =>
      database.read(
        (sql) => sql<{ topic: string; titles: number }>`
          SELECT (SELECT topic FROM books WHERE books.folded_topic = page.folded_topic
              ORDER BY id LIMIT 1) AS topic, titles
          FROM (SELECT folded_topic, count(*) AS titles FROM books
            WHERE folded_topic > ${foldTopic(after.replace(/\0.*/s, ''))}
            GROUP BY folded_topic ORDER BY folded_topic LIMIT ${limit}) AS page
          ORDER BY page.folded_topic`,
      ),
    async operations(after: number, limit: number): Promise<Feed> {
      const rows = await database.read(
        (sql) => sql<
          { catalog_id: string; first_sale: number; last_sale: number } & Paged<{
            sale: number;
            id: string;
            item_id: number;
          }>
        >`SELECT catalog_id, last_sale,
            coalesce((SELECT min(sale) FROM outcomes), last_sale + 1) AS first_sale,
            page.sale, page.id, page.item_id
          FROM shop LEFT JOIN (SELECT sale, id, item_id FROM outcomes
            WHERE sale > ${after} ORDER BY sale LIMIT ${limit}) AS page ON true
          ORDER BY page.sale`,
      );
      const [shop] = rows;
      if (shop === undefined) throw new TypeError('the shop has lost its row');
      const { catalog_id: catalogId, first_sale: firstSale, last_sale: lastSale } = shop;
      // A number beyond the last sale is no report of ours; the order service will say why.
      if (after <= lastSale) loggedThrough = Math.max(loggedThrough, after);
      const operations = rows.flatMap(({ sale, id, item_id }) =>
        sale === null || id === null || item_id === null
          ? []
          : [{ sale, operationId: id, itemId: item_id }],
      );
      return { catalogId, firstSale, lastSale, operations };
    },
    // Asked again and again, as there is nobody to tell us of it: the clusters that are compatible
    // with PostgreSQL have no LISTEN and NOTIFY.
    async lastSale(): Promise<number> {
      const [shop] = await database.read(
        (sql) => sql<{ last_sale: number }>`SELECT last_sale FROM shop`,
      );
      return shop?.last_sale ?? 0;
    },
    async totals(after: number, limit: number): Promise<Totals> {
      const rows = await database.read(
        (sql) => sql<{ sale: number } & (Stock | { id: null })>`
          SELECT last_sale AS sale, page.*
          FROM shop LEFT JOIN (SELECT id, title, topic, quantity, price, stocked, sold FROM books
            WHERE id > ${after} ORDER BY id LIMIT ${limit}) AS page ON true
          ORDER BY page.id`,
      );
      const books = rows.flatMap(({ sale: _sale, ...stock }) => (stock.id === null ? [] : [stock]));
      return { sale: rows[0]?.sale ?? 0, books };
    },
    close: () => finds.close(),
  };
}

/**
 * One statement for all who ask meanwhile. It is sent after the last of them asked, and so none of
 * them is shown what is older than the question.
 */
async function findBooks(database: Database, ids: readonly number[]) {
  const rows = await database.read(
    (sql) => sql<Omit<Stock, 'stocked' | 'sold'>>`
      SELECT id, title, topic, quantity, price FROM books
      WHERE id = ANY (${[...new Set(ids)]}::bigint[])`,
  );
  const books = new Map(rows.map((row) => [row.id, row]));
  return ids.map((id) => books.get(id));
}

/** Forgets, beside the selling, what need no longer be remembered. */
function createForgetting(
  database: Database,
  { now, log, retention = remembered }: PostgresStoreOptions,
  loggedThrough: () => number,
) {
  let noted = 0;
  let running: Promise<unknown> | undefined;

  async function forget(): Promise<void> {
    const before = now() - retention.ageMs;
    try {
      await database.transaction(
        (sql) => sql`DELETE FROM outcomes
          WHERE outcome IN (SELECT outcome FROM outcomes
              WHERE outcome <= (SELECT last_outcome FROM shop) - ${retention.outcomes}::bigint
              ORDER BY outcome LIMIT ${policy.forgetAtOnce})
            AND at < ${before} AND (sale IS NULL OR sale <= ${loggedThrough()})`,
      );
    } catch (error) {
      // It is tried again with a later batch; nobody waits for it.
      const reason = error instanceof Error ? error.message : String(error);
      log('warn', `old outcomes could not be forgotten: ${reason}`);
    }
  }

  return {
    note(outcomes: number): void {
      noted += outcomes;
      if (noted < policy.forgetEvery || running !== undefined) return;
      noted = 0;
      running = forget().finally(() => {
        running = undefined;
      });
    },
    close: async () => running,
  };
}
