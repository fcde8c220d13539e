import { once } from 'node:events';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import {
  buildCatalog,
  createCatalog,
  openCsvStore as openCatalogStore,
  withoutGateways,
} from '@bazar/catalog';
import { createCaller } from '@bazar/client/caller';
import { checkResponses } from '@bazar/client/check';
import { injectTransport } from '@bazar/client/inject';
import { type Contract, Failure, health, order, orderAdmin, problemOf } from '@bazar/contracts';
import { catalogInternal, orderInternal } from '@bazar/contracts/internal';
import { nodeDisk } from '@bazar/storage';
import t, { type Test } from 'tap';
import { buildOrder } from '../src/app.js';
import { connectCatalogs } from '../src/catalogs.js';
import { readOrderConfig } from '../src/config.js';
import { createPurchases } from '../src/purchase.js';
import { openCsvStore } from '../src/store/csv.js';
import { faultyDisk, withoutSync } from './faulty-disk.js';

const base = t.testdir();
const tokens = { SERVICE_TOKEN: 'service-token-0123456789', ADMIN_TOKEN: 'admin-token-0123456789' };
const admin = { authorization: `Bearer ${tokens.ADMIN_TOKEN}` };
const service = { authorization: `Bearer ${tokens.SERVICE_TOKEN}` };
const key = '0190a6f0-0000-7abc-8def-0123456789ab';
const books =
  'id,title,topic,quantity,price\n1,Dune,x,9,10\n2,RPCs for Noobs,x,2,50\n3,Tao,y,0,30.5\n';
const log = () => {};

/** The order service in front of a real catalog service, all hops as over HTTP. */
async function open(
  t: Test,
  env: NodeJS.ProcessEnv = {},
  isAskedTwice = false,
  wires = { catalog: async () => {} },
  now = () => performance.now(),
) {
  const folder = mkdtempSync(join(base, 'shop-'));
  writeFileSync(join(folder, 'catalog_data.csv'), books);
  const { disk, crash } = faultyDisk(withoutSync(nodeDisk));
  const onBroken = (error: Error) => t.fail('a disk broke', { error });
  const catalogStore = await openCatalogStore({
    disk,
    folder,
    now: () => Date.UTC(2024, 4, 1, 12),
    after: () => () => {},
    newId: () => '3f2b1c00-1111-4222-8333-444455556666',
    log: () => {},
    onBroken,
  });
  const config = readOrderConfig({ LOG_LEVEL: 'silent', ...env });
  const catalog = buildCatalog(
    createCatalog({ store: catalogStore, leases: withoutGateways, after: () => () => {} }),
    {
      config,
    },
  );
  const catalogs = createCaller(catalogInternal, injectTransport(catalog), {
    check: checkResponses(catalogInternal),
    headers: config.SERVICE_TOKEN ? { authorization: `Bearer ${config.SERVICE_TOKEN}` } : {},
  });
  const store = await openCsvStore({ disk, folder, monotonic: () => 0, log: () => {}, onBroken });
  const purchases = createPurchases({
    store,
    async sell(operations) {
      await wires.catalog();
      const call = () => catalogs.updates({ body: { updates: [...operations] } });
      // As if the answer of one catalog had been lost, and another one had been asked.
      if (isAskedTwice) await call();
      return (await call()).body.outcomes;
    },
    assertOpen: () => undefined,
    now,
  });
  const states = { catalog: 'ok' };
  const audit = {
    store,
    readFeed: async (after: number, limit: number) =>
      (await catalogs.operations({ query: { after, limit } })).body,
    readTotals: async (after: number, limit: number) =>
      (await catalogs.totals({ query: { limit, ...(after >= 0 && { after }) } })).body,
  };
  const app = buildOrder(purchases, audit, { config, ready: () => states });
  t.teardown(async () => {
    await app.close();
    await catalog.close();
    await crash();
  });
  /** Calls that check every success against the contract. */
  const callerOf = <const C extends Contract>(contract: C, headers = {}) =>
    createCaller(contract, injectTransport(app), { check: checkResponses(contract), headers });
  return { app, catalog, purchases, states, store, callerOf };
}

const post = (url: string, rest: object = {}) => ({ method: 'POST' as const, url, ...rest });
const bought = {
  order_id: key,
  item_id: 2,
  title: 'RPCs for Noobs',
  price: 50,
  timestamp: '2024-05-01T12:00:00.000Z',
};

t.test('when books are bought, then the answers are exactly the report’s', async (t) => {
  const { app } = await open(t);
  const buy = { headers: { 'idempotency-key': key } };
  const first = await app.inject(post('/purchase/2', buy));
  t.equal(first.statusCode, 200);
  t.equal(first.body, JSON.stringify({ message: 'bought book RPCs for Noobs', order: bought }));
  t.match(first.headers, {
    'content-type': 'application/json; charset=utf-8',
    'cache-control': 'no-store',
  });
  t.notOk(first.headers['idempotency-replayed']);
  for (const again of [key, `"${key}"`, key.toUpperCase(), `"${key.toUpperCase()}"`]) {
    const { body, headers } = await app.inject(
      post('/purchase/2', { headers: { 'idempotency-key': again } }),
    );
    t.equal(body, first.body, again);
    t.equal(headers['idempotency-replayed'], 'true');
  }
  const keyless = (await app.inject(post('/purchase/2', { payload: {} }))).json();
  t.match(keyless.order.order_id, /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab]/, 'a UUIDv7');
  const none = await app.inject(post('/purchase/2'));
  t.match(none, { statusCode: 200, body: '{"message":"Out of stock"}' });
  const sold = { headers: { 'idempotency-key': key.replace('abc', 'abd') } };
  t.match(await app.inject(post('/purchase/3', sold)), { body: '{"message":"Out of stock"}' });
  const same = await app.inject(post('/purchase/3', sold));
  t.match(same, { statusCode: 200, body: '{"message":"Out of stock"}' });
  t.equal(same.headers['idempotency-replayed'], 'true', 'sold out is repeated, too');
  for (const id of [key, key.toUpperCase()]) {
    const found = await app.inject(`/orders/${id}`);
    t.match(found, { statusCode: 200, body: JSON.stringify(bought) }, id);
  }
});

t.test('when a request is refused, then a problem document says why', async (t) => {
  const { app } = await open(t);
  const { app: closed } = await open(t, tokens);
  const buy = { headers: { 'idempotency-key': key } };
  await app.inject(post('/purchase/2', buy));
  const unknown = '00000000-0000-4000-8000-000000000000';
  const cases: readonly (readonly [object, number, string, RegExp])[] = [
    [post('/purchase/99'), 404, 'book_not_found', /there is no book 99/],
    [post('/purchase/1', buy), 422, 'key_reused', new RegExp(`the key ${key} was used`)],
    [post('/purchase/3.7'), 400, 'malformed_request', /params\.item_id/],
    [post('/purchase/-1'), 400, 'malformed_request', /params\.item_id/],
    [post('/purchase/9007199254740993'), 400, 'malformed_request', /params\.item_id/],
    [post('/purchase/2', { payload: { a: 1 } }), 400, 'malformed_request', /body: the key "a"/],
    [post('/purchase/2', { payload: [] }), 400, 'malformed_request', /body/],
    [
      post('/purchase/2', { headers: { 'idempotency-key': 'k' } }),
      400,
      'malformed_request',
      /headers\.idempotency-key/,
    ],
    [
      post('/purchase/2', { headers: { 'x-timeout-ms': '0' } }),
      504,
      'deadline_exceeded',
      /no time was left\. This request bought nothing; .* Idempotency-Key: [0-9a-f-]{36}/,
    ],
    [{ url: `/orders/${unknown}` }, 404, 'order_not_found', new RegExp(`no order ${unknown}`)],
    [
      { url: `/orders/${key}`, headers: { 'x-timeout-ms': '0' } },
      504,
      'deadline_exceeded',
      /no time was left/,
    ],
    [{ url: '/orders/17' }, 400, 'malformed_request', /params\.order_id/],
    [{ url: '/orders?limit=0' }, 400, 'malformed_request', /query\.limit/],
    [{ url: '/orders?limit=1001' }, 400, 'malformed_request', /query\.limit/],
    [{ url: '/orders?after=x' }, 400, 'malformed_request', /query\.after/],
    [{ url: '/orders?page=1' }, 400, 'malformed_request', /"page" is unknown/],
    [{ url: '/nowhere' }, 404, 'route_not_found', /no route/],
    [{ url: '/purchase/2' }, 405, 'method_not_allowed', /POST/],
    [post('/purchases', { payload: { purchases: [] } }), 400, 'malformed_request', /purchases/],
  ];
  for (const [request, status, code, detail] of cases) {
    const { statusCode, headers, body } = await app.inject(request);
    const problem = JSON.parse(body);
    t.match({ statusCode, problem }, { statusCode: status, problem: { status, code, detail } });
    t.equal(headers['content-type'], 'application/problem+json');
    t.same(Object.keys(problem), Object.keys(problemOf(new Failure('internal', ''), '')));
  }
  for (const url of ['/orders', '/audit']) {
    t.match((await closed.inject(url)).json(), { status: 401, code: 'unauthorized' }, url);
    const wrong = await closed.inject({ url, headers: service });
    t.match(wrong.json(), { status: 403, code: 'forbidden' }, url);
    t.equal((await closed.inject({ url, headers: admin })).statusCode, 200, url);
  }
  const batch = post('/purchases', { payload: { purchases: [] } });
  t.match((await closed.inject(batch)).json(), { status: 401 });
  t.match((await closed.inject({ ...batch, headers: admin })).json(), { status: 403 });
  t.equal((await closed.inject(post('/purchase/1'))).statusCode, 200, 'buying takes no token');
});

t.test('when the keeper lists the orders, then pages follow each other', async (t) => {
  const { app, callerOf } = await open(t, tokens);
  for (let count = 0; count < 7; count += 1) await app.inject(post('/purchase/1'));
  const { orders } = callerOf(orderAdmin, admin);
  const seen: number[] = [];
  let after: number | undefined = 0;
  while (after !== undefined) {
    const page = await orders({ query: { after, limit: 3 } });
    seen.push(...page.body.map(({ sale }) => sale));
    const link = page.headers.link;
    after =
      link === undefined ? undefined : Number(/after=(\d+)&limit=3>; rel="next"/.exec(link)?.[1]);
  }
  t.same(seen, [1, 2, 3, 4, 5, 6, 7]);
  const page = await app.inject({ url: '/orders?limit=1&after=1', headers: admin });
  t.match(page.json(), [{ item_id: 1, title: 'Dune', price: 10, sale: 2 }]);
  t.same(Object.keys(page.json()[0]), [...Object.keys(bought), 'sale']);
  t.equal(page.headers['link'], '</orders?after=2&limit=1>; rel="next"');
  t.equal((await orders()).body.length, 7);
  t.same((await orders({ query: { after: 999_999_999_999_999 } })).body, []);
});

t.test('when the keeper audits the shop, then the law holds', async (t) => {
  const { app } = await open(t);
  await Promise.all([1, 1, 2, 3].map((id) => app.inject(post(`/purchase/${id}`))));
  const audit = await app.inject('/audit');
  t.same(audit.json(), {
    balanced: true,
    sale: 3,
    books: 3,
    stocked: 11,
    remaining: 8,
    sold: 3,
    logged: 3,
    pending: 0,
    differences: [],
  });
});

t.test('when a batch of purchases comes, then each gets its own outcome', async (t) => {
  const { callerOf } = await open(t, tokens);
  const { purchases } = callerOf(orderInternal, service);
  const item = (order_id: string, item_id: number, rest = {}) => ({
    order_id,
    item_id,
    request_id: 'a-1',
    ...rest,
  });
  const ids = ['a', 'b', 'c', 'd'].map((digit) => `0190a6f0-0000-7000-8000-00000000000${digit}`);
  const [a = '', b = '', c = '', d = ''] = ids;
  const { body } = await purchases({
    body: {
      purchases: [item(a, 2), item(b, 3), item(c, 9), item(d, 2, { timeout_ms: 0 }), item(a, 1)],
    },
  });
  const { order_id, ...rest } = bought;
  t.not(order_id, a);
  t.same(body.outcomes, [
    { order_id: a, result: 'sold', replayed: false, ...rest },
    { order_id: b, result: 'sold_out', replayed: false },
    failed(c, 'book_not_found', 'there is no book 9'),
    failed(d, 'deadline_exceeded', 'no time was left', { nothing_done: true }),
    failed(a, 'key_reused', `the key ${a} was used for another book`),
  ]);
});

function failed(order_id: string, code: string, detail: string, known = {}) {
  return { order_id, result: 'failed', problem: { code, detail, ...known } };
}

t.test('when the catalog is away, then a purchase is unknown and its key named', async (t) => {
  const { app, catalog, states } = await open(t);
  await catalog.close();
  const answer = await app.inject(post('/purchase/2', { headers: { 'idempotency-key': key } }));
  t.equal(answer.statusCode, 503);
  t.equal(answer.headers['retry-after'], '1');
  t.match(answer.json().detail, new RegExp(`the same request with Idempotency-Key: ${key} tells`));
  states.catalog = 'GET /operations: no whole answer came back';
  const ready = await app.inject('/health/ready');
  t.match(ready.json(), { status: 503, detail: `catalog: ${states.catalog}` });
  t.match((await app.inject('/health/live')).json(), { status: 'ok' });
});

t.test('when a client hangs up while the catalog is busy, then nothing is bought', async (t) => {
  const wires = { catalog: async () => {} };
  const clock = { now: 0 };
  const { app, catalog, purchases } = await open(t, {}, false, wires, () => clock.now);
  const until = async (holds: () => boolean) => {
    while (!holds()) await new Promise((resolve) => setImmediate(resolve));
  };
  let letGo = () => {};
  const held = new Promise<void>((resolve) => {
    letGo = resolve;
  });
  let calls = 0;
  wires.catalog = () => {
    calls += 1;
    return held;
  };
  const url = await app.listen({ port: 0 });
  const purchase = (rest: RequestInit = {}) =>
    fetch(`${url}/purchase/1`, { method: 'POST', ...rest });
  const first = [purchase()];
  await until(() => calls === 1);
  first.push(purchase());
  await until(() => calls === 2);
  const client = new AbortController();
  const connected = once(app.server, 'connection');
  const aborted = t.rejects(purchase({ signal: client.signal }), { name: 'AbortError' });
  const [accepted] = await connected;
  await until(() => purchases.waiting().sales === 1);
  const hungUp = once(accepted, 'end');
  client.abort();
  await aborted;
  await hungUp;
  const patient = purchase();
  await until(() => purchases.waiting().sales === 2);
  clock.now = 251;
  letGo();
  for (const answer of [...first, patient]) {
    t.match(await (await answer).json(), { message: /^bought book/ });
  }
  t.match((await catalog.inject('/info/1')).json(), { quantity: 6 }, 'three were bought');
});

t.test('when the catalog was asked twice, then the caller is not told of a repeat', async (t) => {
  const { app } = await open(t, {}, true);
  const own = await app.inject(post('/purchase/2'));
  t.match(own, { statusCode: 200, body: /bought book/ });
  t.equal(
    own.headers['idempotency-replayed'],
    undefined,
    'under a new key nobody has asked before',
  );
  const keyed = await app.inject(post('/purchase/2', { headers: { 'idempotency-key': key } }));
  t.equal(keyed.headers['idempotency-replayed'], 'true');
});

t.test('when the catalog is connected over a socket, then it is asked there', async (t) => {
  const { catalog } = await open(t, tokens);
  const urls = await catalog.listen({ host: '127.0.0.1', port: 0 });
  const { sell, readFeed, readTotals, close } = connectCatalogs(urls, tokens.SERVICE_TOKEN, log);
  const operation = {
    operation_id: key,
    kind: 'sale',
    item_id: 2,
    quantity_delta: -1,
    request_id: 'r',
  } as const;
  t.match(await sell([operation]), [{ operation_id: key, result: 'sold', sale: 1, price: 50 }]);
  t.match(await readFeed(0, 10, 0), { last_sale: 1, operations: [{ operation_id: key, sale: 1 }] });
  t.match(await readTotals(1, 1), { sale: 1, books: [{ item_id: 2, stocked: 2, remaining: 1 }] });
  const stop = new AbortController();
  const polling = t.rejects(readFeed(1, 10, 5000, stop.signal), { name: 'AbortError' });
  stop.abort();
  await polling;
  await close();
  const dead = 'http://127.0.0.1:1';
  const several = connectCatalogs(`${dead},${urls},${dead}0`, tokens.SERVICE_TOKEN, log);
  for (let time = 0; time < 6; time += 1) {
    t.match(await several.sell([operation]), [{ operation_id: key, sale: 1, replayed: true }]);
    t.match(await several.readFeed(0, 10, 0), { last_sale: 1 });
    t.match(await several.readFeed(0, 10, 5000), { last_sale: 1 });
  }
  t.equal(several.live(), 1, 'the others are left out');
  await several.close();
  const stranger = connectCatalogs(urls, undefined, log);
  await t.rejects(stranger.sell([operation]), { code: 'unauthorized', foreign: true });
  await stranger.close();
});

t.test('when the catalog or the storage is silent, then the health says which', async (t) => {
  const { app, catalog, store } = await open(t, tokens);
  const urls = await catalog.listen({ host: '127.0.0.1', port: 0 });
  const catalogs = connectCatalogs(urls, tokens.SERVICE_TOKEN, log);
  t.equal(await catalogs.health(), 'ok');
  await catalogs.close();
  const mute = createServer(() => {}).listen(0, '127.0.0.1');
  t.teardown(() => mute.close());
  await once(mute, 'listening');
  const address = mute.address();
  const port = typeof address === 'object' ? address?.port : undefined;
  const silent = connectCatalogs(`http://127.0.0.1:${port}`, tokens.SERVICE_TOKEN, log);
  t.match(await silent.health(), { message: /^GET \/health\/ready: / });
  await silent.close();

  Object.assign(store, { catalogId: () => new Promise(() => {}) });
  const ready = await app.inject('/health/ready');
  t.match(ready.json(), { status: 503, detail: 'storage: nothing was heard of it for 1000 ms' });
});

t.test('when its routes are listed, then they are those of the contracts', async (t) => {
  const { app, callerOf } = await open(t);
  await app.ready();
  const routes: readonly { method: string; url: string }[] = [
    order,
    orderAdmin,
    orderInternal,
    health,
  ]
    .flatMap((contract): { method: string; url: string }[] => Object.values(contract))
    .concat({ method: 'GET', url: '/metrics' });
  const named = app.printRoutes({ commonPrefix: false, includeHooks: false });
  const registered = registeredIn(named).filter((route) => !route.includes(' /docs'));
  t.same(registered, routes.map(({ method, url }) => `${method} ${url}`).sort());
  t.match((await callerOf(health).ready()).body, {
    status: 'ok',
    dependencies: { catalog: 'ok', storage: 'ok' },
  });
  const { paths } = (await app.inject('/docs/json')).json();
  t.ok(paths['/purchase/{item_id}'] && paths['/orders'] && paths['/audit']);
  t.notOk(paths['/purchases'], 'what is internal is in no document');
});

/** `GET /path` of each line of Fastify's tree; HEAD comes with every GET. */
function registeredIn(tree: string): string[] {
  const found: string[] = [];
  const above: string[] = [];
  for (const line of tree.split('\n')) {
    const [, indent = '', path = '', methods = ''] = /^([│ ├└─]*)(.*?) \((.*)\)$/.exec(line) ?? [];
    if (path === '' && methods === '') continue;
    const depth = indent.length / 4;
    above.length = Math.max(depth - 1, 0);
    above.push(path);
    for (const method of methods.split(', ')) {
      if (method !== 'HEAD') found.push(`${method} ${above.join('')}`);
    }
  }
  return found.sort();
}

t.test(
  'when the environment is wrong, then the start is refused naming the variable',
  async (t) => {
    t.throws(() => readOrderConfig({ CATALOG_URLS: 'ftp://a' }), { message: /CATALOG_URLS/ });
    t.throws(() => readOrderConfig({ DATABASE_URL: 'postgres://a' }), {
      message: /DATABASE_URL is a secret that is not shown, but it does not name/,
    });
    t.throws(() => readOrderConfig({ HOST: '0.0.0.0' }), { message: /SERVICE_TOKEN/ });
    t.match(readOrderConfig({}), {
      HOST: '127.0.0.1',
      PORT: 5002,
      DATA_DIR: './data',
      CATALOG_URLS: 'http://127.0.0.1:5001',
    });
  },
);
