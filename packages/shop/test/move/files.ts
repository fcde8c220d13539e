import { randomUUID } from 'node:crypto';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type CatalogStore, type Operation, openCsvStore as openCatalog } from '@bazar/catalog';
import { openCsvStore as openOrderLog } from '@bazar/order';
import type { Random } from '@bazar/simulation';
import { type Disk, nodeDisk } from '@bazar/storage';

/** What is not synced here is on no disk that could lose it: this is about reading it back. */
const disk: Disk = {
  ...nodeDisk,
  open: async (path, mode) => ({
    ...(await nodeDisk.open(path, mode)),
    datasync: async () => {},
    sync: async () => {},
  }),
};

const effects = {
  disk,
  log: () => {},
  onBroken(error: Error) {
    throw error;
  },
};

export interface Stocking {
  readonly books: number;
  readonly orders: number;
  /** Sales at the end that the order log lacks. */
  readonly lacking?: number;
  readonly random: Random;
}

const batch = 1024;

/** Lays down the files of a shop that has sold, by the services' own writers. */
export async function layDown(folder: string, options: Stocking): Promise<void> {
  const { books, orders, lacking = 0, random } = options;
  const rows = Array.from(
    { length: books },
    (_, index) => `${index + 1},"Book, number ${index + 1}",topic ${index % 100},1000000,19.99\n`,
  );
  writeFileSync(
    join(folder, 'catalog_data.csv'),
    `id,title,topic,quantity,price\n${rows.join('')}`,
  );
  const catalog = await openCatalog({
    ...effects,
    folder,
    now: Date.now,
    after: () => () => {},
    newId: randomUUID,
  });
  const log = await openOrderLog({ ...effects, folder, monotonic: () => performance.now() });
  const { catalogId } = await catalog.operations(0, 1);
  await log.adoptCatalog(catalogId);
  for (let sold = 0; sold < orders + lacking; sold += batch) {
    const count = Math.min(batch, orders + lacking - sold);
    const sales = Array.from({ length: count }, () => {
      return { id: random.uuid(), kind: 'sale', itemId: 1 + random.integer(books) } as const;
    });
    const logged = await sell(catalog, sales);
    await log.append(logged.filter(({ sale }) => sale <= orders));
  }
  await log.close();
  await catalog.close();
}

async function sell(catalog: CatalogStore, sales: readonly Extract<Operation, { kind: 'sale' }>[]) {
  const outcomes = await catalog.apply(sales);
  return sales.map(({ id: orderId, itemId }, index) => {
    const outcome = outcomes[index];
    if (outcome?.result !== 'sold') throw new Error(`order ${orderId} was not sold`);
    const { sale, title, price, timestamp } = outcome;
    return { orderId, itemId, sale, title, price, timestamp };
  });
}

/** Every file with its bytes. */
export function contents(folder: string): Record<string, string> {
  const names = readdirSync(folder).sort();
  return Object.fromEntries(names.map((name) => [name, readFileSync(join(folder, name), 'hex')]));
}
