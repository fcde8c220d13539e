import { join } from 'node:path';
import { Failure } from '@bazar/contracts';
import {
  type AppendFile,
  createIdIndex,
  type Disk,
  type Lock,
  lockFiles,
  openAppendFile,
  openAsWriter,
  openReserve,
  parseRows,
  refuseMoved,
  StorageError,
} from '@bazar/storage';
import type { LoggedOrder, LoggedSales, OrderStore } from '../store.js';
import { type CatalogIdentity, openCatalogIdentity } from './identity.js';
import { checkOrderRow, readOrderCells, writeOrderRow } from './order-row.js';
import { openRoom, type Room } from './room.js';
import { type OrderLine, readOrderLog, scanOrderLog } from './scan.js';

export interface CsvStoreOptions {
  readonly disk: Disk;
  /** The folder of `order_log.csv`. */
  readonly folder: string;
  /** Milliseconds on a clock that only goes forward. */
  readonly monotonic: () => number;
  readonly log: (level: 'info' | 'warn', sentence: string) => void;
  /** Called once when durability can no longer be promised; the process must stop at once. */
  readonly onBroken: (error: Error) => void;
  /** Opens the files even where the shop was moved from them: for who reads, and logs nothing. */
  readonly evenIfMoved?: boolean;
}

export interface CsvStore extends OrderStore {
  /** Rows from before the sales were numbered, which are no orders. */
  readonly reportRows: number;
  /** All orders with their lines, in the order of the file; nobody may log meanwhile. */
  rows(): AsyncGenerator<readonly OrderLine[]>;
}

/**
 * Room for what is sold by the time that the disk is found to be full: some 6,000 rows with titles
 * of common length.
 */
const reserveBytes = 1024 * 1024;

/** A row's place in one number: the offset below 2^37, the length below 2^16. */
const lengthSpan = 65_536;

/**
 * The order log as a plain CSV file. In memory an order is the 16 bytes of its id, its place in the
 * file, its book and the number of its sale.
 * @throws StorageError (BadFile for a row) when the file is in use, damaged or not readable
 */
export async function openCsvStore(options: CsvStoreOptions): Promise<CsvStore> {
  const { disk, folder, log, onBroken } = options;
  await disk.makeFolder(folder);
  const lock = await lockFiles(disk, join(folder, 'order.lock'));
  try {
    if (options.evenIfMoved !== true) await refuseMoved(disk, folder);
    const path = join(folder, 'order_log.csv');
    const isThere = await disk.exists(path);
    const identity = await openCatalogIdentity(disk, folder);
    // Before it is read, so that nobody writes to it meanwhile.
    const opened = await openAsWriter(disk, path, 'create');
    const index = createOrderIndex();
    const scan = await scanOrderLog(opened, (order, offset, length) => {
      index.add(order, offset * lengthSpan + length);
    }).catch(async (error: unknown) => {
      await opened.close();
      throw error;
    });
    const { preamble, reportRows, tornBytes, ...sizes } = scan;
    const file = await openAppendFile({ disk, path, file: opened, onBroken, ...sizes });
    if (!isThere && identity.catalogId !== undefined) {
      log('warn', 'order_log.csv was missing: it is begun anew from what the catalog remembers');
    }
    if (tornBytes > 0) {
      log('warn', `order_log.csv: the last ${tornBytes} bytes were never finished and are cut off`);
    }
    const room = await begin(options, file, preamble);
    if (reportRows > 0) log('info', `order_log.csv: ${reportRows} rows of the report are kept`);
    const rows = () => readOrderLog(disk, path);
    return createStore({ file, rows, reportRows, index, identity, room, lock, onBroken });
  } catch (error) {
    await lock.release();
    throw error;
  }
}

async function begin(
  { disk, folder, monotonic, log }: CsvStoreOptions,
  file: AppendFile,
  preamble: string,
): Promise<Room> {
  try {
    if (preamble !== '') await file.append(Buffer.from(preamble));
    const reserve = await openReserve(disk, join(folder, 'order_log.reserve'), reserveBytes);
    return await openRoom({ file, reserve, monotonic, log });
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

interface Parts {
  readonly file: AppendFile;
  readonly rows: CsvStore['rows'];
  readonly reportRows: number;
  readonly index: ReturnType<typeof createOrderIndex>;
  readonly identity: CatalogIdentity;
  readonly room: Room;
  readonly lock: Lock;
  readonly onBroken: CsvStoreOptions['onBroken'];
}

function createStore({
  file,
  rows,
  reportRows,
  index,
  identity,
  room,
  lock,
  onBroken,
}: Parts): CsvStore {
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
    let offset = await room.append(Buffer.concat(rows));
    for (const [position, order] of missing.entries()) {
      const length = rows[position]?.length ?? 0;
      index.add(order, offset * lengthSpan + length - 1);
      offset += length;
    }
  }

  async function readAt(place: number): Promise<LoggedOrder> {
    const offset = Math.floor(place / lengthSpan);
    const line = await file.read(offset, place % lengthSpan);
    const [cells = []] = parseRows(line.toString('utf8'));
    const order = checkOrderRow(line) === undefined ? undefined : readOrderCells(cells);
    if (order === undefined) {
      // The catalog has sold it all the same: what may not be said of it is that it is not there.
      throw new Failure('unavailable', 'the order log cannot be read for the moment', {
        cause: new StorageError(
          `order_log.csv, byte ${offset}: the row was damaged after its writing`,
        ),
      });
    }
    return order;
  }

  return {
    async append(orders) {
      try {
        await append(orders);
      } catch (error) {
        if (error instanceof Failure) throw error;
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
    async reach() {
      // Recovery asks all the time: a shop that sells nothing sees by this that its log is gone.
      await file.verify();
      return { watermark: index.watermark, lastSale: index.lastSale };
    },
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
    async ordersOfSales(sales) {
      const orders = new Map<number, string>();
      for (const sale of sales) {
        const orderId = index.orderOf(sale);
        if (orderId !== undefined) orders.set(sale, orderId);
      }
      return orders;
    },
    assertRoom: room.assert,
    catalogId: async () => identity.catalogId,
    adoptCatalog: (catalogId) => identity.adopt(catalogId),
    rows,
    reportRows,
    async close() {
      await file.close();
      await lock.release();
    },
  };
}
