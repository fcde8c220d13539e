import { join } from 'node:path';
import { Failure } from '@bazar/contracts';
import {
  type AppendFile,
  createIdIndex,
  type Disk,
  lockFiles,
  openAppendFile,
  parseRows,
  StorageError,
  StorageFull,
} from '@bazar/storage';
import type { LoggedOrder, LoggedSales, OrderStore } from '../store.js';
import { openCatalogIdentity } from './identity.js';
import { checkOrderRow, readOrderCells, writeOrderRow } from './order-row.js';
import { scanOrderLog } from './scan.js';

export interface CsvStoreOptions {
  readonly disk: Disk;
  /** The folder of `order_log.csv`. */
  readonly folder: string;
  /** Milliseconds on a clock that only goes forward. */
  readonly monotonic: () => number;
  readonly log: (level: 'info' | 'warn', sentence: string) => void;
  /** Called once when durability can no longer be promised; the process must stop at once. */
  readonly onBroken: (error: Error) => void;
}

const policy = {
  /** Room for the rows of a full batch must be there before selling resumes. */
  probeBytes: 1024 * 1024,
  /** While the disk is full, a probe at most this often. */
  probeEveryMs: 250,
};

/** A row's place in one number: the offset below 2^37, the length below 2^16. */
const lengthSpan = 65_536;

/**
 * The order log as a plain CSV file. In memory an order is the 16 bytes of its id, its place in the
 * file, its book and the number of its sale.
 * @throws StorageError (BadFile for a row) when the file is in use, damaged or not readable
 */
export async function openCsvStore(options: CsvStoreOptions): Promise<OrderStore> {
  const { disk, folder, log, onBroken } = options;
  await disk.makeFolder(folder);
  const lock = await lockFiles(disk, join(folder, 'order.lock'));
  try {
    const path = join(folder, 'order_log.csv');
    const index = createOrderIndex();
    const scan = await scanOrderLog(disk, path, (order, offset, length) => {
      index.add(order, offset * lengthSpan + length);
    });
    const { preamble, reportRows, tornBytes, ...sizes } = scan;
    const identity = await openCatalogIdentity(disk, folder);
    const file = await openAppendFile({ disk, path, onBroken, ...sizes });
    if (tornBytes > 0) {
      log('warn', `order_log.csv: the last ${tornBytes} bytes were never finished and are cut off`);
    }
    await begin(file, preamble);
    if (reportRows > 0) log('info', `order_log.csv: ${reportRows} rows of the report are kept`);
    return createStore(options, file, index, identity, () => lock.release());
  } catch (error) {
    await lock.release();
    throw error;
  }
}

async function begin(file: AppendFile, preamble: string): Promise<void> {
  if (preamble === '') return;
  try {
    await file.append(Buffer.from(preamble));
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** Order ids, their places, and the books by the numbers of their sales. */
function createOrderIndex() {
  const ids = createIdIndex();
  /** Entry + 1 by sale number; 0 where no order has the number. */
  const entries: number[] = [0];
  const items: number[] = [0];
  let watermark = 0;
  const has = (sale: number) => (entries[sale] ?? 0) !== 0;

  function orderOf(sale: number): string | undefined {
    const entry = entries[sale] ?? 0;
    return entry === 0 ? undefined : ids.idAt(entry - 1);
  }

  return {
    has,
    orderOf,
    get watermark() {
      return watermark;
    },
    get lastSale() {
      return entries.length - 1;
    },
    place: (orderId: string) => ids.get(orderId),
    itemOf: (sale: number) => (has(sale) ? items[sale] : undefined),
    placeOf(sale: number) {
      const entry = entries[sale] ?? 0;
      return entry === 0 ? undefined : ids.valueAt(entry - 1);
    },
    /** @throws StorageError when the id or the number of the sale is taken */
    add({ orderId, itemId, sale }: LoggedOrder, place: number) {
      if (has(sale) && orderOf(sale) !== orderId) throw doubleSale(sale);
      const { size } = ids;
      const entry = ids.set(orderId, place);
      // One search instead of two, which a log of a million rows notices.
      if (ids.size === size) {
        throw new StorageError(`order_log.csv: order ${orderId} stands there twice`);
      }
      while (entries.length <= sale) {
        entries.push(0);
        items.push(0);
      }
      entries[sale] = entry + 1;
      items[sale] = itemId;
      while ((entries[watermark + 1] ?? 0) !== 0) watermark += 1;
    },
  };
}

function doubleSale(sale: number): StorageError {
  return new StorageError(`order_log.csv: sale ${sale} would belong to two orders`);
}

function createStore(
  { monotonic, log, onBroken }: CsvStoreOptions,
  file: AppendFile,
  index: ReturnType<typeof createOrderIndex>,
  identity: Awaited<ReturnType<typeof openCatalogIdentity>>,
  release: () => Promise<void>,
): OrderStore {
  let full = false;
  let probedAt = Number.NEGATIVE_INFINITY;

  /** The orders that are not there yet, each once. */
  function fresh(orders: readonly LoggedOrder[]): LoggedOrder[] {
    const byId = new Map<string, LoggedOrder>();
    const sales = new Set<number>();
    for (const order of orders) {
      const { orderId, sale } = order;
      if (index.place(orderId) !== undefined || byId.has(orderId)) continue;
      // Once in the file, two orders of one sale would refuse every further start.
      if (sales.has(sale) || index.has(sale)) throw doubleSale(sale);
      byId.set(orderId, order);
      sales.add(sale);
    }
    return [...byId.values()];
  }

  async function append(orders: readonly LoggedOrder[]): Promise<void> {
    const missing = fresh(orders);
    if (missing.length === 0) return;
    const { synced } = file;
    const rows = missing.map((order) => Buffer.from(writeOrderRow(order, synced)));
    let offset = await file.append(Buffer.concat(rows));
    for (const [position, order] of missing.entries()) {
      const length = rows[position]?.length ?? 0;
      index.add(order, offset * lengthSpan + length - 1);
      offset += length;
    }
    full = false;
  }

  async function readAt(place: number): Promise<LoggedOrder> {
    const offset = Math.floor(place / lengthSpan);
    const line = await file.read(offset, place % lengthSpan);
    const [cells = []] = parseRows(line.toString('utf8'));
    const order = checkOrderRow(line) === undefined ? undefined : readOrderCells(cells);
    if (order === undefined) {
      throw new StorageError(
        `order_log.csv, byte ${offset}: the row was damaged after its writing`,
      );
    }
    return order;
  }

  return {
    async append(orders) {
      try {
        await append(orders);
      } catch (error) {
        if (error instanceof StorageFull) {
          if (!full) log('warn', 'order_log.csv has no room to grow: purchases are refused');
          full = true;
          throw new Failure('storage_full', 'the order log has no room', { cause: error });
        }
        // Two orders for one sale number: going on would sell a copy twice.
        onBroken(error instanceof Error ? error : new Error(String(error)));
        throw error;
      }
    },
    async find(orderId) {
      const place = index.place(orderId);
      return place === undefined ? undefined : readAt(place);
    },
    async list(after, limit) {
      const places: number[] = [];
      for (let sale = after + 1; sale <= index.lastSale && places.length < limit; sale += 1) {
        const place = index.placeOf(sale);
        if (place !== undefined) places.push(place);
      }
      return Promise.all(places.map(readAt));
    },
    reach: async () => ({ watermark: index.watermark, lastSale: index.lastSale }),
    async sales(from, to): Promise<LoggedSales> {
      const copies = new Map<number, number>();
      const lacking: number[] = [];
      for (let sale = from + 1; sale <= to; sale += 1) {
        const item = index.itemOf(sale);
        if (item === undefined) lacking.push(sale);
        else copies.set(item, (copies.get(item) ?? 0) + 1);
      }
      return { copies, lacking };
    },
    orderOfSale: async (sale) => index.orderOf(sale),
    async assertRoom() {
      if (!full) return;
      if (monotonic() - probedAt >= policy.probeEveryMs) {
        probedAt = monotonic();
        full = !(await file.probe(policy.probeBytes));
        if (!full) log('info', 'order_log.csv has room again: purchases are accepted');
      }
      if (full) throw new Failure('storage_full', 'the order log has no room');
    },
    catalogId: async () => identity.catalogId,
    adoptCatalog: (catalogId) => identity.adopt(catalogId),
    async close() {
      await file.close();
      await release();
    },
  };
}
