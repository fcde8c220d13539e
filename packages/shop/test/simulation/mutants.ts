import type { CatalogStore, Operation } from '@bazar/catalog';
import type { Purchase } from '@bazar/gateway';
import type { Random } from '@bazar/simulation';
import type { Disk, DiskFile } from '@bazar/storage';
import { type Build, type BuildMaker, honest, type Times } from './build.js';

/** Builds that break one rule of the protocol each. A checker that misses them checks nothing. */
export const mutants: Readonly<Record<string, BuildMaker>> = {
  'whose catalog acknowledges before its journal is written': () => ({
    ...honest,
    catalogDisk: (disk) => withLateWrites(disk, 'catalog_journal'),
  }),
  'whose catalog does not wait for fdatasync': () => ({
    ...honest,
    catalogMutant: { ignoreDatasync: true },
  }),
  'whose order log does not wait for fdatasync': () => ({
    ...honest,
    orderMutant: { ignoreDatasync: true },
  }),
  'whose catalog does not sync its folder': () => ({
    ...honest,
    catalogMutant: { ignoreFolderSync: true },
  }),
  'whose catalog forgets outcomes at a restart': forgetAtRestart,
  'whose catalog forgets that it was sold out': forgetSoldOut,
  'whose catalog numbers its sales anew at a restart': numberAnew,
  'whose order service answers before it logs': () => ({
    ...honest,
    orderStore: (store) => ({
      ...store,
      async append(orders) {
        store.append(orders).catch(() => undefined);
      },
    }),
  }),
  'whose order service does not look into its log': () => ({
    ...honest,
    orderStore: (store) => ({ ...store, find: async () => undefined }),
  }),
  'whose order service takes the highest sale for the last complete one': () => ({
    ...honest,
    orderStore: (store) => ({
      ...store,
      async reach() {
        const { lastSale } = await store.reach();
        return { watermark: lastSale, lastSale };
      },
    }),
  }),
  'whose recovery logs what the feed names, unasked': logUnasked,
  'without recovery': () => ({
    ...honest,
    purchases: (purchases) => ({ ...purchases, recover: async () => undefined }),
  }),
  'that takes a key for another book': () => ({
    ...honest,
    purchases: (purchases, store) => ({
      ...purchases,
      async purchase(operation) {
        const known = await store.find(operation.order_id);
        return purchases.purchase({ ...operation, item_id: known?.itemId ?? operation.item_id });
      },
    }),
  }),
  'that finds its disk full after the sale': () => ({
    ...honest,
    orderDisk: withoutReserve,
    orderStore: (store) => ({ ...store, assertRoom: async () => undefined }),
  }),
  'whose gateway takes a timeout for a no, and asks under a fresh key': (random) => ({
    ...honest,
    purchase: (purchase) => withFreshKeys(purchase, random),
  }),
  'whose gateway takes a timeout for sold out': () => ({
    ...honest,
    purchase: (purchase) => (operations) =>
      purchase(operations).catch(() =>
        operations.map(({ order_id }) => ({ order_id, result: 'sold_out', replayed: false })),
      ),
  }),
  'whose catalog shows what is not committed': showStaged,
  'whose catalog shows what was': () => ({ ...honest, catalogStore: withStaleReads }),
};

/** Has never room for what is kept for the sales that a full disk surprises. */
function withoutReserve(disk: Disk): Disk {
  return {
    ...disk,
    async open(path, mode) {
      if (!path.endsWith('.reserve')) return disk.open(path, mode);
      throw Object.assign(new Error('ENOSPC: open'), { code: 'ENOSPC' });
    },
  };
}

/** Writes in the background, in order, and calls that synced. */
function withLateWrites(disk: Disk, name: string): Disk {
  return {
    ...disk,
    async open(path, mode) {
      const file = await disk.open(path, mode);
      return path.includes(name) && mode !== 'read' ? lateFile(file) : file;
    },
  };
}

function lateFile(file: DiskFile): DiskFile {
  let last: Promise<unknown> = Promise.resolve();
  function later(work: () => Promise<unknown>): void {
    last = last.then(work).catch(() => undefined);
  }
  return {
    ...file,
    async write(bytes, position) {
      const copy = Buffer.from(bytes);
      later(() => file.write(copy, position));
      return bytes.length;
    },
    async datasync() {
      later(() => file.datasync());
    },
    async truncate(length) {
      await last;
      await file.truncate(length);
    },
  };
}

/** Lets operations reach a store under other ids, as if it had never heard of them. */
function createAliases(random: Random) {
  const alias = new Map<string, string>();
  const original = new Map<string, string>();
  return {
    forget(id: string): void {
      const other = random.uuid();
      alias.set(id, other);
      original.set(other, id);
    },
    under(store: CatalogStore, apply: CatalogStore['apply']): CatalogStore {
      return {
        ...store,
        apply,
        async operations(after, limit) {
          const feed = await store.operations(after, limit);
          const operations = feed.operations.map((operation) => ({
            ...operation,
            operationId: original.get(operation.operationId) ?? operation.operationId,
          }));
          return { ...feed, operations };
        },
      };
    },
    rename: (operation: Operation) => ({
      ...operation,
      id: alias.get(operation.id) ?? operation.id,
    }),
  };
}

function forgetAtRestart(random: Random): Build {
  const aliases = createAliases(random);
  const lifeOf = new Map<string, CatalogStore>();
  return {
    ...honest,
    catalogStore: (store) =>
      aliases.under(store, (operations) => {
        for (const { id } of operations) {
          const life = lifeOf.get(id);
          if (life !== undefined && life !== store) aliases.forget(id);
          lifeOf.set(id, store);
        }
        return store.apply(operations.map(aliases.rename));
      }),
  };
}

function forgetSoldOut(random: Random): Build {
  const aliases = createAliases(random);
  return {
    ...honest,
    catalogStore: (store) =>
      aliases.under(store, async (operations) => {
        const outcomes = await store.apply(operations.map(aliases.rename));
        for (const [index, { id }] of operations.entries()) {
          if (outcomes[index]?.result === 'sold_out') aliases.forget(id);
        }
        return outcomes;
      }),
  };
}

/** The counter of the sales lives in memory only. */
function numberAnew(): Build {
  return {
    ...honest,
    catalogStore: (store) => {
      const before = store.operations(0, 1).then(({ lastSale }) => lastSale);
      return {
        ...store,
        async apply(operations) {
          const outcomes = await store.apply(operations);
          const last = await before;
          return outcomes.map((outcome) =>
            outcome.result === 'sold' && outcome.sale > last
              ? { ...outcome, sale: outcome.sale - last }
              : outcome,
          );
        },
      };
    },
  };
}

/** The feed has no price and no time: this makes them up. */
function logUnasked(): Build {
  const sales = new Map<string, number>();
  return {
    ...honest,
    calls: (calls) => ({
      ...calls,
      async readFeed(after, limit, waitMs, signal) {
        const feed = await calls.readFeed(after, limit, waitMs, signal);
        for (const { operation_id, sale } of feed.operations) sales.set(operation_id, sale);
        return feed;
      },
    }),
    purchases: (purchases, store) => ({
      ...purchases,
      async recover(orderId, itemId) {
        const sale = sales.get(orderId) ?? 0;
        const timestamp = new Date(0).toISOString();
        await store.append([{ orderId, itemId, sale, title: 'A book', price: 1, timestamp }]);
      },
    }),
  };
}

function withFreshKeys(purchase: Purchase, random: Random): Purchase {
  return async (operations) => {
    try {
      return await purchase(operations);
    } catch {
      const fresh = operations.map((operation) => ({ ...operation, order_id: random.uuid() }));
      const outcomes = await purchase(fresh);
      return outcomes.map((outcome) => {
        const index = fresh.findIndex(({ order_id }) => order_id === outcome.order_id);
        return { ...outcome, order_id: operations[index]?.order_id ?? outcome.order_id };
      });
    }
  };
}

/** Readers see the sales of a batch before it is durable. */
function showStaged(): Build {
  const decided = new Set<string>();
  return {
    ...honest,
    catalogStore: (store) => {
      const staged = new Map<string, number>();
      return {
        ...store,
        async apply(operations) {
          const fresh = operations.filter(({ id, kind }) => kind === 'sale' && !decided.has(id));
          for (const operation of fresh) {
            if (operation.kind === 'sale') staged.set(operation.id, operation.itemId);
          }
          // What could not be written stays in what is shown.
          const outcomes = await store.apply(operations);
          for (const { id } of fresh) {
            decided.add(id);
            staged.delete(id);
          }
          return outcomes;
        },
        async book(id) {
          const book = await store.book(id);
          const sold = [...staged.values()].filter((itemId) => itemId === id).length;
          return book && { ...book, quantity: Math.max(0, book.quantity - sold) };
        },
      };
    },
  };
}

const staleMs = 100;

/** A cache that nobody tells of a change. */
function withStaleReads(store: CatalogStore, { now }: Times): CatalogStore {
  const kept = new Map<number, { book: ReturnType<CatalogStore['book']>; at: number }>();
  return {
    ...store,
    book(id) {
      const known = kept.get(id);
      if (known !== undefined && now() - known.at < staleMs) return known.book;
      const book = store.book(id);
      kept.set(id, { book, at: now() });
      return book;
    },
  };
}
