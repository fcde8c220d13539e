import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { launchShop, type ServiceName, type Shop, type ShopOptions } from '../src/index.js';
import { type Answer, ask as askOnce, field } from './crash/ask.js';
import { listOrders } from './crash/holdings.js';
import { newDatabases, stores } from './stores.js';

const outOfStock = { message: 'Out of stock' };
const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}$/;

async function open(
  t: Test,
  dataDir = t.testdir(),
  databases: ShopOptions['databases'] = {},
): Promise<Shop> {
  const shop = await launchShop({ dataDir, databases, env: { LOG_LEVEL: 'warn' } });
  t.teardown(() => shop.kill());
  return shop;
}

function ask(request: string, body?: object, key?: string): Promise<Answer> {
  return askOnce({ request, ...(body && { body }), ...(key !== undefined && { key }) });
}

/** The order ids of a book's rows in the order log, as a person would find them there. */
function soldIn(log: string, itemId: number): string[] {
  const rows = log.trimEnd().split('\n').slice(1);
  const ofBook = rows.filter((row) => row.split(',')[1] === String(itemId));
  return ofBook.map((row) => row.match(/[0-9a-f-]{36}/)?.[0] ?? row);
}

/** What is wrong with the books of a shop: every copy stocked is either left or sold once. */
function contradictions(stocked: number, remaining: unknown, sold: readonly string[]): string[] {
  const twice = sold.filter((id, place) => sold.indexOf(id) !== place);
  const found = twice.map((id) => `order ${id} is logged twice`);
  if (stocked !== Number(remaining) + sold.length) {
    found.push(`${stocked} stocked, but ${remaining} left and ${sold.length} sold`);
  }
  return found;
}

/** The order ids of a book: from the file, or where it is none, as the keeper is shown them. */
async function soldOf(
  shop: Shop,
  log: string | undefined,
  itemId: number,
): Promise<readonly string[]> {
  if (log !== undefined) return soldIn(readFileSync(log, 'utf8'), itemId);
  const ofBook = (await listOrders(shop)).filter((row) => row.itemId === itemId);
  return ofBook.map(({ orderId }) => orderId);
}

async function isConserved(
  t: Test,
  { shop, log }: { shop: Shop; log: string | undefined },
  itemId: number,
  stocked: number,
) {
  const { body } = await ask(`GET ${shop.urls.gateway}/info/${itemId}`);
  const sold = await soldOf(shop, log, itemId);
  t.same(contradictions(stocked, field(body, 'quantity'), sold), []);
  t.match((await ask(`GET ${shop.urls.order}/audit`)).body, { balanced: true, pending: 0 });
}

const victims: [ServiceName, itemId: number][] = [
  ['gateway', 1],
  ['order', 2],
  ['catalog', 3],
];

t.test('when the books do not add up, then the checker says so', async (t) => {
  t.same(contradictions(3, 1, ['a', 'b']), []);
  t.same(contradictions(3, 0, ['a', 'b']), ['3 stocked, but 0 left and 2 sold']);
  t.same(contradictions(3, 1, ['a', 'a']), ['order a is logged twice']);
});

/** A buyer who does not give up: the same request with the same key until there is an answer. */
async function buyForSure(shop: Shop, itemId: number): Promise<Answer> {
  const key = randomUUID();
  for (let attempt = 0; attempt < 2000; attempt += 1) {
    const answer = await ask(`POST ${shop.urls.gateway}/purchase/${itemId}`, undefined, key).catch(
      () => undefined,
    );
    if (answer !== undefined && answer.status < 500) return answer;
    await sleep(10);
  }
  throw new Error('The buyer asked 2000 times in vain.');
}

// Opening a shop takes longer than asking it; those that need no shop of their own share one.
for (const store of stores) {
  t.test(`a shop in ${store}`, async (t) => {
    const dataDir = t.testdir();
    const shop = await open(t, dataDir, await newDatabases(store));
    const log = store === 'files' ? join(dataDir, 'order_log.csv') : undefined;

    t.test(
      'when a shop opens where there is nothing, then it is the shop of the report',
      async (t) => {
        const distributed = [
          { id: 1, title: 'How to get a good grade in DOS in 40 minutes a day' },
          { id: 2, title: 'RPCs for Noobs' },
        ];
        const undergrad = [
          { id: 3, title: 'Xen and the Art of Surviving Undergraduate School' },
          { id: 4, title: 'Cooking for the Impatient Undergrad' },
        ];
        const book = { title: 'RPCs for Noobs', topic: 'distributed', quantity: 2, price: 50 };
        const topics = [
          { topic: 'distributed', titles: 2 },
          { topic: 'undergrad', titles: 2 },
        ];
        const rows: [path: string, body: unknown][] = [
          ['/search/distributed', distributed],
          ['/search/DistriButed', distributed],
          ['/search/undergrad', undergrad],
          ['/search/distributed?limit=1&after=1', distributed.slice(1)],
          ['/search/dist', []],
          ['/info/1', { ...distributed[0], topic: 'distributed', quantity: 10, price: 30 }],
          ['/info/2', { id: 2, ...book }],
          ['/info/3', { ...undergrad[0], topic: 'undergrad', quantity: 3, price: 40 }],
          ['/info/4', { ...undergrad[1], topic: 'undergrad', quantity: 6, price: 35 }],
          ['/topics', topics],
          ['/topics?after=distributed', topics.slice(1)],
        ];
        for (const service of ['gateway', 'catalog'] as const) {
          for (const [path, body] of rows) {
            const answer = await ask(`GET ${shop.urls[service]}${path}`);
            t.equal(answer.status, 200, `${service} ${path}`);
            t.same(answer.body, body);
            t.equal(answer.headers.get('cache-control'), 'no-cache');
            const etag = answer.headers.get('etag') ?? '';
            const again = await fetch(`${shop.urls[service]}${path}`, {
              headers: { 'if-none-match': etag },
            });
            t.equal(again.status, 304);
          }
          const paged = await ask(`GET ${shop.urls[service]}/search/distributed?limit=1`);
          t.equal(paged.headers.get('link'), '</search/distributed?after=1&limit=1>; rel="next"');
        }
        const { gateway, order } = shop.urls;
        const bought = await ask(`POST ${gateway}/purchase/2`);
        t.equal(bought.status, 200);
        const orderId = String(field(field(bought.body, 'order'), 'order_id'));
        t.match(orderId, uuid);
        const row = { order_id: orderId, item_id: 2, title: 'RPCs for Noobs', price: 50 };
        const timestamp = String(field(field(bought.body, 'order'), 'timestamp'));
        t.match(timestamp, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
        const bill = { message: 'bought book RPCs for Noobs', order: { ...row, timestamp } };
        t.same(bought.body, bill);
        t.equal(bought.headers.get('cache-control'), 'no-store');
        for (const url of [gateway, order]) {
          t.same((await ask(`GET ${url}/orders/${orderId}`)).body, bill.order);
        }
        t.same((await ask(`GET ${gateway}/info/2`)).body, { id: 2, ...book, quantity: 1 });
        t.match((await ask(`POST ${gateway}/purchase/2`, {})).body, { message: bill.message });
        for (const url of [gateway, order]) {
          const soldOut = await ask(`POST ${url}/purchase/2`);
          t.equal(soldOut.status, 200, 'being sold out is an answer');
          t.same(soldOut.body, outOfStock);
        }
        await isConserved(t, { shop, log }, 2, 2);
      },
    );

    t.test('when a request is wrong, then the problem is the same at every service', async (t) => {
      const { gateway, catalog, order } = shop.urls;
      const nobody = '00000000-0000-4000-8000-000000000000';
      const rows: [request: string, status: number, code: string, body?: object][] = [
        ...['3.7', '0x10', '-1', '9007199254740993', 'two'].flatMap(
          (id): [string, number, string][] => [
            [`GET ${gateway}/info/${id}`, 400, 'malformed_request'],
            [`GET ${catalog}/info/${id}`, 400, 'malformed_request'],
            [`POST ${gateway}/purchase/${id}`, 400, 'malformed_request'],
            [`POST ${order}/purchase/${id}`, 400, 'malformed_request'],
          ],
        ),
        ...[gateway, catalog].map((url): [string, number, string] => [
          `GET ${url}/info/99`,
          404,
          'book_not_found',
        ]),
        ...[gateway, order].flatMap((url): [string, number, string, object?][] => [
          [`POST ${url}/purchase/99`, 404, 'book_not_found'],
          [`GET ${url}/orders/${nobody}`, 404, 'order_not_found'],
          [`GET ${url}/orders/7`, 400, 'malformed_request'],
          [`POST ${url}/purchase/1`, 400, 'malformed_request', { quantity: 2 }],
          [`GET ${url}/purchase/1`, 405, 'method_not_allowed'],
        ]),
        ...[gateway, catalog, order].map((url): [string, number, string] => [
          `GET ${url}/nowhere`,
          404,
          'route_not_found',
        ]),
        [`GET ${gateway}/search/distributed?limit=0`, 400, 'malformed_request'],
        [`POST ${catalog}/update/2`, 400, 'malformed_request', {}],
        [`POST ${catalog}/update/2`, 400, 'malformed_request', { quantity: 1, quantity_delta: 1 }],
        [`POST ${catalog}/update/2`, 400, 'malformed_request', { price: 1.999 }],
        [`POST ${catalog}/update/2`, 400, 'malformed_request', { quantity: '3' }],
        [`POST ${catalog}/update/2`, 409, 'stock_below_zero', { quantity_delta: -3 }],
        [`POST ${catalog}/update/99`, 404, 'book_not_found', { quantity: 1 }],
      ];
      for (const [request, status, code, body] of rows) {
        const answer = await ask(request, body);
        t.equal(answer.status, status, `${request} ${JSON.stringify(body) ?? ''}`);
        t.match(answer.body, { status, code, title: String, detail: String, request_id: String });
        t.match(answer.headers.get('content-type'), /^application\/problem\+json/);
      }
    });

    t.test('when the keeper changes a book, then every reader sees it at once', async (t) => {
      const { gateway, catalog } = shop.urls;
      const title = 'How to get a good grade in DOS in 40 minutes a day';
      const book = { id: 1, title, topic: 'distributed', quantity: 10, price: 30 };
      const changes: [change: object, after: object][] = [
        [{ price: 45.5 }, { ...book, price: 45.5 }],
        [{ quantity: 20 }, { ...book, price: 45.5, quantity: 20 }],
        [
          { quantity_delta: -3, price: 19.99 },
          { ...book, price: 19.99, quantity: 17 },
        ],
      ];
      for (const [change, after] of changes) {
        await ask(`GET ${gateway}/info/1`);
        const answer = await ask(`POST ${catalog}/update/1`, change);
        t.equal(answer.status, 200);
        t.same(answer.body, { message: 'Updated successfully', book: after });
        t.same((await ask(`GET ${gateway}/info/1`)).body, after);
      }
      const added = {
        title: 'Distributed Snapshots',
        topic: 'distributed',
        quantity: 1,
        price: 12,
      };
      await ask(`GET ${gateway}/search/distributed`);
      const answer = await ask(`POST ${catalog}/books`, added);
      t.equal(answer.status, 201);
      t.same(answer.body, { message: 'Book added', book: { id: 5, ...added } });
      t.same(field((await ask(`GET ${gateway}/search/distributed`)).body, '2'), {
        id: 5,
        title: added.title,
      });
    });

    t.test('when a purchase is repeated with its key, then it is the same purchase', async (t) => {
      const { gateway, order } = shop.urls;
      const key = randomUUID();
      const first = await ask(`POST ${gateway}/purchase/3`, undefined, key);
      t.match(first.body, { order: { order_id: key, item_id: 3 } });
      t.equal(first.headers.get('idempotency-replayed'), null);
      for (const [url, form] of [
        [gateway, key],
        [gateway, `"${key.toUpperCase()}"`],
        [order, key],
      ]) {
        const again = await ask(`POST ${url}/purchase/3`, undefined, form);
        t.same(again.body, first.body);
        t.equal(again.headers.get('idempotency-replayed'), 'true');
      }
      const other = await ask(`POST ${gateway}/purchase/4`, undefined, key);
      t.equal(other.status, 422);
      t.match(other.body, { code: 'key_reused' });
      await isConserved(t, { shop, log }, 3, 3);
      await isConserved(t, { shop, log }, 4, 6);
    });

    t.test('when 500 people want 100 copies, then 100 get one', async (t) => {
      await ask(`POST ${shop.urls.catalog}/update/4`, { quantity: 100 });
      const buyers = Array.from({ length: 500 }, () => ask(`POST ${shop.urls.gateway}/purchase/4`));
      const answers = await Promise.all(buyers);
      t.ok(answers.every(({ status }) => status === 200));
      const soldOut = answers.filter(({ body }) => field(body, 'message') === outOfStock.message);
      t.equal(soldOut.length, 400);
      t.ok(soldOut.every(({ body }) => JSON.stringify(body) === JSON.stringify(outOfStock)));
      const ids = answers.map(({ body }) => field(field(body, 'order'), 'order_id'));
      const bought = new Set(ids.filter((id) => id !== undefined));
      t.equal(bought.size, 100);
      const logged = await soldOf(shop, log, 4);
      t.same(new Set(logged), bought, 'the log holds exactly the orders that were answered');
      t.match((await ask(`GET ${shop.urls.gateway}/info/4`)).body, { quantity: 0 });
      await isConserved(t, { shop, log }, 4, 100);
    });

    for (const [victim, itemId] of victims) {
      t.test(
        `when the ${victim} is killed amid sales, then no copy is lost or doubled`,
        async (t) => {
          const soldBefore = (await soldOf(shop, log, itemId)).length;
          await ask(`POST ${shop.urls.catalog}/update/${itemId}`, { quantity: 100 });
          const crowd = () => Array.from({ length: 80 }, () => buyForSure(shop, itemId));
          const first = crowd();
          await Promise.race(first);
          const second = crowd();
          await shop.service(victim).kill();
          await shop.service(victim).start();
          const answers = await Promise.all([...first, ...second]);
          const bought = answers.filter(({ body }) => field(body, 'order') !== undefined);
          t.equal(bought.length, 100);
          t.ok(answers.every(({ status }) => status === 200));
          await shop.ready();
          await isConserved(t, { shop, log }, itemId, 100 + soldBefore);
        },
      );
    }
  });
}

t.test('when a shop closes and opens again, then all is as it was', async (t) => {
  const dataDir = t.testdir();
  const shop = await open(t, dataDir);
  const { gateway, catalog } = shop.urls;
  const key = randomUUID();
  const bought = await ask(`POST ${gateway}/purchase/4`, undefined, key);
  await ask(`POST ${catalog}/update/1`, { price: 29.5 });
  const exits = await shop.stop();
  t.same(
    [...exits.values()].map(({ code }) => code),
    [0, 0, 0],
  );
  const file = readFileSync(join(dataDir, 'catalog_data.csv'), 'utf8');
  t.match(file, /^1,How to get a good grade in DOS in 40 minutes a day,distributed,10,29\.5$/m);
  t.match(file, /^4,Cooking for the Impatient Undergrad,undergrad,5,35$/m);
  const log = join(dataDir, 'order_log.csv');
  t.match(readFileSync(log, 'utf8'), `Z,4,Cooking for the Impatient Undergrad,${key},35,1,`);

  await shop.start();
  const again = await ask(`POST ${gateway}/purchase/4`, undefined, key);
  t.same(again.body, bought.body);
  t.equal(again.headers.get('idempotency-replayed'), 'true');
  t.match((await ask(`GET ${gateway}/info/1`)).body, { price: 29.5 });
  await isConserved(t, { shop, log }, 4, 6);
});

t.test('when the catalog falls silent, then each service names it, and at once', async (t) => {
  const shop = await open(t, t.testdir());
  const readiness = (name: ServiceName) => ask(`GET ${shop.urls[name]}/health/ready`);
  t.match((await readiness('order')).body, {
    dependencies: { catalog: 'ok', recovery: 'ok', storage: 'ok' },
  });
  shop.service('catalog').pause();
  // What it knew a moment ago is still told for that moment. The first answer after that has to
  // tell: what the order service waits for anyway would take seconds more.
  let order = await readiness('order');
  while (order.status === 200) order = await readiness('order');
  t.equal(order.status, 503);
  t.match(order.body, { detail: /^catalog: GET \/health\/ready/ });
  t.notMatch(order.body, { detail: /storage:/ });
  const gateway = await readiness('gateway');
  t.match(gateway.body, { detail: /^catalog: .*; order: catalog: GET \/health\/ready/ });
  shop.service('catalog').resume();
  await shop.ready();
});

t.test('when a folder is in use, then no second shop opens in it', async (t) => {
  const dataDir = t.testdir();
  const shop = await open(t, dataDir);
  const catalog = shop.service('catalog');
  const second = { name: 'StartError', message: /catalog.* is in use by another process/ };
  await t.rejects(launchShop({ dataDir }), second);
  catalog.pause();
  await t.rejects(launchShop({ dataDir }), second, 'a lock does not go away with a pause');
  catalog.resume();
  t.match((await ask(`POST ${shop.urls.gateway}/purchase/1`)).body, { order: { item_id: 1 } });
  await shop.kill();
  const next = await open(t, dataDir);
  t.match((await ask(`GET ${next.urls.gateway}/info/1`)).body, { quantity: 9 });
});

t.test('when a shop cannot open, then a sentence without a stack says why', async (t) => {
  const dataDir = t.testdir({ stranger: {} });
  const shop = await open(t, dataDir);
  await ask(`POST ${shop.urls.gateway}/purchase/1`);
  await shop.stop();
  // The catalog of this folder never sold what the order log of the other one knows.
  const refused = (options: Partial<Parameters<typeof launchShop>[0]>, message: RegExp) =>
    t.rejects(launchShop({ dataDir, ...options }), { name: 'StartError', message });
  await refused(
    { dataDirs: { catalog: join(dataDir, 'stranger') } },
    /^The order service cannot start: the order log belongs to catalog [^\n]*$/,
  );
  await refused(
    { env: { DATABASE_URL: 'postgres://a' } },
    /^The catalog did not start: DATABASE_URL is a secret that is not shown, [^\n]*$/,
  );
  await refused({ env: { PUBLIC_URL: 'a' } }, /^PUBLIC_URL is "a", but "a" is no address[^\n]*$/);
});

t.test('when the launcher dies while it opens, then the folder is free', async (t) => {
  const main = fileURLToPath(new URL('../dist/main.js', import.meta.url));
  const dataDir = t.testdir();
  const ports = { GATEWAY_PORT: '0', CATALOG_PORT: '0', ORDER_PORT: '0' };
  for (const moment of ['catalog', 'Bazar is open']) {
    const env = { ...process.env, ...ports, DATA_DIR: dataDir };
    const child = spawn(process.execPath, [main], { env, stdio: ['ignore', 'pipe', 'inherit'] });
    for await (const text of child.stdout) if (String(text).includes(moment)) break;
    child.kill('SIGKILL');
    let shop: Shop | undefined;
    for (let round = 0; round < 60 && shop === undefined; round += 1) {
      shop = await launchShop({ dataDir }).catch(() => undefined);
    }
    t.ok(shop, `killed at "${moment}"`);
    await shop?.stop();
  }
});
