import { connectDatabase, createDigest, migrate, type Sql, sendRows } from '@bazar/postgres';
import { BadFile } from '@bazar/storage';
import { insertOrders } from './postgres.js';
import type { OrderLine } from './scan.js';

/** The orders of a log, and what they come to; two logs of the same sums hold the same rows. */
export interface OrderSums {
  readonly catalogId: string;
  readonly orders: bigint;
  /** All prices together, in hundredths. */
  readonly cents: bigint;
  readonly orderDigest: bigint;
}

export interface OrderRows {
  readonly catalogId: string;
  /** From the first on, each time that it is asked. */
  readonly orders: () => AsyncIterable<readonly OrderLine[]>;
}

/** The database that an order log is moved into. */
export interface OrderTarget {
  /** The catalog that the orders there belong to; undefined for a database without a shop. */
  look(): Promise<string | undefined>;
  /**
   * Copies the log in one transaction, or leaves alone what is there already.
   * @param check is given what the database holds, and whether it was new, as the last thing before
   *   the commit; what it throws undoes all. After a commit that nobody answered it is asked again.
   * @throws BadFile for a row that PostgreSQL cannot keep
   */
  fill(rows: OrderRows, check: (there: OrderSums, wasNew: boolean) => Promise<void>): Promise<void>;
  close(): Promise<void>;
}

const policy = {
  rowsAtOnce: 5000,
  /** Of rows that are added up with one statement. */
  rowsSummed: 100_000,
  /** A statement is for so many rows, and never for all of them. */
  bounds: { connections: 2, statementTimeoutMs: 60_000, silenceMs: 65_000 },
};

export async function sumOrders({ catalogId, orders }: OrderRows): Promise<OrderSums> {
  const digest = createDigest();
  let count = 0n;
  let cents = 0n;
  for await (const run of orders()) {
    for (const { order } of run) {
      const { orderId, sale, itemId, title, price, timestamp } = order;
      digest.add([orderId, sale, itemId, title, price, timestamp]);
      count += 1n;
      cents += BigInt(Math.round(price * 100));
    }
  }
  return { catalogId, orders: count, cents, orderDigest: digest.sum };
}

/**
 * Makes the tables, if need be, and nothing else.
 * @throws DatabaseError with a sentence when the database does not do
 */
export async function openOrderTarget(
  url: string,
  log: (level: 'info' | 'warn', sentence: string) => void,
): Promise<OrderTarget> {
  const folder = new URL('../../src/store/migrations/', import.meta.url);
  await migrate(url, { owner: 'order', folder, log });
  const database = connectDatabase(url, { name: 'bazar order move', ...policy.bounds });
  return {
    look: () => database.read(findCatalog),
    fill: (rows, check) =>
      database.settle(() =>
        database.transaction(async (sql) => {
          await sql`SET LOCAL idle_in_transaction_session_timeout = 0`;
          await sql`LOCK TABLE orders, log IN ACCESS EXCLUSIVE MODE`;
          const wasNew = (await findCatalog(sql)) === undefined;
          if (wasNew) await copy(sql, rows);
          await check(await sumTables(sql), wasNew);
        }),
      ),
    close: () => database.close(),
  };
}

/** Orders without the row that says whose they are come from no version of this program. */
async function findCatalog(sql: Sql): Promise<string | undefined> {
  const [found] = await sql<{ catalog_id: string | null; has_orders: boolean }>`
    SELECT (SELECT catalog_id FROM log) AS catalog_id, EXISTS (SELECT FROM orders) AS has_orders`;
  return found?.catalog_id ?? (found?.has_orders === true ? 'of no name' : undefined);
}

async function copy(sql: Sql, { catalogId, orders }: OrderRows): Promise<void> {
  await sql`INSERT INTO log (id, catalog_id) VALUES (1, ${catalogId})`;
  await sendRows(orders(), policy.rowsAtOnce, (rows) => {
    for (const row of rows) refuseUnstorable(row);
    return insertOrders(
      sql,
      rows.map(({ order }) => order),
    );
  });
}

/** A NUL is the only character that PostgreSQL does not keep, and all of our numbers fit. */
function refuseUnstorable({ order, line }: OrderLine): void {
  if (`${order.title}${order.timestamp}`.includes('\0')) {
    throw new BadFile('order_log.csv', line, 'there is a NUL in it, which PostgreSQL cannot keep');
  }
}

async function sumTables(sql: Sql): Promise<OrderSums> {
  let sums = { orders: 0n, cents: 0n, orderDigest: 0n };
  for (let after = 0; ; ) {
    const [page] = await sql<{
      orders: string;
      cents: string;
      digest: string;
      last: number | null;
    }>`
      SELECT count(*)::text AS orders,
        coalesce(sum(round((price * 100)::numeric)), 0)::text AS cents,
        coalesce(sum(('x' || left(encode(sha256(convert_to(
          concat_ws(chr(31), order_id, sale, item_id, title, price, timestamp), 'UTF8')), 'hex'),
          15))::bit(60)::bigint), 0)::text AS digest,
        max(sale) AS last
      FROM (SELECT * FROM orders WHERE sale > ${after} ORDER BY sale
        LIMIT ${policy.rowsSummed}) AS page`;
    if (page === undefined || page.last === null) break;
    after = page.last;
    sums = {
      orders: sums.orders + BigInt(page.orders),
      cents: sums.cents + BigInt(page.cents),
      orderDigest: sums.orderDigest + BigInt(page.digest),
    };
  }
  return { catalogId: (await findCatalog(sql)) ?? '', ...sums };
}
