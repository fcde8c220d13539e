import type { ServiceName } from '@bazar/shop';
import type { PostgresServer } from '@bazar/simulation/postgres';
import postgres from 'postgres';
import { type Cluster, clusterBooks, openCluster } from './cluster.js';
import { type Contestant, ledgerOf, startScript } from './contestant.js';

/**
 * Settings of PostgreSQL's own, as it is when nobody has changed them: a commit is acknowledged
 * once it is on the disk.
 */
export const serverSettings = { shared_buffers: '128MB' } as const;

/** What the two contestants are called. */
export const overPostgres = 'Bazar over PostgreSQL';
export const perPurchase = 'a transaction per purchase';

export interface ClusterContestant extends Contestant {
  readonly cluster: Cluster;
}

export interface OverPostgresOptions {
  readonly postgres: PostgresServer;
  readonly replicas: Readonly<Record<ServiceName, number>>;
}

/** Bazar with so many of each service, seen through all its gateways. */
export async function startBazarOverPostgres(
  options: OverPostgresOptions,
): Promise<ClusterContestant> {
  const cluster = await openCluster(options);
  const [order] = cluster.of('order');
  const rows = countOrders(cluster.databases.order);
  const names = ['gateway', 'order', 'catalog'] as const;
  return {
    name: overPostgres,
    url: cluster.of('gateway')[0]?.url ?? '',
    doors: cluster.of('gateway').map(({ url }) => url),
    books: clusterBooks,
    cluster,
    pids: () => pidsOf(names.flatMap((name) => cluster.of(name))),
    databasePid: options.postgres.pid,
    ...(order !== undefined && { ledger: ledgerOf(order.url, rows.count) }),
    async stop() {
      await rows.close();
      await cluster.stop();
    },
  };
}

/** The chain as a good developer writes it on PostgreSQL: a transaction for each purchase. */
export async function startPlainOverPostgres({
  postgres: server,
  replicas,
}: OverPostgresOptions): Promise<Contestant> {
  const databases = { catalog: await server.newDatabase(), order: await server.newDatabase() };
  const BOOKS = String(clusterBooks);
  /** One after the other: each makes the tables that are not there yet. */
  async function start(name: ServiceName, script: string, env: NodeJS.ProcessEnv) {
    const started = [];
    for (let index = 1; index <= replicas[name]; index += 1) {
      started.push(await startScript(`plain ${name} ${index}`, script, env));
    }
    return started;
  }
  const urlsOf = (services: readonly { readonly url: string }[]) =>
    services.map(({ url }) => url).join(',');
  const catalogs = await start('catalog', 'plain/postgres-catalog', {
    DATABASE_URL: databases.catalog,
    BOOKS,
  });
  const CATALOG_URLS = urlsOf(catalogs);
  const orders = await start('order', 'plain/postgres-order', {
    DATABASE_URL: databases.order,
    CATALOG_URLS,
  });
  const ORDER_URLS = urlsOf(orders);
  const gateways = await start('gateway', 'plain/gateway', { CATALOG_URLS, ORDER_URLS });
  const all = [...gateways, ...orders, ...catalogs];
  const rows = countOrders(databases.order);
  return {
    name: perPurchase,
    url: gateways[0]?.url ?? '',
    doors: gateways.map(({ url }) => url),
    books: clusterBooks,
    pids: () => pidsOf(all),
    databasePid: server.pid,
    ledger: ledgerOf(orders[0]?.url ?? '', rows.count),
    async stop() {
      await rows.close();
      for (const service of all) await service.stop();
    },
  };
}

/** By names that no two have: `gateway`, or `order 1` and `order 2`. */
function pidsOf(services: readonly { readonly name: string; readonly pid: number }[]) {
  const kinds = services.map(({ name }) => name.replace(/^plain | \d+$/g, ''));
  return Object.fromEntries(
    services.map(({ pid }, index) => {
      const kind = kinds[index] ?? '';
      const place = kinds.slice(0, index + 1).filter((other) => other === kind).length;
      const isOnly = kinds.filter((other) => other === kind).length === 1;
      return [isOnly ? kind : `${kind} ${place}`, pid];
    }),
  );
}

/** Counts the orders where they are kept, and not as a service would tell. */
export function countOrders(database: string) {
  const sql = postgres(database, { max: 1 });
  return {
    async count(): Promise<number> {
      const [row] = await sql<{ rows: number }[]>`SELECT count(*)::integer AS rows FROM orders`;
      return row?.rows ?? 0;
    },
    close: () => sql.end(),
  };
}
