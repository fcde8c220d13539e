import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createAdmin, createBazar } from '@bazar/client';
import { createRandom, readMeasure } from '@bazar/simulation';
import t, { type Test } from 'tap';
import { Agent, fetch as undiciFetch } from 'undici';
import { launchShop } from '../../src/index.js';
import { listOrders } from '../crash/holdings.js';
import { newDatabases, type Store, stores } from '../stores.js';
import { openHostileLine } from './hostile-line.js';

const seed = process.env['SEED'] ?? String(Date.now() % 2 ** 31);
const wanted = readMeasure('PURCHASES', process.env['PURCHASES'], 1000);
const buyers = 16;
const badShare = 0.2;
const stock = 1_000_000;

/** A shop with as many copies as anybody may want. */
async function open(t: Test, store: Store) {
  const dataDir = t.testdir();
  const databases = await newDatabases(store);
  const shop = await launchShop({ dataDir, databases, env: { LOG_LEVEL: 'fatal' } });
  t.teardown(() => shop.kill());
  const admin = createAdmin({ catalogUrl: shop.urls.catalog, orderUrl: shop.urls.order });
  for (const id of [1, 2, 3]) await admin.update(id, { quantity: stock });
  return { shop, admin, log: store === 'files' ? join(dataDir, 'order_log.csv') : undefined };
}

/** The ids of all orders: from the file, or where it is none, as the keeper is shown them. */
async function ordersOf({ shop, log }: Awaited<ReturnType<typeof open>>): Promise<string[]> {
  if (log === undefined) return (await listOrders(shop)).map(({ orderId }) => orderId);
  const rows = readFileSync(log, 'utf8').trimEnd().split('\n').slice(1);
  return rows.map((row) => row.match(/[0-9a-f-]{36}/)?.[0] ?? row);
}

for (const store of stores) {
  t.test(
    `when every fifth connection fails, then every purchase in ${store} is made once`,
    async (t) => {
      const opened = await open(t, store);
      const { shop, admin } = opened;
      const random = createRandom(seed);
      const line = await openHostileLine(new URL(shop.urls.gateway), random.fork('line'), badShare);
      t.teardown(() => line.close());
      // A connection for each request: else the few that are well would carry them all.
      const dispatcher = new Agent({ pipelining: 0 });
      t.teardown(() => dispatcher.destroy());
      const bazar = createBazar({
        baseUrl: line.url,
        maxRetries: 10,
        timeoutMs: 60_000,
        fetch: (url, init) => undiciFetch(url, { ...init, dispatcher }),
      });

      const orders: string[] = [];
      let replayed = 0;
      let begun = 0;
      async function buy(): Promise<void> {
        while (begun < wanted) {
          begun += 1;
          const purchase = await bazar.purchase(random.pick([1, 2, 3]));
          if (purchase.result !== 'sold') throw new Error(`sold out of ${stock} copies`);
          orders.push(purchase.order.order_id);
          if (purchase.replayed) replayed += 1;
        }
      }
      await Promise.all(Array.from({ length: buyers }, buy));

      t.comment(
        `SEED=${seed} ${JSON.stringify(Object.fromEntries(line.seen))}, ${replayed} replayed`,
      );
      t.equal(orders.length, wanted);
      t.equal(new Set(orders).size, wanted, 'no order is told twice');
      const logged = await ordersOf(opened);
      t.strictSame(logged.toSorted(), orders.toSorted(), 'the log has just these, each once');
      t.match(await admin.audit(), { balanced: true, sold: wanted, logged: wanted, pending: 0 });
      const troubled = [...line.seen].reduce(
        (sum, [what, n]) => sum + (what === 'connections' ? 0 : n),
        0,
      );
      t.ok(troubled >= (wanted * badShare) / 2, `${troubled} connections were treated badly`);
      t.ok(replayed > 0, 'some answers were lost on their way back');
    },
  );
}

t.test('when a client repeats under a fresh key, then the line shows it', async (t) => {
  // The same checks with a client that is broken: each attempt is a purchase of its own.
  const opened = await open(t, 'files');
  const { shop } = opened;
  const random = createRandom(`${seed} broken`);
  const line = await openHostileLine(new URL(shop.urls.gateway), random, 0.5);
  t.teardown(() => line.close());
  const dispatcher = new Agent({ pipelining: 0 });
  t.teardown(() => dispatcher.destroy());
  let told = 0;
  const purchases = Array.from({ length: 400 }, async () => {
    for (let attempt = 0; attempt < 10; attempt += 1) {
      const headers = { 'idempotency-key': random.uuid() };
      const answer = await undiciFetch(`${line.url}/purchase/1`, {
        method: 'POST',
        headers,
        dispatcher,
      })
        .then((response) => response.text())
        .catch(() => undefined);
      if (answer === undefined) continue;
      told += 1;
      return;
    }
  });
  await Promise.all(purchases);
  const orders = await ordersOf(opened);
  t.ok(orders.length > told, `${orders.length} orders for ${told} purchases`);
});
