import { spawn } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  unlinkSync,
} from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createBazar } from '@bazar/client';
import { moveNoteName, nodeDisk, writeMoveNote } from '@bazar/storage';
import t, { type Test } from 'tap';
import { auditFiles } from '../src/conservation.js';
import { backUp as backUpHere } from '../src/copy.js';
import { launchShop } from '../src/launch.js';
import { StartError } from '../src/service.js';
import { ask } from './crash/ask.js';

const backUp = (...args: readonly string[]) => run('backup', args);

async function run(
  name: 'backup' | 'audit',
  args: readonly string[],
): Promise<{ code: number; says: string }> {
  const script = fileURLToPath(new URL(`../dist/${name}.js`, import.meta.url));
  const child = spawn('/usr/bin/env', ['-u', 'NODE_OPTIONS', process.execPath, script, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let says = '';
  for (const output of [child.stdout, child.stderr]) {
    output.setEncoding('utf8').on('data', (text: string) => {
      says += text;
    });
  }
  const code = await new Promise<number>((resolve) => child.once('close', resolve));
  return { code, says };
}

/** A shop of many copies, and buyers who write down what they were told was theirs. */
async function openBusy(t: Test, dataDir: string) {
  const shop = await launchShop({ dataDir, env: { LOG_LEVEL: 'error' } });
  t.teardown(() => shop.kill());
  const stocked = { request: `POST ${shop.urls.catalog}/update/1`, body: { quantity: 1_000_000 } };
  t.equal((await ask(stocked)).status, 200);
  const bazar = createBazar({ baseUrl: shop.urls.gateway });
  const bought: string[] = [];
  let isOpen = true;
  async function buy(): Promise<void> {
    while (isOpen) {
      const { order } = await bazar.purchase(1);
      if (order !== undefined) bought.push(order.order_id);
    }
  }
  const buyers = Promise.all(Array.from({ length: 8 }, buy));
  return {
    shop,
    bought,
    async close() {
      isOpen = false;
      await buyers;
    },
  };
}

t.test('when a shop that sells is copied, then the copy is a shop of that moment', async (t) => {
  const folder = t.testdir();
  const dataDir = join(folder, 'data');
  const busy = await openBusy(t, dataDir);
  const copies: { readonly to: string; readonly before: readonly string[] }[] = [];
  for (let round = 0; round < 5; round += 1) {
    const to = join(folder, `copy-${round}`);
    const goal = busy.bought.length + 300;
    while (busy.bought.length < goal) await new Promise((resolve) => setTimeout(resolve, 5));
    const before = [...busy.bought];
    const { code, says } = await backUp(to, dataDir);
    t.equal(code, 0, says);
    copies.push({ to, before });
  }
  await busy.close();
  await busy.shop.stop();
  for (const { to, before } of copies) {
    const shop = await launchShop({ dataDir: to, env: { LOG_LEVEL: 'error' } });
    t.match((await ask({ request: `GET ${shop.urls.order}/audit` })).body, { balanced: true });
    await shop.stop();
    const log = readFileSync(join(to, 'order_log.csv'), 'utf8');
    t.same(
      before.filter((id) => !log.includes(id)),
      [],
      'what was bought before is there',
    );
    t.ok(existsSync(join(to, 'catalog_data.csv')), 'and the file that people read');
  }
});

t.test(
  'when files are copied in the wrong order, then the start says why it refuses',
  async (t) => {
    const folder = t.testdir();
    const dataDir = join(folder, 'data');
    const busy = await openBusy(t, dataDir);
    const copy = join(folder, 'copy');
    mkdirSync(copy);
    const take = (kind: RegExp) => {
      for (const name of readdirSync(dataDir).filter((name) => kind.test(name))) {
        cpSync(join(dataDir, name), join(copy, name));
      }
    };
    // Without buyers the catalog's files are still for a moment, as a wrong copy can be lucky to be.
    await busy.close();
    take(/^catalog_(image|journal)/);
    const bazar = createBazar({ baseUrl: busy.shop.urls.gateway });
    for (let count = 0; count < 5; count += 1) await bazar.purchase(1);
    take(/^order_log\.(csv|catalog)$/);
    const refusal = await launchShop({ dataDir: copy, env: { LOG_LEVEL: 'error' } }).then(
      () => undefined,
      (error: unknown) => error,
    );
    t.type(refusal, StartError);
    t.match(String(refusal), /the order log has sales up to \d+, but the catalog knows only \d+/);
  },
);

/** The folder of a shop that has sold a copy of book 2, and was stopped. */
async function soldFolder(t: Test): Promise<string> {
  const dataDir = join(t.testdir(), 'data');
  const shop = await launchShop({ dataDir, env: { LOG_LEVEL: 'error' } });
  t.teardown(() => shop.kill());
  await createBazar({ baseUrl: shop.urls.gateway }).purchase(2);
  await shop.stop();
  return dataDir;
}

t.test('when a shop was moved to PostgreSQL, then its files are no backup', async (t) => {
  const dataDir = await soldFolder(t);
  const copy = join(dataDir, '..', 'copy');
  const moved = { id: 'x', to: ['db:5432/catalog', 'db:5432/order'], isDone: true };
  await writeMoveNote(nodeDisk, dataDir, moved);
  const done = await backUp(copy, dataDir);
  t.equal(done.code, 1, done.says);
  t.match(done.says, /was moved to PostgreSQL \(db:5432\/catalog and .*: back up these databases/);
  t.match(await run('audit', [dataDir]), {
    code: 0,
    says: /A start would say: .* was moved to PostgreSQL \(db:5432\/catalog and db:5432\/order\)/,
  });

  await writeMoveNote(nodeDisk, dataDir, { ...moved, isDone: false });
  const begun = await backUp(copy, dataDir);
  t.equal(begun.code, 1);
  t.match(begun.says, /has not come to its end: run it again/);

  unlinkSync(join(dataDir, moveNoteName));
  const folders = { catalog: dataDir, order: dataDir };
  const meanwhile = backUpHere(folders, copy, async (copies) => {
    await writeMoveNote(nodeDisk, dataDir, moved);
    return auditFiles(copies);
  });
  await t.rejects(meanwhile, /was moved to PostgreSQL/, 'while it was copied, too');
  t.same(readdirSync(join(dataDir, '..')), ['data'], 'and nothing is left');
});

t.test('when a shop has two folders, then each is known by what it holds', async (t) => {
  const catalog = await soldFolder(t);
  const order = join(catalog, '..', 'orders');
  mkdirSync(order);
  for (const name of readdirSync(catalog).filter((name) => name.startsWith('order'))) {
    renameSync(join(catalog, name), join(order, name));
  }
  for (const [index, pair] of [
    [catalog, order],
    [order, catalog],
  ].entries()) {
    const { code, says } = await backUp(join(catalog, '..', `copy-${index}`), ...pair);
    t.equal(code, 0, says);
    t.match(says, /4 books, 20 copies left and 1 sold/);
    const audit = await run('audit', pair);
    t.equal(audit.code, 0, audit.says);
  }
});

t.test('when there can be no copy, then it is said why, and nothing is left', async (t) => {
  const folder = t.testdir({ taken: { 'order_log.csv': 'x' }, empty: {} });
  const refusals: [args: string[], says: RegExp][] = [
    [[], /Name the folder/],
    [['1', '2', '3', '4'], /or two: that of the catalog and that of the order log/],
    [[join(folder, 'taken'), folder], /^Nothing was backed up: .*taken is there already/],
    [[join(folder, 'copy'), join(folder, 'empty')], /empty holds no shop/],
    [[join(folder, 'copy'), join(folder, 'nowhere')], /there is no folder .*nowhere/],
  ];
  for (const [args, expected] of refusals) {
    const { code, says } = await backUp(...args);
    t.equal(code, 1);
    t.match(says, expected);
  }
  t.same(readdirSync(folder).toSorted(), ['empty', 'taken']);
});
