import { spawn, spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { createCatalog, openCsvStore as openCatalog, withoutGateways } from '@bazar/catalog';
import { createPurchases, openCsvStore as openOrderLog } from '@bazar/order';
import { type Disk, nodeDisk } from '@bazar/storage';
import t from 'tap';
import { launchShop } from '../src/index.js';
import { ask, forEachOf } from './crash/ask.js';
import { answeredTooSoon, type Call, idsIn, readTrace } from './crash/order-of-calls.js';

const journal = 'catalog_journal-';
const log = 'order_log.csv';
const copies = 1000;

/** A disk that tells of writes and syncs; as a mutant it does not wait for its fdatasync. */
function recordingDisk(tell: (call: Call) => void, isMutant: boolean): Disk {
  return {
    ...nodeDisk,
    async open(path, mode) {
      const opened = await nodeDisk.open(path, mode);
      const file = basename(path);
      async function sync(run: () => Promise<void>): Promise<void> {
        tell({ kind: 'sync began', file });
        await run();
        tell({ kind: 'synced', file });
      }
      return {
        ...opened,
        async write(bytes, position) {
          const count = await opened.write(bytes, position);
          tell({ kind: 'written', file, ids: idsIn(bytes.subarray(0, count).toString('latin1')) });
          return count;
        },
        async datasync() {
          const synced = sync(opened.datasync);
          if (!isMutant) await synced;
        },
        sync: () => sync(opened.sync),
      };
    },
  };
}

/** Buys in one process, from use cases and stores as the services have them. */
async function buyInProcess(folder: string, isMutant: boolean) {
  const calls = { catalog: [] as Call[], order: [] as Call[] };
  const after = (ms: number, run: () => void) => {
    const timer = setTimeout(run, ms);
    return () => clearTimeout(timer);
  };
  const effects = { folder, log: () => {}, onBroken: () => t.fail('a file is broken') };
  const books = await openCatalog({
    ...effects,
    disk: recordingDisk((call) => calls.catalog.push(call), isMutant),
    now: Date.now,
    after,
    newId: randomUUID,
  });
  await books.apply([
    { id: randomUUID(), kind: 'change', itemId: 1, change: { quantity: copies } },
  ]);
  const catalog = createCatalog({ store: books, leases: withoutGateways, after });
  const store = await openOrderLog({
    ...effects,
    disk: recordingDisk((call) => calls.order.push(call), isMutant),
    monotonic: () => performance.now(),
  });
  const purchases = createPurchases({
    store,
    async sell(operations) {
      const outcomes = await catalog.sell(operations);
      calls.catalog.push({ kind: 'answered', ids: outcomes.map((one) => one.operation_id) });
      return outcomes;
    },
    assertOpen: () => {},
    onFailure: (failure) => t.fail(failure.message),
  });
  await forEachOf(
    Array.from({ length: 200 }, () => randomUUID()),
    10,
    async (order_id) => {
      const { result } = await purchases.purchase({ order_id, item_id: 1, request_id: 'a' });
      if (result === 'sold') calls.order.push({ kind: 'answered', ids: [order_id] });
    },
  );
  await purchases.close();
  await store.close();
  await catalog.close();
  return calls;
}

function answers(calls: readonly Call[]): number {
  return new Set(calls.flatMap((call) => (call.kind === 'answered' ? call.ids : []))).size;
}

t.test('when copies are sold, then no answer leaves before its fdatasync', async (t) => {
  const folders = t.testdir({ whole: {}, mutant: {} });
  const { catalog, order } = await buyInProcess(join(folders, 'whole'), false);
  t.equal(answers(catalog), 200);
  t.equal(answers(order), 200);
  t.same(answeredTooSoon(catalog, journal), []);
  t.same(answeredTooSoon(order, log), []);

  const mutant = await buyInProcess(join(folders, 'mutant'), true);
  t.not(answeredTooSoon(mutant.catalog, journal).length, 0, 'a mutant is caught at the journal');
  t.not(answeredTooSoon(mutant.order, log).length, 0, 'and at the order log');
});

/** Why the system calls of processes cannot be watched here; false when they can. */
function whyNoTrace(): string | false {
  if (spawnSync('strace', ['-V']).status !== 0) return 'there is no strace here';
  const tried = spawnSync('strace', ['-o', '/dev/null', '-e', 'trace=fdatasync', 'true']);
  return tried.status === 0 ? false : 'strace may not trace here';
}

/** Watches a process until it ends; resolves once nothing escapes any more. */
async function trace(pid: number, output: string) {
  const calls = 'trace=pwrite64,pwritev,write,writev,fsync,fdatasync';
  const args = ['-f', '-y', '-s', '1000000', '-e', calls, '-o', output, '-p', String(pid)];
  const child = spawn('strace', args, { stdio: ['ignore', 'ignore', 'pipe'] });
  const ended = new Promise((resolve) => child.once('close', resolve));
  await new Promise<void>((resolve, reject) => {
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      if (text.includes('attached')) resolve();
    });
    child.once('close', () => reject(new Error('strace could not attach')));
  });
  return { ended, end: () => child.kill('SIGKILL') };
}

const skip = whyNoTrace();

t.test(
  'when system calls are watched, then fdatasync comes first there too',
  { skip },
  async (t) => {
    const folders = t.testdir({ data: {}, traces: {} });
    const shop = await launchShop({ dataDir: join(folders, 'data'), env: { LOG_LEVEL: 'error' } });
    t.teardown(() => shop.kill());
    const body = { quantity: copies };
    await ask({ request: `POST ${shop.urls.catalog}/update/1`, body });
    const output = (name: string) => join(folders, 'traces', name);
    const tracers = [];
    for (const name of ['catalog', 'order'] as const) {
      const tracer = await trace(shop.service(name).pid, output(name));
      t.teardown(() => tracer.end());
      tracers.push(tracer);
    }
    const keys = new Set(Array.from({ length: 200 }, () => randomUUID()));
    await forEachOf(keys, 10, async (key) => {
      const { status } = await ask({ request: `POST ${shop.urls.gateway}/purchase/1`, key });
      if (status !== 200) t.fail(`a purchase was answered ${status}`);
    });
    await shop.stop();
    await Promise.all(tracers.map(({ ended }) => ended));
    for (const [name, file] of [
      ['catalog', journal],
      ['order', log],
    ] as const) {
      const calls = readTrace(readFileSync(output(name), 'utf8'), keys);
      t.equal(answers(calls), keys.size, `${name}: all answers are seen`);
      t.same(answeredTooSoon(calls, file), [], name);
      const unsynced = calls.filter(({ kind }) => kind !== 'synced');
      t.not(
        answeredTooSoon(unsynced, file).length,
        0,
        `${name}: without a sync it is seen to fail`,
      );
    }
  },
);
