import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { openCsvStore as openCatalog } from '@bazar/catalog';
import { type LoggedOrder, openCsvStore as openOrderLog } from '@bazar/order';
import { readMeasure } from '@bazar/simulation';
import { type Disk, nodeDisk } from '@bazar/storage';
import t from 'tap';
import type { ServiceName } from '../src/index.js';
import { createShop, startOrder } from '../src/launch.js';
import { ask, field } from './crash/ask.js';

// A long order log, and a catalog that has sold on without it. ORDERS=… and LACKING=… set how long.
const orders = readMeasure('ORDERS', process.env['ORDERS'], 20_000);
const lacking = readMeasure('LACKING', process.env['LACKING'], 2000);
const batch = 1024;

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

/** Lays down the files of a shop, by the services' own writers. */
async function layDown(folder: string): Promise<void> {
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
  const copies = { quantity: orders + lacking + 1 };
  await catalog.apply([{ id: randomUUID(), kind: 'change', itemId: 1, change: copies }]);
  for (let sold = 0; sold < orders + lacking; sold += batch) {
    const count = Math.min(batch, orders + lacking - sold);
    const operations = Array.from({ length: count }, () => {
      return { id: randomUUID(), kind: 'sale', itemId: 1 } as const;
    });
    const outcomes = await catalog.apply(operations);
    const rows: LoggedOrder[] = [];
    for (const [index, { id: orderId, itemId }] of operations.entries()) {
      const outcome = outcomes[index];
      if (outcome?.result !== 'sold') throw new Error(`sale ${sold + index + 1} was not made`);
      const { sale, title, price, timestamp } = outcome;
      if (sale <= orders) rows.push({ orderId, itemId, sale, title, price, timestamp });
    }
    await log.append(rows);
  }
  await log.close();
  await catalog.close();
}

/** The resident megabytes of a process, now and at most; undefined where nobody tells. */
function memory(pid: number): Record<string, number> | undefined {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    const megabytes = (name: string) => {
      const found = new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status);
      return Math.round(Number(found?.[1]) / 1024);
    };
    return { now: megabytes('VmRSS'), most: megabytes('VmHWM') };
  } catch {
    return undefined;
  }
}

t.test('when a long log lacks sales, then they are caught up with', async (t) => {
  const dataDir = t.testdir();
  await layDown(dataDir);
  const shop = createShop({ dataDir, env: { LOG_LEVEL: 'error' } });
  t.teardown(() => shop.kill());
  const begun = performance.now();
  const seconds = () => Number(((performance.now() - begun) / 1000).toFixed(1));
  const times: Record<string, number> = {};
  for (const name of startOrder) {
    await shop.service(name).start();
    times[`${name} listens`] = seconds();
  }
  await shop.ready();
  times['ready'] = seconds();
  const { urls } = shop;
  for (let pending = Number.POSITIVE_INFINITY; pending > 0; ) {
    const { body } = await ask({ request: `GET ${urls.order}/audit` });
    const found = field(body, 'pending');
    if (typeof found !== 'number') throw new Error(`There is no audit: ${JSON.stringify(body)}`);
    pending = found;
  }
  times['nothing pending'] = seconds();
  const { body: audit } = await ask({ request: `GET ${urls.order}/audit` });
  const sold = orders + lacking;
  t.match(audit, { balanced: true, pending: 0, sold, logged: sold, differences: [] });
  const sizes = (['catalog', 'order'] as const satisfies ServiceName[]).map(
    (name) => [name, memory(shop.service(name).pid)] as const,
  );
  t.comment(`${orders} rows, ${lacking} sales to catch up with; seconds: ${JSON.stringify(times)}`);
  t.comment(`resident megabytes: ${JSON.stringify(Object.fromEntries(sizes))}`);
  const bought = await ask({ request: `POST ${urls.gateway}/purchase/1` });
  t.match(bought, { status: 200, body: { message: /^bought/ } }, 'the shop sells on');
  await shop.stop();
});
