import type { Sql } from '@bazar/postgres';
import type { Operation, Outcome, Stock } from '../store.js';
import { isOutcome, type OutcomeRecord, readRecord, writeRecord } from './record.js';
import { foldTopic } from './shelf.js';
import { type Answer, type StagedBatch, stageBatch } from './staging.js';

/** Another replica has just decided one of the ids for another book: the batch must look again. */
export class DecidedElsewhere extends Error {
  override readonly name = 'DecidedElsewhere';
}

interface OutcomeRow {
  readonly id: string;
  readonly kind: OutcomeRecord['kind'];
  readonly item_id: number;
  readonly at: number;
  readonly sale: number | null;
  readonly title: string | null;
  readonly price: number | null;
  readonly record: string | null;
}

/**
 * Decides a batch within a transaction. Rows are locked in one order by everybody: the books by
 * their ids, then the shop, so that nobody waits in a circle.
 * @throws DecidedElsewhere when the transaction has to be undone, and begun again
 */
export async function applyBatch(
  sql: Sql,
  operations: readonly Operation[],
  { at, batch }: { readonly at: number; readonly batch: string | undefined },
): Promise<readonly Outcome[]> {
  const { stocks, known, nextId } = await lockBooks(sql, operations);
  const staged = await stageBatch(operations, {
    shelf: { get: (id) => stocks.get(id), nextId },
    // Numbered from 1 for now: the real numbers are taken last, and nobody holds them for long.
    outcomes: { lastSale: 0, find: (id) => known.get(id) },
    at,
    recall: async ({ answer }) => answer,
  });
  if (staged.records.length === 0) return staged.results;
  // All travel together, the one that takes the numbers last.
  const [, , lastSale] = await Promise.all([
    note(sql, staged, batch),
    add(sql, staged, stocks),
    record(sql, staged, stocks),
  ]);
  return numbered(operations, staged, lastSale);
}

/** Locks the named books, and reads what is known of the operations once nobody can add to it. */
async function lockBooks(sql: Sql, operations: readonly Operation[]) {
  const itemIds = new Set<number>();
  let hasAdditions = false;
  for (const operation of operations) {
    if (operation.kind === 'addition') hasAdditions = true;
    else itemIds.add(operation.itemId);
  }
  // Sent together. Each sees what was committed before it began, so the outcomes are read as they
  // are when the books are locked: whoever decided one of these ids for its book has committed.
  const [books, next, outcomes] = await Promise.all([
    sql<Stock>`SELECT id, title, topic, quantity, price, stocked, sold FROM books
      WHERE id = ANY (${[...itemIds]}::bigint[]) ORDER BY id FOR UPDATE`,
    hasAdditions ? lockNextId(sql) : 0,
    sql<OutcomeRow>`SELECT id, kind, item_id, at, sale, title, price, record FROM outcomes
      WHERE id = ANY (${operations.map(({ id }) => id)}::uuid[])`,
  ]);
  return {
    stocks: new Map(books.map((stock) => [stock.id, stock])),
    known: new Map(outcomes.map((row) => [row.id, toKnown(row)])),
    nextId: next,
  };
}

/** The id of the next new book, which is ours until the commit. */
async function lockNextId(sql: Sql): Promise<number> {
  const [, [next]] = await Promise.all([
    sql`SELECT id FROM shop FOR UPDATE`,
    sql<{ id: number }>`SELECT coalesce(max(id), 0) + 1 AS id FROM books`,
  ]);
  if (next === undefined) throw new TypeError('a maximum has one row');
  return next.id;
}

function toKnown(row: OutcomeRow) {
  const { kind, item_id: itemId } = row;
  const isSale = kind === 'sale' || kind === 'sold_out';
  return { kind: isSale ? kind : ('other' as const), itemId, answer: toAnswer(row) };
}

/** @throws TypeError for a row that no version of this program wrote */
function toAnswer({ id, kind, item_id: item, at, sale, title, price, record }: OutcomeRow): Answer {
  if (kind === 'sold_out') return { kind, id, at, item };
  if (kind === 'sale' && sale !== null && title !== null && price !== null) {
    return { kind, id, at, item, sale, title, price };
  }
  const read = readRecord(record ?? '{}');
  if (isOutcome(read)) return read;
  throw new TypeError(`outcome ${id} is a ${read.kind}`);
}

/** Notes what the batch changes, for the gateways that have to be told. */
async function note(sql: Sql, { records }: StagedBatch, batch: string | undefined): Promise<void> {
  const changed = records.filter(({ kind }) => kind !== 'sold_out');
  if (batch === undefined || changed.length === 0) return;
  const books = changed.map((record) => ('item' in record ? record.item : record.stock.id));
  const titles = changed.some(({ kind }) => kind === 'addition');
  await sql`INSERT INTO announcements (batch, books, titles)
    VALUES (${batch}, ${[...new Set(books)]}::bigint[], ${titles})
    ON CONFLICT (batch) DO UPDATE SET books = announcements.books || excluded.books,
      titles = announcements.titles OR excluded.titles`;
}

/** Lays down the new books of a batch. Their ids are ours since `lockNextId`. */
async function add(
  sql: Sql,
  { stocks }: StagedBatch,
  found: ReadonlyMap<number, Stock>,
): Promise<void> {
  const added = columnsOf([...stocks.values()].filter(({ id }) => !found.has(id)));
  if (added.ids.length === 0) return;
  await sql`INSERT INTO books (id, title, topic, folded_topic, quantity, price, stocked, sold)
    SELECT * FROM unnest(${added.ids}::bigint[], ${added.titles}::text[], ${added.topics}::text[],
        ${added.foldedTopics}::text[], ${added.quantities}::integer[],
        ${added.prices}::double precision[], ${added.stocked}::bigint[], ${added.sold}::bigint[])`;
}

/**
 * Writes the rest of a batch with the last statement before the commit, for it takes the numbers of
 * the sales: from here to the commit every other replica waits for us.
 * @returns the last sale before the batch
 */
async function record(
  sql: Sql,
  { stocks, records }: StagedBatch,
  found: ReadonlyMap<number, Stock>,
): Promise<number> {
  const changed = columnsOf([...stocks.values()].filter(({ id }) => found.has(id)));
  const sold = records.filter(({ kind }) => kind === 'sale').length;
  const kept = outcomeColumnsOf(records);
  const [written] = await sql<{ last_sale: number; kept: number }>`
    WITH changed AS (
      UPDATE books SET quantity = wish.quantity, price = wish.price, stocked = wish.stocked,
        sold = wish.sold
      FROM unnest(${changed.ids}::bigint[], ${changed.quantities}::integer[],
          ${changed.prices}::double precision[], ${changed.stocked}::bigint[],
          ${changed.sold}::bigint[])
        AS wish (id, quantity, price, stocked, sold)
      WHERE books.id = wish.id
    ), numbers AS (
      UPDATE shop SET last_sale = last_sale + ${sold}::bigint,
        last_outcome = last_outcome + ${records.length}::bigint
      RETURNING last_sale - ${sold}::bigint AS last_sale,
        last_outcome - ${records.length}::bigint AS last_outcome
    ), kept AS (
      INSERT INTO outcomes (id, outcome, kind, item_id, at, sale, title, price, record)
      SELECT wish.id, numbers.last_outcome + wish.place, wish.kind, wish.item_id, wish.at,
        numbers.last_sale + wish.sale, wish.title, wish.price, wish.record
      FROM numbers CROSS JOIN unnest(${kept.ids}::uuid[], ${kept.places}::bigint[],
          ${kept.kinds}::text[], ${kept.items}::bigint[], ${kept.times}::bigint[],
          ${kept.sales}::bigint[], ${kept.titles}::text[], ${kept.prices}::double precision[],
          ${kept.texts}::text[])
        AS wish (id, place, kind, item_id, at, sale, title, price, record)
      ORDER BY wish.id
      ON CONFLICT (id) DO NOTHING
      RETURNING id
    )
    SELECT last_sale, (SELECT count(*) FROM kept) AS kept FROM numbers`;
  if (written === undefined) throw new TypeError('the shop has lost its row');
  if (written.kept < records.length) throw new DecidedElsewhere();
  return written.last_sale;
}

/** Books by columns, for `unnest`. */
export function columnsOf(stocks: readonly Stock[]) {
  return {
    ids: stocks.map(({ id }) => id),
    titles: stocks.map(({ title }) => title),
    topics: stocks.map(({ topic }) => topic),
    foldedTopics: stocks.map(({ topic }) => foldTopic(topic)),
    quantities: stocks.map(({ quantity }) => quantity),
    prices: stocks.map(({ price }) => price),
    stocked: stocks.map(({ stocked }) => stocked),
    sold: stocks.map(({ sold }) => sold),
  };
}

/** Outcomes by columns, for `unnest`; they are numbered from 1. */
export function outcomeColumnsOf(records: readonly OutcomeRecord[]) {
  const sales = records.map((record) => (record.kind === 'sale' ? record : undefined));
  return {
    ids: records.map(({ id }) => id),
    places: records.map((_, index) => index + 1),
    kinds: records.map(({ kind }) => kind),
    items: records.map((record) => ('item' in record ? record.item : record.stock.id)),
    times: records.map(({ at }) => at),
    sales: sales.map((sale) => sale?.sale ?? null),
    titles: sales.map((sale) => sale?.title ?? null),
    prices: sales.map((sale) => sale?.price ?? null),
    texts: records.map((record) => ('stock' in record ? writeRecord(record) : null)),
  };
}

/** The results with the real numbers of the new sales; those of earlier ones were real before. */
function numbered(
  operations: readonly Operation[],
  { results, records }: StagedBatch,
  lastSale: number,
): readonly Outcome[] {
  const isNew = new Set(records.map(({ id }) => id));
  return results.map((outcome, index) => {
    const id = operations[index]?.id ?? '';
    if (outcome.result !== 'sold' || !isNew.has(id)) return outcome;
    return { ...outcome, sale: lastSale + outcome.sale };
  });
}
