import { spawn } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createBazar } from '@bazar/client';
import t, { type Test } from 'tap';
import { launchShop } from '../src/launch.js';
import { StartError } from '../src/service.js';
import { ask } from './crash/ask.js';

async function backUp(...args: readonly string[]): Promise<{ code: number; says: string }> {
  const script = fileURLToPath(new URL('../dist/backup.js', import.meta.url));
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

t.test('when there can be no copy, then it is said why, and nothing is left', async (t) => {
  const folder = t.testdir({ taken: { 'order_log.csv': 'x' }, empty: {} });
  const refusals: [args: string[], says: RegExp][] = [
    [[], /Name the folder/],
    [[join(folder, 'taken'), folder], /taken is there already/],
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
