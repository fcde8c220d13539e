import { connectDatabase, createDigest, migrate, type Sql, sendRows } from '@bazar/postgres';
import { StorageError } from '@bazar/storage';
import type { Stock } from '../store.js';
import { columnsOf, outcomeColumnsOf } from './batch.js';
import type { OutcomeRecord } from './record.js';
import { foldTopic } from './shelf.js';

/** What a catalog comes to; two catalogs of the same sums hold the same rows. */
export interface CatalogSums {
  readonly catalogId: string;
  readonly lastSale: bigint;
  /** The id that the next new book will get. */
  readonly nextBook: bigint;
  readonly books: bigint;
  readonly stocked: bigint;
  readonly remaining: bigint;
  readonly sold: bigint;
  readonly bookDigest: bigint;
  /** How many are remembered. */
  readonly outcomes: bigint;
  readonly outcomeDigest: bigint;
}

export interface CatalogRows {
  readonly catalogId: string;
  readonly lastSale: number;
  /** By id, from the first on, each time that they are asked. */
  readonly books: () => AsyncIterable<readonly Stock[]>;
  /** In the order of their commits, likewise. */
  readonly outcomes: () => AsyncIterable<readonly OutcomeRecord[]>;
}

export interface FillSteps {
  /** Is given what the database holds, and whether it was new. */
  readonly check: (there: CatalogSums, wasNew: boolean) => Promise<void>;
  /** The last of all before the commit. */
  readonly beforeCommit: () => Promise<void>;
}

/** The database that a catalog is moved into. */
export interface CatalogTarget {
  /** The id of the catalog there; undefined for a database without a shop. */
  look(): Promise<string | undefined>;
  /**
   * Copies the catalog in one transaction, or leaves alone what is there already. Both steps may be
   * taken again after a commit that nobody answered.
   * @throws StorageError for what PostgreSQL cannot keep; what a step throws, and then all is undone
   */
  fill(rows: CatalogRows, steps: FillSteps): Promise<void>;
  /** Lets no service start here until `fill` is done: the other database is ahead of this one. */
  noteBegun(): Promise<void>;
  /** Takes that back, when the other database is not ahead. */
  forgetBegun(): Promise<void>;
  close(): Promise<void>;
}

/** Is there while the orders are moved, and the books are not. */
export const moveTable = 'unfinished_move';

const policy = {
  rowsAtOnce: 5000,
  /** Of rows that are added up with one statement. */
  rowsSummed: 100_000,
  /** A statement is for so many rows, and never for all of them. */
  bounds: { connections: 2, statementTimeoutMs: 60_000, silenceMs: 65_000 },
};

export async function sumCatalog(rows: CatalogRows): Promise<CatalogSums> {
  const books = { books: 0n, stocked: 0n, remaining: 0n, sold: 0n };
  const bookDigest = createDigest();
  let lastBook = 0;
  for await (const run of rows.books()) {
    for (const { id, title, topic, quantity, price, stocked, sold } of run) {
      bookDigest.add([id, title, topic, foldTopic(topic), quantity, price, stocked, sold]);
      books.books += 1n;
      books.stocked += BigInt(stocked);
      books.remaining += BigInt(quantity);
      books.sold += BigInt(sold);
      lastBook = Math.max(lastBook, id);
    }
  }
  const outcomeDigest = createDigest();
  let outcomes = 0n;
  for await (const run of rows.outcomes()) {
    const { ids, kinds, items, times, sales, titles, prices, texts } = outcomeColumnsOf(run);
    outcomes += BigInt(run.length);
    for (const [index, id] of ids.entries()) {
      const columns = [kinds, items, times, sales, titles, prices, texts];
      outcomeDigest.add([id, ...columns.map((column) => column[index] ?? null)]);
    }
  }
  return {
    catalogId: rows.catalogId,
    lastSale: BigInt(rows.lastSale),
    nextBook: BigInt(lastBook + 1),
    ...books,
    bookDigest: bookDigest.sum,
    outcomes,
    outcomeDigest: outcomeDigest.sum,
  };
}

/**
 * Makes the tables, if need be, and lays down no books.
 * @throws DatabaseError with a sentence when the database does not do
 */
export async function openCatalogTarget(
  url: string,
  log: (level: 'info' | 'warn', sentence: string) => void,
): Promise<CatalogTarget> {
  const folder = new URL('../../src/store/migrations/', import.meta.url);
  await migrate(url, { owner: 'catalog', folder, log });
  const database = connectDatabase(url, { name: 'bazar catalog move', ...policy.bounds });
  return {
    look: () => database.read(findCatalog),
    fill: (rows, { check, beforeCommit }) =>
      database.settle(() =>
        database.transaction(async (sql) => {
          // It rests while the orders are copied.
          await sql`SET LOCAL idle_in_transaction_session_timeout = 0`;
          await sql`LOCK TABLE books, shop, outcomes IN ACCESS EXCLUSIVE MODE`;
          const wasNew = (await findCatalog(sql)) === undefined;
          if (wasNew) await copy(sql, rows);
          await check(await sumTables(sql), wasNew);
          await sql`DROP TABLE IF EXISTS unfinished_move`;
          await beforeCommit();
        }),
      ),
    async noteBegun() {
      await database.transaction(
        (sql) => sql`CREATE TABLE IF NOT EXISTS unfinished_move (id integer)`,
      );
    },
    async forgetBegun() {
      await database.transaction((sql) => sql`DROP TABLE IF EXISTS unfinished_move`);
    },
    close: () => database.close(),
  };
}

/** Books without the row that says whose they are come from no version of this program. */
async function findCatalog(sql: Sql): Promise<string | undefined> {
  const [found] = await sql<{ catalog_id: string | null; has_rows: boolean }>`
    SELECT (SELECT catalog_id FROM shop) AS catalog_id,
      EXISTS (SELECT FROM books) OR EXISTS (SELECT FROM outcomes) AS has_rows`;
  return found?.catalog_id ?? (found?.has_rows === true ? 'of no name' : undefined);
}

async function copy(sql: Sql, rows: CatalogRows): Promise<void> {
  await sendRows(rows.books(), policy.rowsAtOnce, (books) => {
    const { ids, titles, topics, foldedTopics, quantities, prices, stocked, sold } =
      columnsOf(books);
    for (const [index, title] of titles.entries()) {
      refuseNul(`${title}${topics[index]}`, `book ${ids[index]}`);
    }
    return sql`INSERT INTO books (id, title, topic, folded_topic, quantity, price, stocked, sold)
      SELECT * FROM unnest(${ids}::bigint[], ${titles}::text[], ${topics}::text[],
        ${foldedTopics}::text[], ${quantities}::integer[], ${prices}::double precision[],
        ${stocked}::bigint[], ${sold}::bigint[])`;
  });
  let before = 0;
  await sendRows(rows.outcomes(), policy.rowsAtOnce, (records) => {
    const kept = outcomeColumnsOf(records);
    for (const [index, title] of kept.titles.entries()) {
      refuseNul(title ?? '', `sale ${kept.sales[index]}`);
    }
    const first = before;
    before += records.length;
    return sql`INSERT INTO outcomes (id, outcome, kind, item_id, at, sale, title, price, record)
      SELECT id, ${first}::bigint + place, kind, item_id, at, sale, title, price, record
      FROM unnest(${kept.ids}::uuid[], ${kept.places}::bigint[], ${kept.kinds}::text[],
          ${kept.items}::bigint[], ${kept.times}::bigint[], ${kept.sales}::bigint[],
          ${kept.titles}::text[], ${kept.prices}::double precision[], ${kept.texts}::text[])
        AS wish (id, place, kind, item_id, at, sale, title, price, record)`;
  });
  // The outcomes that are forgotten need no numbers: only how far apart these are is ever asked.
  await sql`INSERT INTO shop (id, catalog_id, last_sale, last_outcome)
    VALUES (1, ${rows.catalogId}, ${rows.lastSale}, ${before})`;
}

/** The only character that PostgreSQL does not keep; the tables for people cannot have it. */
function refuseNul(text: string, what: string): void {
  if (!text.includes('\0')) return;
  throw new StorageError(
    `the catalog's journal: ${what} has a NUL in its text, which PostgreSQL cannot keep`,
  );
}

async function sumTables(sql: Sql): Promise<CatalogSums> {
  const [shop] = await sql<{ catalog_id: string; last_sale: string; next_book: string }>`
    SELECT catalog_id, last_sale::text AS last_sale,
      (SELECT coalesce(max(id), 0) + 1 FROM books)::text AS next_book
    FROM shop`;
  return {
    catalogId: shop?.catalog_id ?? '',
    lastSale: BigInt(shop?.last_sale ?? 0),
    nextBook: BigInt(shop?.next_book ?? 0),
    ...(await sumBooks(sql)),
    ...(await sumOutcomes(sql)),
  };
}

async function sumBooks(sql: Sql) {
  const sums = { books: 0n, stocked: 0n, remaining: 0n, sold: 0n, bookDigest: 0n };
  for (let after = -1; ; ) {
    const [page] = await sql<Record<keyof typeof sums, string> & { last: number | null }>`
      SELECT count(*)::text AS books, coalesce(sum(stocked), 0)::text AS stocked,
        coalesce(sum(quantity), 0)::text AS remaining, coalesce(sum(sold), 0)::text AS sold,
        coalesce(sum(('x' || left(encode(sha256(convert_to(concat_ws(chr(31),
          id, title, topic, folded_topic, quantity, price, stocked, sold), 'UTF8')), 'hex'),
          15))::bit(60)::bigint), 0)::text AS "bookDigest",
        max(id) AS last
      FROM (SELECT * FROM books WHERE id > ${after} ORDER BY id
        LIMIT ${policy.rowsSummed}) AS page`;
    if (page === undefined || page.last === null) return sums;
    after = page.last;
    for (const name of ['books', 'stocked', 'remaining', 'sold', 'bookDigest'] as const) {
      sums[name] += BigInt(page[name]);
    }
  }
}

async function sumOutcomes(sql: Sql) {
  const sums = { outcomes: 0n, outcomeDigest: 0n };
  for (let after = 0; ; ) {
    const [page] = await sql<Record<keyof typeof sums, string> & { last: number | null }>`
      SELECT count(*)::text AS outcomes,
        coalesce(sum(('x' || left(encode(sha256(convert_to(concat_ws(chr(31),
          id, kind, item_id, at, coalesce(sale::text, ''), coalesce(title, ''),
          coalesce(price::text, ''), coalesce(record, '')), 'UTF8')), 'hex'),
          15))::bit(60)::bigint), 0)::text AS "outcomeDigest",
        max(outcome) AS last
      FROM (SELECT * FROM outcomes WHERE outcome > ${after} ORDER BY outcome
        LIMIT ${policy.rowsSummed}) AS page`;
    if (page === undefined || page.last === null) return sums;
    after = page.last;
    for (const name of ['outcomes', 'outcomeDigest'] as const) sums[name] += BigInt(page[name]);
  }
}
