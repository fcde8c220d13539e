import { join } from 'node:path';
import {
  type CatalogStore,
  feedBody,
  openCsvStore as openCatalog,
  totalsBody,
} from '@bazar/catalog';
import type { Audit } from '@bazar/contracts';
import {
  auditShop,
  Contradiction,
  compareWithFeed,
  type Feed,
  type OrderStore,
  openCsvStore as openOrderLog,
} from '@bazar/order';
import { type Disk, nodeDisk, refuseMoved, StorageError } from '@bazar/storage';
import type { Folders } from './folders.js';
import { overlayDisk } from './overlay.js';

/** A sale that the catalog made and the order log lacks. */
export interface PendingSale {
  readonly sale: number;
  readonly orderId: string;
  readonly itemId: number;
}

/** What the files of a stopped shop come to. */
export interface Conservation {
  readonly audit: Audit;
  /** The first of the sales that the next start will log; `audit.pending` counts all. */
  readonly pending: readonly PendingSale[];
  /** Why the files cannot be of one shop at one time, if they cannot. */
  readonly contradiction: string | undefined;
  /** What the services would say of these files at their next start. */
  readonly notes: readonly string[];
}

type ReadFeed = (after: number, limit: number) => Promise<Feed>;

const pageSales = 1000;
const maxPendingNamed = 100;

/**
 * Checks the law on the files of a stopped shop: for every book stocked = remaining + sold, and
 * sold = the rows of the order log. The services' own readers read them, as a start would, on a
 * disk that keeps in memory whatever they mend, so that nothing is written.
 *
 * @throws StorageError in a sentence when the shop is running, or when files are damaged or missing
 */
export async function auditFiles(folders: Folders, disk: Disk = nodeDisk): Promise<Conservation> {
  await refuseStrangeFolders(folders, disk);
  const paper = overlayDisk(disk);
  const notes = await notesOfMove(folders, disk);
  const effects = {
    disk: paper,
    log: (_level: string, sentence: string) => notes.push(sentence),
    // Whoever waits for the broken file gets the error as well.
    onBroken: () => {},
    // An audit sells nothing, and what is only a backup may be audited as well.
    evenIfMoved: true,
  };
  const catalog = await openCatalog({
    ...effects,
    folder: folders.catalog,
    now: Date.now,
    // No snapshot and no seal: nobody sells, and nothing would be kept.
    after: () => () => {},
    newId: () => 'none',
  });
  try {
    const store = await openOrderLog({
      ...effects,
      folder: folders.order,
      monotonic: () => performance.now(),
    });
    try {
      return { ...(await auditStores(catalog, store)), notes };
    } finally {
      await store.close();
    }
  } finally {
    await catalog.close();
  }
}

/** Why no start would sell from these files, if they were moved. */
async function notesOfMove({ catalog, order }: Folders, disk: Disk): Promise<string[]> {
  const notes: string[] = [];
  for (const folder of new Set([catalog, order])) {
    await refuseMoved(disk, folder).catch((error: unknown) => {
      if (!(error instanceof StorageError)) throw error;
      notes.push(error.message);
    });
  }
  return notes;
}

/** Checks the law on what two open stores hold, while nobody sells. */
export async function auditStores(
  catalog: CatalogStore,
  store: OrderStore,
): Promise<Omit<Conservation, 'notes'>> {
  const readFeed: ReadFeed = async (after, limit) =>
    feedBody(await catalog.operations(after, limit));
  const contradiction = await contradictionOf(store, readFeed);
  const audit = await auditShop({
    store,
    readFeed,
    readTotals: async (after = -1, limit) => totalsBody(await catalog.totals(after, limit)),
  });
  return { audit, contradiction, pending: await namePending(store, readFeed, audit) };
}

/** A start would lay down a new shop where there is none; an audit of that would only mislead. */
export async function refuseStrangeFolders({ catalog, order }: Folders, disk: Disk): Promise<void> {
  for (const folder of [catalog, order]) {
    if (!(await disk.exists(folder))) throw new StorageError(`There is no folder ${folder}.`);
  }
  const names = await disk.list(catalog);
  const isCatalog = names.some((name) => /^catalog_(data\.csv|journal-\d+\.log)$/.test(name));
  if (!isCatalog) throw new StorageError(`${catalog} holds no catalog.`);
  if (!(await disk.exists(join(order, 'order_log.csv')))) {
    throw new StorageError(`${order} holds no order_log.csv.`);
  }
}

/** Compares, page by page, all sales that the catalog can still name, as the order service does. */
async function contradictionOf(store: OrderStore, readFeed: ReadFeed): Promise<string | undefined> {
  const reach = await store.reach();
  try {
    for (let after = 0; ; ) {
      const feed = await readFeed(after, pageSales);
      await compareWithFeed(store, feed, reach);
      const last = feed.operations.at(-1);
      if (last === undefined) return undefined;
      after = last.sale;
    }
  } catch (error) {
    if (error instanceof Contradiction) return error.message;
    throw error;
  }
}

async function namePending(
  store: OrderStore,
  readFeed: ReadFeed,
  { sale: lastSale }: Audit,
): Promise<PendingSale[]> {
  const { lacking } = await store.sales(0, lastSale);
  const named: PendingSale[] = [];
  for (const number of lacking.slice(0, maxPendingNamed)) {
    const [operation] = (await readFeed(number - 1, 1)).operations;
    if (operation?.sale !== number) continue;
    const { sale, operation_id: orderId, item_id: itemId } = operation;
    named.push({ sale, orderId, itemId });
  }
  return named;
}
