import { randomUUID } from 'node:crypto';
import {
  type CatalogRows,
  type CatalogStore,
  openCsvStore as openCatalog,
  type Stock,
  sumCatalog,
} from '@bazar/catalog';
import { type OrderRows, openCsvStore as openOrderLog, sumOrders } from '@bazar/order';
import { InUse, nodeDisk } from '@bazar/storage';
import { auditStores, refuseStrangeFolders } from '../conservation.js';
import type { Progress } from './progress.js';
import { MoveRefused } from './refusal.js';
import type { ShopSums } from './sums.js';

/** The files of a stopped shop, held by us as by a service that is their one writer. */
export interface ShopFiles {
  readonly rows: CatalogRows & OrderRows;
  /** What they come to. */
  readonly sums: ShopSums;
  /** Sales that the log lacks, and that the order service is going to log. */
  readonly pending: number;
  /** Rows of the log from before there were numbers. */
  readonly reportRows: number;
  close(): Promise<void>;
}

const pageBooks = 5000;

/**
 * Opens the files as the services do: an edit is adopted, a torn tail is cut off. So what is moved
 * is what a start would sell from, and no other.
 * @throws StorageError for files that no start would take; MoveRefused
 */
export async function openFiles(
  folder: string,
  say: (line: string) => void,
  progress: Progress,
): Promise<ShopFiles> {
  await refuseStrangeFolders({ catalog: folder, order: folder }, nodeDisk);
  const effects = {
    disk: nodeDisk,
    folder,
    log: (_level: string, sentence: string) => say(sentence),
    // Whoever waits for the broken file gets the error as well.
    onBroken: () => {},
    evenIfMoved: true,
  };
  const closers: (() => Promise<void>)[] = [];
  const close = async () => {
    for (const each of closers.splice(0).reverse()) await each();
  };
  try {
    const catalog = await openCatalog({
      ...effects,
      now: Date.now,
      // Nothing is due while nobody sells; a picture that is, is taken at the end.
      after: () => () => {},
      newId: randomUUID,
    });
    closers.push(catalog.close);
    const log = await openOrderLog({ ...effects, monotonic: () => performance.now() });
    closers.push(log.close);
    const { audit, contradiction } = await auditStores(catalog, log);
    if (contradiction !== undefined) throw new MoveRefused(contradiction);
    if (!audit.balanced) {
      throw new MoveRefused(
        'the books do not balance: see what the audit of the files says (audit:conservation)',
      );
    }
    const { catalogId, lastSale } = await catalog.operations(0, 1);
    // There are other outcomes than sales as well, so that about is the word.
    const rowsTo = (what: string) => ({
      catalogId,
      lastSale,
      books: () => progress.watch(`${what}books`, audit.books, pagesOf(catalog)),
      outcomes: () => progress.watch(`${what}outcomes`, audit.sale, catalog.outcomes()),
      orders: () => progress.watch(`${what}orders`, audit.logged, log.rows()),
    });
    const read = rowsTo('reading ');
    const sums = { ...(await sumCatalog(read)), ...(await sumOrders(read)) };
    const rows = rowsTo('');
    return { rows, sums, pending: audit.pending, reportRows: log.reportRows, close };
  } catch (error) {
    await close();
    if (!(error instanceof InUse)) throw error;
    throw new MoveRefused(`the shop is running: ${error.message}`, { cause: error });
  }
}

async function* pagesOf(catalog: CatalogStore): AsyncGenerator<readonly Stock[]> {
  // A person's file may have a book 0, which comes after no other.
  for (let after = -1; ; ) {
    const { books } = await catalog.totals(after, pageBooks);
    yield books;
    const last = books.at(-1);
    if (last === undefined || books.length < pageBooks) return;
    after = last.id;
  }
}
