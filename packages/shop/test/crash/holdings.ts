import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseRows } from '@bazar/storage';
import type { Folders } from '../../src/folders.js';
import type { Shop } from '../../src/index.js';
import { ask, field, until } from './ask.js';
import { type Row, rowIn } from './testimony.js';

/** A row of the order log. */
export interface LogRow extends Row {
  readonly sale: number;
}

/** What a shop has sold and has left, by its own account. */
export interface Holdings {
  readonly log: readonly LogRow[];
  /** Book → copies left. */
  readonly left: ReadonlyMap<number, number>;
}

/** What the files of a stopped shop say to any program that reads CSV. */
export function readFiles({ catalog, order }: Folders): Holdings {
  const [log, books] = [join(order, 'order_log.csv'), join(catalog, 'catalog_data.csv')].map(
    (path) => parseRows(readFileSync(path, 'utf8').trimEnd()).slice(1),
  );
  return {
    log: (log ?? []).map(([timestamp = '', item, title = '', orderId = '', price, sale]) => ({
      timestamp,
      itemId: Number(item),
      title,
      orderId,
      price: Number(price),
      sale: Number(sale),
    })),
    left: new Map((books ?? []).map(([id, , , quantity]) => [Number(id), Number(quantity)])),
  };
}

/** The order log as a running shop shows it to its keeper. */
export async function listOrders({ urls }: Pick<Shop, 'urls'>): Promise<LogRow[]> {
  const log: LogRow[] = [];
  for (let page: unknown[] = [{}]; page.length > 0; ) {
    const request = `GET ${urls.order}/orders?limit=1000&after=${log.length}`;
    const { body } = await ask({ request });
    page = Array.isArray(body) ? body : [];
    for (const order of page) {
      const row = rowIn(order);
      if (row !== undefined) log.push({ ...row, sale: Number(field(order, 'sale')) });
    }
  }
  return log;
}

/** What a running shop says once recovery has logged what died unlogged, and its audit of that. */
export async function interview({
  urls,
}: Pick<Shop, 'urls'>): Promise<Holdings & { readonly audit: unknown }> {
  const audit = async () => (await ask({ request: `GET ${urls.order}/audit` })).body;
  await until('nothing is pending', async () => field(await audit(), 'pending') === 0);
  const log = await listOrders({ urls });
  const left = new Map<number, number>();
  for (const id of [1, 2, 3, 4]) {
    const { body } = await ask({ request: `GET ${urls.gateway}/info/${id}` });
    left.set(id, Number(field(body, 'quantity')));
  }
  return { log, left, audit: await audit() };
}
