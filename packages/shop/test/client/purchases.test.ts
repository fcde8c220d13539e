import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createAdmin, createBazar } from '@bazar/client';
import { createRandom, readMeasure } from '@bazar/simulation';
import t from 'tap';
import { Agent, fetch as undiciFetch } from 'undici';
import { launchShop } from '../../src/index.js';
import { openHostileLine } from './hostile-line.js';

const seed = process.env['SEED'] ?? String(Date.now() % 2 ** 31);
const wanted = readMeasure('PURCHASES', process.env['PURCHASES'], 1000);
const buyers = 16;
const badShare = 0.2;
const stock = 1_000_000;

t.test('when every fifth connection fails, then every purchase is made exactly once', async (t) => {
  const dataDir = t.testdir();
  const books = [1, 2, 3].map((id) => `${id},Book ${id},a topic,${stock},${id}`);
  writeFileSync(
    join(dataDir, 'catalog_data.csv'),
    ['id,title,topic,quantity,price', ...books, ''].join('\n'),
  );
  const shop = await launchShop({ dataDir, env: { LOG_LEVEL: 'fatal' } });
  t.teardown(() => shop.kill());
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

  t.comment(`SEED=${seed} ${JSON.stringify(Object.fromEntries(line.seen))}, ${replayed} replayed`);
  t.equal(orders.length, wanted);
  t.equal(new Set(orders).size, wanted, 'no order is told twice');
  const rows = readFileSync(join(dataDir, 'order_log.csv'), 'utf8').trimEnd().split('\n').slice(1);
  const logged = rows.map((row) => row.match(/[0-9a-f-]{36}/)?.[0]);
  t.strictSame(logged.toSorted(), orders.toSorted(), 'the log has just these, each once');
  const { catalog: catalogUrl, order: orderUrl } = shop.urls;
  const audit = await createAdmin({ catalogUrl, orderUrl }).audit();
  t.match(audit, { balanced: true, sold: wanted, logged: wanted, pending: 0 });
  const troubled = [...line.seen].reduce(
    (sum, [what, n]) => sum + (what === 'connections' ? 0 : n),
    0,
  );
  t.ok(troubled >= (wanted * badShare) / 2, `${troubled} connections were treated badly`);
  t.ok(replayed > 0, 'some answers were lost on their way back');
});

t.test('when a client repeats under a fresh key, then the line shows it', async (t) => {
  // The same checks with a client that is broken: each attempt is a purchase of its own.
  const dataDir = t.testdir();
  writeFileSync(
    join(dataDir, 'catalog_data.csv'),
    `id,title,topic,quantity,price\n1,Book,a topic,${stock},1\n`,
  );
  const shop = await launchShop({ dataDir, env: { LOG_LEVEL: 'fatal' } });
  t.teardown(() => shop.kill());
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
  const rows =
    readFileSync(join(dataDir, 'order_log.csv'), 'utf8').trimEnd().split('\n').length - 1;
  t.ok(rows > told, `${rows} orders for ${told} purchases`);
});
