import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { createBazar } from '@bazar/client';
import { startPostgres } from '@bazar/simulation/postgres';
import t, { type Test } from 'tap';
import { createShop, launchShop, type Shop, type ShopOptions } from '../src/launch.js';

const server = await startPostgres();
t.teardown(() => server.remove());

/** The server takes any password; what matters here is that nobody is shown it. */
const withPassword = (url: string) => url.replace('bazar@', 'bazar:hunter2@');

type Databases = NonNullable<ShopOptions['databases']>;

interface Opened {
  readonly shop: Shop;
  readonly lines: string[];
  readonly dataDir: string;
}

async function open(t: Test, databases: Databases = {}): Promise<Opened> {
  const lines: string[] = [];
  const dataDir = t.testdir();
  const onLine = (_service: string, line: string) => void lines.push(line);
  const shop = await launchShop({ dataDir, databases, onLine });
  t.teardown(() => shop.stop());
  return { shop, lines, dataDir };
}

async function audit(shop: Shop) {
  const answer = await fetch(`${shop.urls.order}/audit`);
  return answer.json();
}

async function statusOf(url: string): Promise<number> {
  const answer = await fetch(`${url}/health/ready`);
  await answer.arrayBuffer();
  return answer.status;
}

/** Waits until a service says that it can work, or that it cannot. */
async function waitFor(url: string, status: number): Promise<void> {
  for (let count = 0; (await statusOf(url)) !== status; count += 1) {
    if (count === 300) throw new Error(`${url} does not come to ${status}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

t.test(
  'when the rows are in PostgreSQL, then every copy is sold once, whatever dies',
  async (t) => {
    const databases = {
      catalog: withPassword(await server.newDatabase()),
      order: withPassword(await server.newDatabase()),
    };
    const { shop, lines, dataDir } = await open(t, databases);
    const bazar = createBazar({ baseUrl: shop.urls.gateway });
    const purchases = await Promise.all(Array.from({ length: 14 }, () => bazar.purchase(1)));
    const sold = purchases.filter(({ result }) => result === 'sold');
    t.equal(sold.length, 10);
    t.match(await bazar.info(1), { quantity: 0 });
    t.match(await audit(shop), { balanced: true, sale: 10, sold: 10, logged: 10, pending: 0 });

    await server.kill();
    await waitFor(shop.urls.catalog, 503);
    await waitFor(shop.urls.order, 503);
    const refused = await fetch(`${shop.urls.order}/purchase/3`, { method: 'POST' });
    t.equal(refused.status, 503);
    const problem = await refused.text();
    t.match(JSON.parse(problem), { code: 'unavailable' });
    await server.start();
    await shop.ready();
    t.match(await bazar.purchase(3), { result: 'sold' }, 'selling resumes by itself');
    await shop.kill();
    await shop.start();
    const again = createBazar({ baseUrl: shop.urls.gateway });
    const [first] = sold;
    if (first?.result !== 'sold') throw new Error('none was sold');
    t.match(await again.order(first.order.order_id), first.order);
    t.match(await audit(shop), { balanced: true, sold: 11, logged: 11, pending: 0 });
    for (const file of ['catalog_data.csv', 'order_log.csv']) {
      t.notOk(existsSync(join(dataDir, file)), `no ${file}`);
    }
    const said = [...lines, problem].join('\n');
    t.match(said, /the database cannot be reached/);
    t.notMatch(said, /hunter2/, 'the password is in no line');
  },
);

t.test('when a database does not do, then the start ends with a sentence', async (t) => {
  const database = withPassword(await server.newDatabase());
  const lines: string[] = [];
  async function refusal(databases: Databases): Promise<string> {
    const onLine = (_service: string, line: string) => void lines.push(line);
    const shop = createShop({ dataDir: t.testdir(), databases, onLine });
    try {
      await shop.start();
      throw new TypeError('it started');
    } catch (error) {
      if (!(error instanceof Error) || error.name !== 'StartError') throw error;
      return error.message;
    } finally {
      await shop.stop();
    }
  }
  t.match(
    await refusal({ catalog: database, order: database }),
    /^The order service cannot start: the database .*belongs to the catalog service: give each a database of its own\.$/,
  );
  t.match(
    await refusal({ catalog: withPassword(server.url('nowhere')) }),
    /^The catalog service cannot start: the database nowhere at 127.0.0.1:\d+ cannot be used: there is/,
  );
  t.notMatch(lines.join('\n'), /hunter2|^ {4}at /m, 'neither a password nor a stack');
});

t.test(
  'when only the database of the orders is away, then nobody blames the catalog',
  async (t) => {
    const ofOrders = await startPostgres();
    t.teardown(() => ofOrders.remove());
    const { shop, lines } = await open(t, { order: await ofOrders.newDatabase() });
    const { order, catalog } = shop.urls;
    await ofOrders.kill();
    // The first answer has to tell: nobody has bought since.
    const answer = await fetch(`${order}/health/ready`);
    t.equal(answer.status, 503);
    const detail = await answer.text();
    t.match(detail, /storage: the database cannot be reached/);
    t.notMatch(detail, /catalog:|catalog cannot/);
    t.equal(await statusOf(catalog), 200);
    const isTold = () => lines.some((line) => /is not compared with the catalog/.test(line));
    while (!isTold()) await new Promise((resolve) => setTimeout(resolve, 100));
    t.match(
      lines.join('\n'),
      /not compared with the catalog: the order log cannot be read; trying/,
    );
    t.notMatch(lines.join('\n'), /the catalog cannot be asked/);
    await ofOrders.start();
    await waitFor(order, 200);
  },
);
