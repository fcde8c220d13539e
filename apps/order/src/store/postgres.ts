import { createBatcher, QueueFull } from '@bazar/batching';
import { Failure } from '@bazar/contracts';
import {
  connectDatabase,
  type Database,
  type DatabaseOptions,
  migrate,
  refusalOf,
  type Sql,
} from '@bazar/postgres';
import { StorageError } from '@bazar/storage';
import type { LoggedOrder, LoggedSales, OrderStore } from '../store.js';
import { createReach } from './reach.js';
import { createWatch } from './watch.js';

export interface PostgresStoreOptions {
  /** postgres://user:password@host:port/database */
  readonly url: string;
  /** Milliseconds on a clock that only goes forward. */
  readonly monotonic: () => number;
  readonly log: (level: 'info' | 'warn', sentence: string) => void;
  /** Called when two orders claim one sale: the process must stop at once. */
  readonly onBroken: (error: Error) => void;
  readonly bounds?: Partial<DatabaseOptions>;
  /** For so long a start waits for a database that is away. */
  readonly patienceMs?: number;
}

export interface PostgresStore extends OrderStore {
  /** Ends all connections at once, as the death of the process would. */
  destroy(): void;
}

const policy = {
  /** Of orders that are looked up together. */
  finds: { maxBatch: 1024, maxQueue: 20_000 },
  /** How often orders are sent again because another replica was logging the same ones. */
  attempts: 5,
};

/**
 * The order log in PostgreSQL, where any number of replicas may share it.
 * @throws DatabaseError with a sentence when the database does not do
 */
export async function openPostgresStore(options: PostgresStoreOptions): Promise<PostgresStore> {
  const { url, log, onBroken, bounds, patienceMs } = options;
  await migrate(url, {
    owner: 'order',
    // Seen from the source as from what is built of it.
    folder: new URL('../../src/store/migrations/', import.meta.url),
    log,
    ...(patienceMs !== undefined && { patienceMs }),
  });
  const database = connectDatabase(url, { name: 'bazar order', ...bounds });
  const watch = createWatch(database, options);
  const finds = createBatcher((ids: readonly string[]) => watch.run(() => findAll(database, ids)), {
    ...policy.finds,
  });
  const reach = createReach(database);
  return {
    async append(orders) {
      if (orders.length === 0) return;
      try {
        await watch.write(() => database.settle(() => append(database, orders)));
      } catch (error) {
        if (error instanceof StorageError) onBroken(error);
        throw error instanceof Failure ? ofSold(error) : error;
      }
    },
    async find(orderId) {
      return finds.add(orderId).catch((error: unknown) => {
        if (!(error instanceof QueueFull)) throw error;
        const options = { cause: error, nothingDone: true };
        throw new Failure('overloaded', 'too many orders are looked up', options);
      });
    },
    list: (after, limit) => watch.run(() => list(database, after, limit)),
    reach: () => watch.run(reach),
    sales: (from, to) => watch.run(() => sales(database, from, to)),
    async ordersOfSales(sales) {
      const rows = await watch.run(() =>
        database.read(
          (sql) => sql<Pick<OrderRow, 'order_id' | 'sale'>>`SELECT order_id, sale FROM orders
            WHERE sale = ANY (${sales}::bigint[])`,
        ),
      );
      return new Map(rows.map(({ sale, order_id }) => [sale, order_id]));
    },
    assertRoom: watch.assertRoom,
    catalogId: () => watch.run(() => catalogId(database)),
    async adoptCatalog(catalogId) {
      // The first one counts. Whoever comes with another finds that out when it compares the two.
      await database.transaction(
        (sql) => sql`INSERT INTO log (id, catalog_id) VALUES (1, ${catalogId})
          ON CONFLICT (id) DO NOTHING`,
      );
    },
    async close() {
      await finds.close();
      await database.close();
    },
    destroy: () => database.destroy(),
  };
}

/** What is logged was sold before: that the log has nothing of it does not mean that nothing was. */
function ofSold(failure: Failure): Failure {
  return new Failure(failure.code, failure.message, { cause: failure.cause });
}

interface OrderRow {
  readonly order_id: string;
  readonly item_id: number;
  readonly title: string;
  readonly price: number;
  readonly timestamp: string;
  readonly sale: number;
}

function toOrder({ order_id, item_id, title, price, timestamp, sale }: OrderRow): LoggedOrder {
  return { orderId: order_id, itemId: item_id, title, price, timestamp, sale };
}

/** @throws StorageError when a sale number belongs to another order; then none was kept */
async function append(database: Database, orders: readonly LoggedOrder[]): Promise<void> {
  const unique = [...new Map(orders.toReversed().map((order) => [order.orderId, order])).values()];
  for (let count = 1; ; count += 1) {
    try {
      await database.transaction((sql) => insertOrders(sql, unique));
      return;
    } catch (error) {
      // A number is taken: by another order, or by this one, which another replica logged just now.
      if (refusalOf(error) !== '23505') throw error;
      const sale = await database.read((sql) => findDoubleSale(sql, unique));
      if (sale !== undefined) {
        throw new StorageError(`the order log: sale ${sale} would belong to two orders`);
      }
      if (count === policy.attempts) throw error;
    }
  }
}

/** Adds the orders that are not there yet. */
export async function insertOrders(sql: Sql, orders: readonly LoggedOrder[]): Promise<void> {
  const ids = orders.map(({ orderId }) => orderId);
  const sales = orders.map(({ sale }) => sale);
  const items = orders.map(({ itemId }) => itemId);
  const [, others] = await Promise.all([
    // In one order by everybody, so that nobody waits in a circle.
    sql`INSERT INTO orders (order_id, sale, item_id, title, price, timestamp)
    SELECT * FROM unnest(${ids}::uuid[], ${sales}::bigint[], ${items}::bigint[],
        ${orders.map(({ title }) => title)}::text[],
        ${orders.map(({ price }) => price)}::double precision[],
        ${orders.map(({ timestamp }) => timestamp)}::text[])
      AS wish (order_id, sale, item_id, title, price, timestamp)
    ORDER BY wish.order_id
    ON CONFLICT (order_id) DO NOTHING`,
    // An order that is there already has to be the same one.
    sql<{ order_id: string; sale: number }>`SELECT orders.order_id, orders.sale
      FROM unnest(${ids}::uuid[], ${sales}::bigint[], ${items}::bigint[])
        AS wish (order_id, sale, item_id)
      JOIN orders ON orders.order_id = wish.order_id
      WHERE orders.sale <> wish.sale OR orders.item_id <> wish.item_id`,
  ]);
  const [other] = others;
  if (other === undefined) return;
  throw new StorageError(
    `the order log: order ${other.order_id} is there as sale ${other.sale}, and was sold as another`,
  );
}

/** The number that an order claims which is not logged, and another order has. */
async function findDoubleSale(
  sql: Sql,
  orders: readonly LoggedOrder[],
): Promise<number | undefined> {
  const rows = await sql<{ order_id: string; sale: number }>`SELECT order_id, sale FROM orders
    WHERE sale = ANY (${orders.map(({ sale }) => sale)}::bigint[])
      OR order_id = ANY (${orders.map(({ orderId }) => orderId)}::uuid[])`;
  const logged = new Set(rows.map((row) => row.order_id));
  const taken = new Set(rows.map(({ sale }) => sale));
  for (const { orderId, sale } of orders) {
    if (logged.has(orderId)) continue;
    if (taken.has(sale)) return sale;
    taken.add(sale);
  }
  return undefined;
}

async function findAll(database: Database, ids: readonly string[]) {
  const rows = await database.read(
    (sql) => sql<OrderRow>`SELECT order_id, item_id, title, price, timestamp, sale FROM orders
      WHERE order_id = ANY (${ids}::uuid[])`,
  );
  const orders = new Map(rows.map((row) => [row.order_id, toOrder(row)]));
  return ids.map((id) => orders.get(id));
}

async function list(database: Database, after: number, limit: number) {
  const rows = await database.read(
    (sql) => sql<OrderRow>`SELECT order_id, item_id, title, price, timestamp, sale FROM orders
      WHERE sale > ${after} ORDER BY sale LIMIT ${limit}`,
  );
  return rows.map(toOrder);
}

/** One statement, and so one moment. */
async function sales(database: Database, from: number, to: number): Promise<LoggedSales> {
  const rows = await database.read(
    (sql) => sql<{ item_id: number | null; count: number }>`
      SELECT item_id, count(*) AS count FROM orders
      WHERE sale > ${from}::bigint AND sale <= ${to}::bigint GROUP BY item_id
      UNION ALL
      SELECT NULL, number FROM generate_series(${from}::bigint + 1, ${to}::bigint) AS number
      WHERE NOT EXISTS (SELECT FROM orders WHERE sale = number)`,
  );
  const copies = new Map<number, number>();
  const lacking: number[] = [];
  for (const { item_id, count } of rows) {
    if (item_id === null) lacking.push(count);
    else copies.set(item_id, count);
  }
  return { copies, lacking: lacking.sort((a, b) => a - b) };
}

async function catalogId(database: Database): Promise<string | undefined> {
  const [log] = await database.read(
    (sql) => sql<{ catalog_id: string }>`SELECT catalog_id FROM log`,
  );
  return log?.catalog_id;
}
