import {
  type Catalog,
  type CatalogStore,
  createCatalog,
  feedBody,
  openCsvStore as openCatalogStore,
  withoutGateways,
} from '@bazar/catalog';
import {
  type Contradiction,
  createPurchases,
  createRecovery,
  type Feed,
  type LoggedOrder,
  type OrderStore,
  openCsvStore as openOrderStore,
  type Purchases,
} from '@bazar/order';
import { type Clock, createClock, createDisk, type Node, type Random } from '@bazar/simulation';
import { StorageError } from '@bazar/storage';

/** Files by their absolute path, in `/catalog` and `/order`. */
export type Files = ReadonlyMap<string, Buffer>;

export type Stock = Awaited<ReturnType<CatalogStore['totals']>>['books'][number];

/** The exact stock and log. */
export interface State {
  readonly stocks: readonly Stock[];
  /** By sale number. */
  readonly log: readonly LoggedOrder[];
}

/** What the services can do when their files are read back, but for what a mutant changes. */
export interface Build {
  /** What the order service is told of the catalog's feed. */
  readonly readFeed: (feed: Feed, orders: OrderStore) => Promise<Feed>;
}

export const honest: Build = { readFeed: async (feed) => feed };

/** A catalog and an order service in one process, from their real stores and use cases. */
export interface Life {
  readonly catalog: Catalog;
  readonly purchases: Purchases;
  readonly clock: Clock;
  /** What the services said. */
  readonly lines: readonly string[];
  /** The stock and the log, once nothing is pending. @throws Refusal */
  state(): Promise<State>;
  /** As a SIGTERM would. */
  stop(): Promise<void>;
  kill(): void;
  /** Kills both at a call of the disk, so many calls from now. */
  killAt(calls: number): void;
  files(): Files;
}

/** A start that was refused, with the sentence that a person is told. */
export class Refusal extends Error {
  override readonly name = 'Refusal';
}

const startMs = Date.UTC(2025, 4, 17, 10, 30);
const pageSize = 1000;

export interface LifeOptions {
  readonly files: Files;
  readonly random: Random;
  readonly build?: Build;
}

/** Few, so that segments end and are forgotten within a short life. */
const retention = { outcomes: 24, ageMs: 0 };

/** Starts both services on files. @throws Refusal */
export async function startLife(options: LifeOptions): Promise<Life> {
  const { files, random, build = honest } = options;
  const clock = createClock({ random: random.fork('clock'), startMs });
  const disk = createDisk({ random });
  const nodes = { catalog: clock.node('catalog'), order: clock.node('order') };
  await clock.finish(layDown(disk.disk(nodes.catalog), files));
  const lines: string[] = [];
  const effects = {
    log: (_level: string, sentence: string) => lines.push(sentence),
    onBroken(error: Error) {
      throw error;
    },
  };
  const opened = await clock.finish(openBoth());

  async function openBoth() {
    try {
      const books = await openCatalogStore({
        ...effects,
        disk: disk.disk(nodes.catalog),
        folder: '/catalog',
        now: () => Math.floor(clock.now()),
        after: nodes.catalog.after,
        newId: () => random.uuid(),
        retention,
      });
      const orders = await openOrderStore({
        ...effects,
        disk: disk.disk(nodes.order),
        folder: '/order',
        monotonic: nodes.order.now,
      });
      return { books, orders };
    } catch (error) {
      if (error instanceof StorageError) throw new Refusal(error.message);
      throw error;
    }
  }

  return openedLife({ ...opened, clock, nodes, lines, build, disk });
}

type Disk = ReturnType<typeof createDisk>;

/** Writes the files of both folders, synced. */
export async function layDown(disk: ReturnType<Disk['disk']>, files: Files): Promise<void> {
  for (const folder of ['/catalog', '/order']) await disk.makeFolder(folder);
  for (const [path, bytes] of files) {
    const file = await disk.open(path, 'create');
    await file.write(bytes, 0);
    await file.sync();
    await file.close();
  }
}

interface OpenedLife {
  readonly books: CatalogStore;
  readonly orders: OrderStore;
  readonly clock: Clock;
  readonly nodes: Readonly<Record<'catalog' | 'order', Node>>;
  readonly lines: string[];
  readonly build: Build;
  readonly disk: Disk;
}

function openedLife({ books, orders, clock, nodes, lines, build, disk }: OpenedLife): Life {
  const { after, defer, now } = nodes.order;
  let contradiction: Contradiction | undefined;
  const catalog = createCatalog({
    store: books,
    leases: withoutGateways,
    after: nodes.catalog.after,
    defer: nodes.catalog.defer,
  });
  const purchases = createPurchases({
    store: orders,
    sell: catalog.sell,
    assertOpen: () => recovery.assertOpen(),
    now,
    defer,
  });
  const recovery = createRecovery({
    store: orders,
    readFeed: async (from, limit, waitMs) =>
      build.readFeed(feedBody(await catalog.operations(from, limit, waitMs)), orders),
    recover: purchases.recover,
    isInFlight: purchases.isInFlight,
    after,
    log: (_level, sentence) => lines.push(sentence),
    onContradiction(error) {
      contradiction = error;
    },
  });
  recovery.start();

  /** Waits until recovery has nothing more to do. */
  async function settle(): Promise<void> {
    for (let round = 0; round < 100; round += 1) {
      if (contradiction !== undefined) throw new Refusal(contradiction.message);
      const { lastSale } = await catalog.operations(0, 1, 0);
      const { lacking } = await orders.sales(0, lastSale);
      if (recovery.health() === 'ok' && lacking.length === 0) return;
      await nodes.order.sleep(300);
    }
  }

  async function state(): Promise<State> {
    await settle();
    const { books: stocks } = await catalog.totals(-1, pageSize);
    return { stocks, log: await orders.list(0, pageSize) };
  }

  function kill(): void {
    for (const node of Object.values(nodes)) node.kill();
  }

  return {
    catalog,
    purchases,
    clock,
    lines,
    state: () => clock.finish(state()),
    async stop() {
      catalog.hurry();
      await clock.finish(recovery.stop());
      await clock.finish(purchases.close());
      await clock.finish(orders.close());
      await clock.finish(catalog.close());
    },
    kill,
    killAt(calls) {
      let left = calls;
      const forget = disk.watch(() => {
        left -= 1;
        if (left > 0) return;
        forget();
        kill();
      });
    },
    files: () => disk.files(),
  };
}
