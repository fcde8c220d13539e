import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { join } from 'node:path';
import {
  buildCatalog,
  createCatalog,
  createLeases,
  type Leases,
  openCsvStore as openCatalogStore,
  withoutGateways,
} from '@bazar/catalog';
import { createCaller, type Transport } from '@bazar/client/caller';
import { checkResponses } from '@bazar/client/check';
import { injectTransport } from '@bazar/client/inject';
import {
  type Contract,
  catalog,
  Failure,
  gateway,
  health,
  order,
  problemOf,
} from '@bazar/contracts';
import { catalogInternal, gatewayInternal, orderInternal } from '@bazar/contracts/internal';
import { buildOrder, createPurchases, openCsvStore as openOrderStore } from '@bazar/order';
import { securityHeaders } from '@bazar/service';
import { createReplicas, type Replicas, watchAddresses } from '@bazar/service/replicas';
import { nodeDisk } from '@bazar/storage';
import t, { type Test } from 'tap';
import { buildGateway } from '../src/app.js';
import { createCache } from '../src/cache.js';
import { readGatewayConfig } from '../src/config.js';
import { createLease } from '../src/lease.js';
import { createBuying } from '../src/purchase.js';
import {
  connectUpstreams,
  giveBackThrough,
  purchaseThrough,
  renewThrough,
} from '../src/upstreams.js';

const base = t.testdir();
const key = '0190a6f0-0000-7abc-8def-0123456789ab';
const token = 'service-token-0123456789';
const books = [
  'id,title,topic,quantity,price',
  '1,How to get a good grade in DOS in 40 minutes a day,distributed,10,30',
  '2,RPCs for Noobs,distributed,2,50',
  '3,Über Bücher,Straße & Co/2,3,40.5',
  '4,Cooking,undergrad,0,35',
];

/** Stands between the gateway and a service; carries every request on unless told. */
type Wire = (carry: Transport) => Transport;
const carries: Wire = (carry) => carry;

const log = () => {};

const after = (ms: number, run: () => void) => {
  const timer = setTimeout(run, ms);
  return () => clearTimeout(timer);
};

/** Real catalog and order services in this process. */
async function openServices(t: Test, env: NodeJS.ProcessEnv, leases: Leases) {
  const folder = mkdtempSync(join(base, 'shop-'));
  writeFileSync(join(folder, 'catalog_data.csv'), `${books.join('\n')}\n`);
  const onBroken = (error: Error) => t.fail('a disk broke', { error });
  const config = { HOST: '127.0.0.1', PORT: 0, LOG_LEVEL: 'silent', DATA_DIR: folder } as const;
  const files = { disk: nodeDisk, folder, log: () => {}, onBroken };
  const rules = createCatalog({
    leases,
    after,
    store: await openCatalogStore({
      ...files,
      now: () => Date.UTC(2024, 4, 1, 12),
      after,
      newId: () => '3f2b1c00-1111-4222-8333-444455556666',
    }),
  });
  const catalogApp = buildCatalog(rules, { config });
  const catalogs = createCaller(catalogInternal, injectTransport(catalogApp));
  const store = await openOrderStore({ ...files, monotonic: () => 0 });
  const purchases = createPurchases({
    store,
    sell: async (operations) =>
      (await catalogs.updates({ body: { updates: [...operations] } })).body.outcomes,
    assertOpen: () => undefined,
  });
  const audit = {
    store,
    readFeed: async (from: number, limit: number) =>
      (await catalogs.operations({ query: { after: from, limit } })).body,
    readTotals: async (from: number, limit: number) =>
      (await catalogs.totals({ query: { after: from, limit } })).body,
  };
  const { SERVICE_TOKEN } = env;
  const orderApp = buildOrder(purchases, audit, {
    config: {
      ...config,
      CATALOG_URLS: 'http://127.0.0.1:1',
      ...(SERVICE_TOKEN !== undefined && { SERVICE_TOKEN }),
    },
  });
  t.teardown(async () => {
    await orderApp.close();
    await catalogApp.close();
    await purchases.close();
    await rules.close();
    await store.close();
  });
  return { catalogApp, orderApp };
}

/** The whole shop behind a gateway; each service answers through a wire that can be cut. */
async function open(
  t: Test,
  env: NodeJS.ProcessEnv = {},
  tokenOfGateway = env['SERVICE_TOKEN'],
  leases = withoutGateways,
  now = () => performance.now(),
  defer: (run: () => void) => unknown = setImmediate,
  nowOfService = () => performance.now(),
) {
  const { catalogApp, orderApp } = await openServices(t, env, leases);
  const wires = { catalog: carries, order: carries };
  const asked: string[] = [];
  function replicas<const C extends Contract>(
    contract: C,
    app: typeof catalogApp,
    service: keyof typeof wires,
  ): Replicas<C> {
    const inject = injectTransport(app);
    const transport: Transport = (request) => {
      asked.push(`${request.method} ${request.path}`);
      return wires[service](inject)(request);
    };
    return createReplicas(contract, {
      addresses: watchAddresses(['http://127.0.0.1'], { log }),
      connect: () => Object.assign(transport, { close: async () => undefined }),
      check: checkResponses(contract),
      token: tokenOfGateway,
      log,
    });
  }
  const states: { catalog: 'ok' | Failure; order: 'ok' | Failure } = { catalog: 'ok', order: 'ok' };
  const upstreams = {
    catalog: replicas(catalog, catalogApp, 'catalog'),
    orders: replicas(order, orderApp, 'order'),
    purchases: replicas(orderInternal, orderApp, 'order'),
    leases: replicas(catalogInternal, catalogApp, 'catalog'),
    health: async () => states,
    close: async () => undefined,
  };
  const buying = createBuying({
    purchase: purchaseThrough(upstreams.purchases),
    after,
    now,
    defer,
  });
  const lines: string[] = [];
  let epochs = 0;
  const cache = createCache({ isLive: () => lease.isLive() });
  // Nothing is kept in most of these tests, for nobody starts the lease.
  const lease = createLease({
    renew: renewThrough(upstreams.leases),
    giveBack: giveBackThrough(upstreams.leases),
    onNewEpoch() {
      epochs += 1;
      cache.forgetAll();
    },
    after,
    monotonic: () => performance.now(),
    wall: Date.now,
    newId: randomUUID,
    log: () => {},
  });
  const app = buildGateway(
    { upstreams, buying, cache, lease },
    {
      config: readGatewayConfig({ LOG_LEVEL: 'info', ...env }),
      logStream: { write: (line) => lines.push(line) },
      failureRepeatsMs: 0,
      ready: upstreams.health,
      now: nowOfService,
    },
  );
  t.teardown(() => app.close());
  const seen = { asked, states, lines, epochs: () => epochs };
  return { app, catalogApp, orderApp, wires, buying, lease, ...seen };
}

const buy = (id: number | string, rest: object = {}) => {
  return { method: 'POST' as const, url: `/purchase/${id}`, ...rest };
};
const withKey = (text: string) => ({ headers: { 'idempotency-key': text } });

t.test('when a reader asks, then the answers are exactly the catalog’s', async (t) => {
  const { app, catalogApp } = await open(t);
  const first = { id: 1, title: 'How to get a good grade in DOS in 40 minutes a day' };
  const second = { id: 2, title: 'RPCs for Noobs' };
  const rows: readonly (readonly [string, unknown])[] = [
    ['/search/distributed', [first, second]],
    ['/search/DISTRIBUTED?limit=1', [first]],
    ['/search/distributed?after=1', [second]],
    [`/search/${encodeURIComponent('straße & co/2')}`, [{ id: 3, title: 'Über Bücher' }]],
    ['/search/nothing', []],
    ['/info/2', { ...second, topic: 'distributed', quantity: 2, price: 50 }],
    ['/info/3', { id: 3, title: 'Über Bücher', topic: 'Straße & Co/2', quantity: 3, price: 40.5 }],
    ['/topics?limit=1', [{ topic: 'distributed', titles: 2 }]],
  ];
  for (const [url, body] of rows) {
    const [ours, theirs] = [await app.inject(url), await catalogApp.inject(url)];
    t.equal(ours.body, JSON.stringify(body), url);
    t.equal(ours.statusCode, 200);
    for (const name of ['etag', 'cache-control', 'content-type', 'link']) {
      t.equal(ours.headers[name], theirs.headers[name], `${url}: ${name}`);
    }
    const etag = String(ours.headers.etag);
    const again = await app.inject({ url, headers: { 'if-none-match': etag } });
    t.match(again, { statusCode: 304, body: '', headers: { etag, 'cache-control': 'no-cache' } });
  }
  const page = await app.inject('/search/distributed?limit=1');
  t.equal(page.headers['link'], '</search/distributed?after=1&limit=1>; rel="next"');
  const topics = await app.inject('/topics?limit=1');
  t.equal(topics.headers['link'], '</topics?after=distributed&limit=1>; rel="next"');
  const next = await app.inject(String(topics.headers['link']).slice(1, -'>; rel="next"'.length));
  t.match(next.json()[0], { topic: 'Straße & Co/2' });
  await app.inject(buy(2));
  t.match((await app.inject('/info/2')).json(), { quantity: 1 }, 'a purchase shows at once');
});

t.test('when a book is bought, then the answer is exactly the report’s', async (t) => {
  const { app } = await open(t);
  const first = await app.inject(buy(2, withKey(key)));
  const bought = {
    order_id: key,
    item_id: 2,
    title: 'RPCs for Noobs',
    price: 50,
    timestamp: '2024-05-01T12:00:00.000Z',
  };
  t.equal(first.body, JSON.stringify({ message: 'bought book RPCs for Noobs', order: bought }));
  t.match(first, { statusCode: 200, headers: { 'cache-control': 'no-store' } });
  t.notOk(first.headers['idempotency-replayed']);
  for (const again of [key, `"${key}"`, key.toUpperCase(), `"${key.toUpperCase()}"`]) {
    const answer = await app.inject(buy(2, withKey(again)));
    t.equal(answer.body, first.body, again);
    t.equal(answer.headers['idempotency-replayed'], 'true');
  }
  for (const id of [key, key.toUpperCase()]) {
    t.equal((await app.inject(`/orders/${id}`)).body, JSON.stringify(bought), id);
  }
  const reused = await app.inject(buy(1, withKey(key)));
  t.match(reused.json(), { status: 422, code: 'key_reused' });
  for (const malformed of ['k', '', `'${key}'`, `${key} `.repeat(2), key.slice(1), `"${key}`]) {
    const answer = await app.inject(buy(2, withKey(malformed)));
    t.match(answer.json(), { status: 400, detail: /headers\.idempotency-key/ }, malformed);
  }
  t.match(await app.inject(buy(4, withKey(key.replace('abc', 'abd')))), {
    statusCode: 200,
    body: '{"message":"Out of stock"}',
  });
  const many = await Promise.all(Array.from({ length: 20 }, () => app.inject(buy(1))));
  t.equal(many.filter(({ body }) => body === '{"message":"Out of stock"}').length, 10);
  const ids = many.map((answer) => answer.json().order?.order_id).filter(Boolean);
  t.equal(new Set(ids).size, 10, 'each of the ten copies has an order of its own');
});

t.test('when a purchase comes with a body, then only nothing and {} will do', async (t) => {
  const { app } = await open(t);
  const json = { 'content-type': 'application/json' };
  const fine: readonly object[] = [
    {},
    { headers: json },
    { headers: { 'content-type': 'text/plain' } },
    { headers: { 'content-type': 'application/x-www-form-urlencoded', 'content-length': '0' } },
    { headers: json, payload: '{}' },
    { headers: { 'content-type': 'application/json; charset=utf-8' }, payload: ' { } ' },
  ];
  for (const rest of fine) {
    const { statusCode } = await app.inject(buy(1, rest));
    t.equal(statusCode, 200, JSON.stringify(rest));
  }
  const bad: readonly (readonly [object, number, RegExp])[] = [
    [{ payload: { a: 1 } }, 400, /body: the key "a" is unknown/],
    [{ headers: json, payload: '[]' }, 400, /body/],
    [{ headers: json, payload: 'null' }, 400, /body/],
    [{ headers: json, payload: '{"a"' }, 400, /JSON/],
    [{ headers: json, payload: '{"__proto__":{}}' }, 400, /JSON/],
    [{ headers: { 'content-type': 'text/plain' }, payload: 'x' }, 415, /application\/json/],
  ];
  for (const [rest, status, detail] of bad) {
    t.match((await app.inject(buy(1, rest))).json(), { status, detail }, JSON.stringify(rest));
  }
});

t.test('when a request is wrong, then nobody behind the gateway is asked', async (t) => {
  const { app, asked } = await open(t);
  const urls: readonly (readonly [string, number, RegExp])[] = [
    ['/info/3.7', 400, /params\.item_id/],
    ['/info/0x10', 400, /params\.item_id/],
    ['/info/-1', 400, /params\.item_id/],
    ['/info/9007199254740993', 400, /params\.item_id/],
    ['/search/x?limit=0', 400, /query\.limit/],
    ['/search/x?page=2', 400, /"page" is unknown/],
    ['/topics?after=', 400, /query\.after/],
    ['/orders/17', 400, /params\.order_id/],
    ['/info/%zz', 400, /percent-encoded/],
    [`/search/${'x'.repeat(501)}`, 414, /too long/],
    ['/nowhere', 404, /no route/],
    ['/purchase/1', 405, /POST/],
  ];
  for (const [url, status, detail] of urls) {
    const { statusCode, headers, body } = await app.inject(url);
    t.match({ statusCode, problem: JSON.parse(body) }, { statusCode: status, problem: { detail } });
    t.equal(headers['content-type'], 'application/problem+json', url);
  }
  t.same(asked, []);
  const missing = [
    ['/info/99', 'book_not_found'],
    [`/orders/${key}`, 'order_not_found'],
  ] as const;
  for (const [url, code] of missing) t.match((await app.inject(url)).json(), { status: 404, code });
  t.match((await app.inject(buy(99))).json(), { status: 404, code: 'book_not_found' });
});

t.test('when a caller names its patience, then it goes along and is kept', async (t) => {
  const { app, wires, asked } = await open(t);
  const headers = { 'x-timeout-ms': '0', 'x-request-id': 'mine-1' };
  for (const request of [buy(2, { headers }), { url: '/info/2', headers }]) {
    const answer = await app.inject(request);
    t.match(answer.json(), { status: 504, code: 'deadline_exceeded', request_id: 'mine-1' });
  }
  t.same(asked, [], 'without time nothing is begun');
  const seen: (string | undefined)[] = [];
  wires.catalog = (carry) => (request) => {
    seen.push(request.headers['x-timeout-ms'], request.headers['x-request-id']);
    return carry(request);
  };
  wires.order = (carry) => (request) => {
    seen.push(request.headers['x-timeout-ms'], request.body?.match(/"request_id":"([^"]*)"/)?.[1]);
    return carry(request);
  };
  const patient = { 'x-timeout-ms': '4000', 'x-request-id': 'mine-2' };
  await app.inject({ url: '/info/2', headers: patient });
  await app.inject(buy(2, { headers: patient }));
  await app.inject(buy(2, { headers: { 'x-timeout-ms': '9999999', 'x-request-id': 'mine-3' } }));
  // What is left of it when the call begins: a little less than was named.
  const left = /^([1-3]\d{3}|4000)$/;
  const bounded = /^([1-9]\d{3}|10000)$/;
  // Others may wait for what was read, too: that goes on as long as the most patient of them.
  t.match(seen, ['10000', 'mine-2', left, 'mine-2', bounded, 'mine-3']);
  wires.catalog = () => () => new Promise(() => {});
  const impatient = { url: '/info/3', headers: { 'x-timeout-ms': '30' } };
  t.match((await app.inject(impatient)).json(), { status: 504, code: 'deadline_exceeded' });
  wires.order = () => () => new Promise(() => {});
  const hung = buy(2, { headers: { 'x-timeout-ms': '30', 'idempotency-key': key } });
  const late = (await app.inject(hung)).json();
  t.match(late, { status: 504, detail: new RegExp(`Idempotency-Key: ${key} tells`) });
});

/** Holds up the calls of the order service until they are let go. */
function heldUp(wires: { order: Wire }) {
  let letGo = () => {};
  const released = new Promise<void>((resolve) => {
    letGo = resolve;
  });
  let calls = 0;
  wires.order = (carry) => async (request) => {
    calls += 1;
    await released;
    return carry(request);
  };
  return { letGo, calls: () => calls };
}

t.test('when a client hangs up while calls are held up, then it buys nothing', async (t) => {
  const clock = { now: 0 };
  const now = () => clock.now;
  const { app, catalogApp, wires, buying } = await open(t, {}, undefined, withoutGateways, now);
  const url = await app.listen({ port: 0 });
  const held = heldUp(wires);
  const until = async (holds: () => boolean) => {
    while (!holds()) await new Promise((resolve) => setImmediate(resolve));
  };
  const purchase = (id: number, rest: RequestInit = {}) =>
    fetch(`${url}/purchase/${id}`, { method: 'POST', ...rest });
  const first = [purchase(1)];
  await until(() => held.calls() === 1);
  first.push(purchase(1));
  await until(() => held.calls() === 2);
  const client = new AbortController();
  const connected = once(app.server, 'connection');
  const aborted = t.rejects(purchase(1, { signal: client.signal }), { name: 'AbortError' });
  const [accepted] = await connected;
  await until(() => buying.waiting() === 1);
  const hungUp = once(accepted, 'end');
  client.abort();
  await aborted;
  await hungUp;
  const closeSide = async () => {
    const connection = once(app.server, 'connection');
    const answer = rawAnswers(
      Number(new URL(url).port),
      'POST /purchase/1 HTTP/1.1\r\nHost: a\r\n\r\n',
      (socket) => socket.end(),
    );
    await once((await connection)[0], 'end');
    return { answer };
  };
  const half = await closeSide();
  await until(() => buying.waiting() === 2);
  clock.now = 100;
  const quick = await closeSide();
  const patient = purchase(1);
  await until(() => buying.waiting() === 4);
  clock.now = 251;
  held.letGo();
  for (const answer of [...first, patient]) {
    t.match(await (await answer).json(), { message: /^bought book/ });
  }
  const nothing = /^HTTP\/1\.1 504 .*This request bought nothing; .*"deadline_exceeded"/s;
  t.match(await half.answer, nothing, 'who only closed its side is told so');
  t.match(await quick.answer, /^HTTP\/1\.1 200 /, 'but not if it has waited for a moment only');
  t.match((await catalogApp.inject('/info/1')).json(), { quantity: 6 }, 'four were bought');
});

t.test('when a client closes its side at an idle gateway, then it buys', async (t) => {
  let flush = () => {};
  const { app } = await open(t, {}, undefined, withoutGateways, undefined, (run) => {
    flush = run;
  });
  const url = await app.listen({ port: 0 });
  const connected = once(app.server, 'connection');
  const answer = rawAnswers(
    Number(new URL(url).port),
    'POST /purchase/2 HTTP/1.1\r\nHost: a\r\n\r\n',
    (socket) => socket.end(),
  );
  const [accepted] = await connected;
  await once(accepted, 'end');
  flush();
  t.match(await answer, /^HTTP\/1\.1 200 .*bought book RPCs for Noobs/s);
});

t.test('when a caller names its trace, then it goes along with every hop', async (t) => {
  const { app, wires } = await open(t);
  const traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
  const seen: (string | undefined)[] = [];
  wires.catalog = (carry) => (request) => {
    seen.push(request.headers['traceparent']);
    return carry(request);
  };
  wires.order = (carry) => (request) => {
    const { headers, body } = request;
    seen.push(headers['traceparent'] ?? body?.match(/"traceparent":"([^"]*)"/)?.[1]);
    return carry(request);
  };
  const headers = { traceparent };
  const urls = ['/info/2', '/search/distributed', '/topics', `/orders/${key}`];
  for (const url of urls) await app.inject({ url, headers });
  await app.inject(buy(2, { headers }));
  t.same(
    seen,
    [...urls, 'the purchase'].map(() => traceparent),
  );
  seen.length = 0;
  await app.inject({ url: '/info/2', headers: { traceparent: 'nonsense' } });
  t.same(seen, [undefined]);
});

t.test('when a service behind fails, then the caller gets a problem and the log why', async (t) => {
  const { app, wires, lines } = await open(t);
  const requests = [{ url: '/info/2' }, { url: `/orders/${key}` }, buy(2, withKey(key))];
  const json =
    (body: string): Transport =>
    async () => {
      return { status: 200, headers: { 'content-type': 'application/json' }, body };
    };
  const told =
    (status: number, code: string): Transport =>
    async () => {
      const problem = { type: 't', title: 't', status, detail: 'hidden', code, request_id: 'r' };
      const headers = { 'content-type': 'application/problem+json' };
      return { status, headers, body: JSON.stringify(problem) };
    };
  const down: Transport = () => Promise.reject(new Error('connect ECONNREFUSED 127.0.0.1:5001'));
  const page = async () => ({ status: 502, headers: { 'content-type': 'text/html' }, body: 'hm' });
  const cases: Readonly<Record<string, readonly [Transport, number, RegExp]>> = {
    'it is down': [down, 503, /no whole answer came back/],
    'it says what is no JSON': [json('{'), 503, /against its contract/],
    'it says something else': [json('{"id":"2","outcomes":[{}]}'), 503, /against its contract/],
    'a proxy answers': [page, 503, /status 502/],
    'it makes a mistake': [told(500, 'internal'), 500, /hidden/],
    'it wants another token': [told(401, 'unauthorized'), 503, /^(?!.*hidden)/],
    'it forbids': [told(403, 'forbidden'), 503, /^(?!.*hidden)/],
    'it finds our request malformed': [told(400, 'malformed_request'), 503, /^(?!.*hidden)/],
    'it has no such route': [told(404, 'route_not_found'), 503, /^(?!.*hidden)/],
    'it declares nothing of the kind': [told(409, 'stock_below_zero'), 503, /not declared/],
    'it lies about its status': [told(401, 'book_not_found'), 503, /unknown problem/],
    'it is late': [told(504, 'deadline_exceeded'), 504, /hidden/],
  };
  for (const [what, [answers, status, detail]] of Object.entries(cases)) {
    wires.catalog = wires.order = () => answers;
    for (const request of requests) {
      lines.length = 0;
      const { statusCode, headers, body } = await app.inject(request);
      const problem = JSON.parse(body);
      t.match({ statusCode, problem }, { statusCode: status, problem: { status, detail } }, what);
      t.equal(headers['retry-after'], status === 503 ? '1' : undefined);
      t.notMatch(body, /ECONNREFUSED|127\.0\.0\.1/, 'nothing of the inside');
      t.notOk(headers['www-authenticate']);
      t.equal(lines.length, 1, `${what}: it is logged`);
      const line = JSON.parse(lines[0] ?? '{}');
      t.match(line, { code: problem.code, url: request.url });
      // An error calls somebody; what a service behind is expected to fail at calls nobody here.
      const isOurs = /another token|forbids|malformed|no such route/.test(what);
      t.equal(line.level, isOurs ? 50 : 40, what);
      t.equal(line.err !== undefined, isOurs, `${what}: a stack only for what is ours to mend`);
    }
  }
  wires.catalog = wires.order = carries;
  t.match(await app.inject(buy(2, withKey(key))), { statusCode: 200 }, 'and it goes on');
});

t.test('when the answer to a purchase is lost, then its key tells what became', async (t) => {
  const { app, wires } = await open(t);
  wires.order = (carry) => async (request) => {
    await carry(request);
    throw new Error('read ECONNRESET');
  };
  const lost = await app.inject(buy(2));
  t.equal(lost.statusCode, 503);
  const [, ours] = /Idempotency-Key: ([0-9a-f-]{36}) tells/.exec(lost.json().detail) ?? [];
  wires.order = carries;
  const again = await app.inject(buy(2, withKey(String(ours))));
  t.match(again.json(), { order: { order_id: ours, item_id: 2 } });
  t.equal(again.headers['idempotency-replayed'], 'true', 'no second copy was bought');
  t.match((await app.inject('/info/2')).json(), { quantity: 1 });
});

t.test('when the token is wrong, then purchases are unavailable and never a 401', async (t) => {
  const { app } = await open(t, { SERVICE_TOKEN: token }, 'another-token-0123456789');
  const answer = await app.inject(buy(2));
  t.match(answer.json(), { status: 503, code: 'unavailable' });
  const right = await open(t, { SERVICE_TOKEN: token });
  t.equal((await right.app.inject(buy(2))).statusCode, 200);
});

t.test('when a page on another origin asks, then CORS decides', async (t) => {
  const { app } = await open(t);
  const local = [
    'http://127.0.0.1:8080',
    'http://localhost',
    'https://localhost:3000',
    'http://[::1]:5',
  ];
  for (const origin of local) {
    const { headers } = await app.inject({ url: '/info/2', headers: { origin } });
    t.equal(headers['access-control-allow-origin'], origin);
    const exposed = String(headers['access-control-expose-headers']).split(/, */);
    for (const name of ['Link', 'Idempotency-Replayed', 'Cache-Status', 'Retry-After', 'ETag']) {
      t.ok(exposed.includes(name), name);
    }
    t.ok(exposed.includes('x-request-id'));
    t.equal(headers['access-control-allow-credentials'], undefined);
  }
  for (const origin of ['https://evil.example', 'http://127.0.0.1.evil.example', 'null']) {
    const { statusCode, headers } = await app.inject({ url: '/info/2', headers: { origin } });
    t.equal(statusCode, 200, 'CORS is the browser’s to enforce');
    t.notOk(headers['access-control-allow-origin'], origin);
  }
  const ask = {
    method: 'OPTIONS' as const,
    url: '/purchase/2',
    headers: {
      origin: 'http://localhost:3000',
      'access-control-request-method': 'POST',
      'access-control-request-headers': 'idempotency-key,content-type',
    },
  };
  const preflight = await app.inject(ask);
  t.match(preflight, {
    statusCode: 204,
    headers: {
      'access-control-allow-methods': 'GET, POST',
      'access-control-allow-headers': 'idempotency-key,content-type',
      'access-control-max-age': '600',
    },
  });
  const failed = await app.inject({ url: '/info/99', headers: { origin: 'http://localhost' } });
  t.equal(failed.headers['access-control-allow-origin'], 'http://localhost', 'a 404 is readable');
  const named = await open(t, { CORS_ORIGINS: 'https://a.example, https://b.example' });
  for (const [origin, allowed] of Object.entries({
    'https://a.example': 'https://a.example',
    'https://b.example': 'https://b.example',
    'http://localhost': undefined,
  })) {
    const { headers } = await named.app.inject({ url: '/', headers: { origin } });
    t.equal(headers['access-control-allow-origin'], allowed, origin);
  }
  const open0 = await open(t, {
    HOST: '0.0.0.0',
    SERVICE_TOKEN: token,
    PUBLIC_URL: 'http://gateway:5000',
  });
  const far = await open0.app.inject({ url: '/', headers: { origin: 'http://localhost' } });
  t.notOk(far.headers['access-control-allow-origin'], 'off loopback nobody is allowed unasked');
});

t.test('when one address asks too often, then it is told to wait', async (t) => {
  const { app, asked } = await open(t, { RATE_LIMIT: '3' });
  await app.ready();
  // The page asks nobody, so that all of this fits into a second on a busy machine, too.
  for (let count = 0; count < 3; count += 1) t.equal((await app.inject('/')).statusCode, 200);
  for (const request of [{ url: '/topics' }, { url: '/info/1' }, buy(2), { url: '/' }]) {
    const { statusCode, headers, body } = await app.inject(request);
    t.equal(statusCode, 429, request.url);
    t.equal(headers['content-type'], 'application/problem+json');
    t.equal(headers['retry-after'], '1');
    t.match(JSON.parse(body), {
      status: 429,
      code: 'too_many_requests',
      detail: 'at most 3 requests a second are taken',
    });
  }
  t.same(asked, [], 'nobody behind is asked');
  const other = await app.inject({ url: '/topics', remoteAddress: '10.0.0.2' });
  t.equal(other.statusCode, 200, 'another address has its own count');
  for (const url of ['/health/live', '/health/ready', '/metrics', '/docs/json']) {
    for (let count = 0; count < 5; count += 1) {
      t.equal((await app.inject(url)).statusCode, 200, `${url} is exempt`);
    }
  }
  const free = await open(t);
  const many = await Promise.all(Array.from({ length: 50 }, () => free.app.inject('/topics')));
  t.ok(
    many.every(({ statusCode }) => statusCode === 200),
    'it is off unless asked for',
  );
});

t.test('when a path is wrong or a token tried, then that is counted as well', async (t) => {
  const { app } = await open(t, { RATE_LIMIT: '3', SERVICE_TOKEN: token });
  await app.ready();
  const tell = (sent: string) => ({
    method: 'POST' as const,
    url: '/invalidations',
    payload: { instance: randomUUID(), books: [1], titles: false },
    headers: { authorization: `Bearer ${sent}` },
  });
  const cases: readonly (readonly [number, object])[] = [
    [404, { url: '/nowhere' }],
    [404, { url: '/health/nowhere' }],
    [405, { method: 'POST', url: '/info/1' }],
    [403, tell('a-token-that-somebody-tries')],
    [401, { ...tell(''), headers: {} }],
  ];
  for (const [index, [status, request]] of cases.entries()) {
    const remoteAddress = `10.0.1.${index}`;
    const statuses: number[] = [];
    for (let count = 0; count < 8; count += 1) {
      statuses.push((await app.inject({ ...request, remoteAddress })).statusCode);
    }
    // A second may end in between, and the count of it with it.
    t.same(new Set(statuses), new Set([status, 429]), JSON.stringify(request));
    t.same(statuses.slice(0, 3), [status, status, status]);
    for (let count = 0; count < 8; count += 1) {
      const told = await app.inject({ ...tell(token), remoteAddress });
      t.equal(told.statusCode, 409, 'whatever comes from there, a catalog is heard');
    }
  }
});

t.test('when a trusted proxy names the callers, then each is counted by itself', async (t) => {
  const ask = async (app: Awaited<ReturnType<typeof open>>['app'], from: string, by: string) => {
    const answer = await app.inject({
      url: '/',
      headers: { 'x-forwarded-for': from },
      remoteAddress: by,
    });
    return answer.statusCode;
  };
  const trusting = await open(t, { RATE_LIMIT: '1', TRUST_PROXY: '10.0.0.7, 192.168.0.0/16' });
  const wary = await open(t, { RATE_LIMIT: '1' });
  await trusting.app.ready();
  await wary.app.ready();
  for (let count = 1; count <= 9; count += 1) {
    t.equal(await ask(trusting.app, `1.2.3.${count}`, '10.0.0.7'), 200);
    t.equal(await ask(trusting.app, `5.6.7.${count}, 192.168.1.1`, '10.0.0.7'), 200);
  }
  const some = async (app: typeof wary.app, from: (count: number) => string, by: string) => {
    const statuses = new Set<number>();
    for (let count = 1; count <= 9; count += 1) statuses.add(await ask(app, from(count), by));
    return statuses.has(429);
  };
  const one = (count: number) => `${count}.9.9.9, 1.2.3.99`;
  t.ok(await some(trusting.app, one, '10.0.0.7'), 'what the caller says of itself is nothing');
  t.ok(
    await some(trusting.app, (count) => `7.7.7.${count}`, '10.0.0.8'),
    'nobody else is believed',
  );
  t.ok(await some(wary.app, (count) => `7.7.7.${count}`, '10.0.0.7'), 'unless told nobody is');
});

t.test('when too many purchases wait, then the next are turned away and nobody else', async (t) => {
  const clock = { now: 0 };
  const { app, wires, asked, buying, lines } = await open(
    t,
    { CORS_ORIGINS: 'https://shop.example' },
    undefined,
    withoutGateways,
    () => clock.now,
  );
  const url = await app.listen({ host: '127.0.0.1', port: 0 });
  let letGo = () => {};
  const opened = new Promise<void>((resolve) => {
    letGo = resolve;
  });
  wires.order = (carry) => async (request) => {
    await opened;
    return carry(request);
  };
  const waiting: Promise<{ statusCode: number }>[] = [];
  // Two calls are on their way before anybody has to wait.
  for (const calls of [1, 2]) {
    waiting.push(app.inject(buy(1)));
    while (asked.length < calls) await new Promise((resolve) => setImmediate(resolve));
  }
  for (let one = 0; one < 512; one += 1) waiting.push(app.inject(buy(4)));
  const shown = async () => (await (await fetch(`${url}/metrics`)).text()).split('\n');
  while (buying.waiting() < 512) await new Promise((resolve) => setImmediate(resolve));
  clock.now = 1001;
  const turned = await fetch(`${url}/purchase/1`, {
    method: 'POST',
    headers: { 'x-request-id': 'r-1' },
  });
  t.equal(turned.status, 503);
  t.equal(turned.headers.get('retry-after'), '1');
  t.equal(turned.headers.get('content-type'), 'application/problem+json');
  t.match(await turned.json(), {
    code: 'overloaded',
    detail: 'too many purchases are waiting. Nothing came of this request; it may be repeated',
    request_id: 'r-1',
  });
  const page = await fetch(`${url}/purchase/1`, {
    method: 'POST',
    headers: { origin: 'https://shop.example' },
  });
  t.equal(page.status, 503);
  t.equal(page.headers.get('access-control-allow-origin'), 'https://shop.example');
  for (const path of ['/health/live', '/health/ready', '/info/1', '/metrics']) {
    t.equal((await fetch(url + path)).status, 200, path);
  }
  t.ok(
    (await shown()).includes(
      'bazar_http_requests_total{route="/purchase/:item_id",method="POST",status="503"} 2',
    ),
    'both are counted',
  );
  t.match(
    lines.map((line) => JSON.parse(line)).find(({ reqId }) => reqId === 'r-1'),
    { level: 40, code: 'overloaded', method: 'POST' },
    'and logged',
  );
  letGo();
  const answered = (await Promise.all(waiting)).map(({ statusCode }) => statusCode);
  t.same(answered, Array(514).fill(200), 'who was let in is answered');
  const after = await fetch(`${url}/purchase/1`, { method: 'POST' });
  t.equal(after.status, 200, 'and the door is open again');
});

t.test('when somebody looks at the shop, then there is a page, health and the docs', async (t) => {
  let time = 0;
  const { app, states } = await open(
    t,
    {},
    undefined,
    withoutGateways,
    undefined,
    undefined,
    () => time,
  );
  const look = () => {
    time += 1000;
    return app.inject('/health/ready');
  };
  const home = await app.inject('/');
  t.match(home.headers['content-security-policy'], /frame-ancestors 'none'/);
  t.equal(home.headers['referrer-policy'], 'no-referrer', 'it is a page');
  t.match(home, { statusCode: 200, headers: { 'content-type': 'text/html; charset=utf-8' } });
  for (const [, url = ''] of home.body.matchAll(/href="([^"]+)"/g)) {
    const { statusCode } = await app.inject(url);
    t.ok(statusCode === 200 || statusCode === 302, `${url} leads somewhere`);
  }
  t.same((await look()).json(), {
    status: 'ok',
    dependencies: { catalog: 'ok', order: 'ok' },
  });
  states.order = new Failure('unavailable', 'GET /health/ready: no whole answer came back');
  const ready = await look();
  const detail = 'order: GET /health/ready: no whole answer came back';
  t.match(ready.json(), {
    status: 503,
    code: 'unavailable',
    detail,
    dependencies: { catalog: 'ok', order: 'GET /health/ready: no whole answer came back' },
  });
  states.order = new Failure('storage_full', 'storage: the order log has no room');
  t.match((await look()).json(), {
    code: 'storage_full',
    detail: 'order: storage: the order log has no room',
  });
  t.same((await app.inject('/health/live')).json(), { status: 'ok' });
  const routes: readonly { method: string; url: string }[] = [gateway, gatewayInternal, health]
    .flatMap((contract): { method: string; url: string }[] => Object.values(contract))
    .concat({ method: 'GET', url: '/metrics' }, { method: 'OPTIONS', url: '*' });
  const registered = registeredIn(app.printRoutes({ commonPrefix: false }));
  t.same(
    registered.filter((route) => !route.includes(' /docs')),
    routes.map(({ method, url }) => `${method} ${url}`).sort(),
  );
});

/** `GET /path` of each line of Fastify's tree; HEAD comes with every GET. */
function registeredIn(tree: string): string[] {
  const found: string[] = [];
  const above: string[] = [];
  for (const line of tree.split('\n')) {
    const [, indent = '', path = '', methods = ''] = /^([│ ├└─]*)(.*?) \((.*)\)$/.exec(line) ?? [];
    if (path === '' && methods === '') continue;
    above.length = Math.max(indent.length / 4 - 1, 0);
    above.push(path);
    for (const method of methods.split(', ')) {
      if (method !== 'HEAD') found.push(`${method} ${above.join('')}`);
    }
  }
  return found.sort();
}

t.test('when the gateway is connected over sockets, then it finds both services', async (t) => {
  const { catalogApp, orderApp } = await openServices(t, { SERVICE_TOKEN: token }, withoutGateways);
  const urls = await Promise.all(
    [catalogApp, orderApp].map((app) => app.listen({ host: '127.0.0.1', port: 0 })),
  );
  const [CATALOG_URLS = '', ORDER_URLS = ''] = urls;
  const config = readGatewayConfig({ CATALOG_URLS, ORDER_URLS, SERVICE_TOKEN: token });
  const upstreams = connectUpstreams(config, log);
  const buying = createBuying({ purchase: purchaseThrough(upstreams.purchases), after });
  t.same(await upstreams.health(), { catalog: 'ok', order: 'ok' });
  const wish = { order_id: key, item_id: 2, request_id: 'r' };
  t.match(await buying.buy(wish), { answer: { order: { order_id: key } }, replayed: false });
  const [orders] = upstreams.orders.each();
  const [catalogs] = upstreams.catalog.each();
  t.match((await orders?.order({ params: { order_id: key } }))?.body, { price: 50 });
  t.match((await catalogs?.info({ params: { item_id: 2 } }))?.body, { quantity: 1 });
  await orderApp.close();
  t.match(await upstreams.health(), {
    catalog: 'ok',
    order: { code: 'unavailable', message: /^GET \/health\/ready: (no whole|nothing could)/ },
  });
  await t.rejects(buying.buy({ ...wish, order_id: key.replace('abc', 'abd') }), {
    code: 'unavailable',
    message: /nothing could be sent\. This request bought nothing; it may be repeated/,
  });
  await buying.close();
  await upstreams.close();
});

type Front = (request: IncomingMessage, response: ServerResponse, body: string) => void;

/** A service behind a socket of its own, as one of its replicas; it may be told to fail. */
async function openFront(t: Test, app: Awaited<ReturnType<typeof openServices>>['orderApp']) {
  const carry: Front = async ({ method, url = '', headers }, response, payload) => {
    const answer = await app.inject({
      method: method === 'POST' ? 'POST' : 'GET',
      url,
      headers,
      ...(payload !== '' && { payload }),
    });
    response.writeHead(answer.statusCode, { 'content-type': answer.headers['content-type'] ?? '' });
    response.end(answer.body);
  };
  const front = { asked: [] as string[], does: carry, carry, url: '' };
  const server = createServer(async (request, response) => {
    let body = '';
    for await (const part of request) body += part;
    front.asked.push(`${request.method} ${request.url}`);
    front.does(request, response, body);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return Object.assign(front, { url: `http://127.0.0.1:${port}` });
}

/** A gateway before two replicas of each service, all over sockets. */
async function openReplicated(t: Test, now = () => performance.now()) {
  const leasing = createLeases({
    invalidate: async () => undefined,
    // Nobody was before this catalog, so its first wait is for nobody.
    after: (ms, run) => after(ms > 1000 ? 0 : ms, run),
    monotonic: () => performance.now(),
    newId: randomUUID,
    log,
  });
  const services = await openServices(t, {}, leasing);
  const open2 = (app: typeof services.orderApp) =>
    Promise.all([openFront(t, app), openFront(t, app)]);
  const catalogs = await open2(services.catalogApp);
  const orders = await open2(services.orderApp);
  const urlsOf = (fronts: typeof orders) => fronts.map(({ url }) => url).join();
  const config = readGatewayConfig({
    CATALOG_URLS: urlsOf(catalogs),
    ORDER_URLS: urlsOf(orders),
    LOG_LEVEL: 'silent',
  });
  const upstreams = connectUpstreams(config, log);
  const { purchases, leases, live } = { ...upstreams, live: upstreams.purchases.live };
  const buying = createBuying({ purchase: purchaseThrough(purchases), replicas: live, after });
  const cache = createCache({ isLive: () => false });
  const lease = createLease({
    renew: renewThrough(leases),
    giveBack: giveBackThrough(leases),
    onNewEpoch: cache.forgetAll,
    after,
    monotonic: () => performance.now(),
    wall: Date.now,
    newId: randomUUID,
    log,
  });
  const app = buildGateway(
    {
      upstreams,
      buying,
      cache,
      lease,
    },
    { config, ready: upstreams.health, now },
  );
  t.teardown(async () => {
    await app.close();
    await buying.close();
    await upstreams.close();
  });
  return { app, upstreams, catalogs, orders };
}

const askedOf = (fronts: readonly { asked: string[] }[]) => fronts.flatMap(({ asked }) => asked);

t.test('when the answer to a batch is lost, then another replica gives it again', async (t) => {
  const { app, orders } = await openReplicated(t);
  /** Whoever is asked next does it, and dies over the answer. */
  const loseNext = () => {
    for (const front of orders) {
      front.does = async (request, response, body) => {
        for (const each of orders) each.does = each.carry;
        front.carry(request, Object.assign(response, { end: () => response.destroy() }), body);
      };
    }
  };
  loseNext();
  const first = await app.inject(buy(2));
  t.match(first, { statusCode: 200, body: /bought book RPCs for Noobs/ });
  t.equal(first.headers['idempotency-replayed'], undefined, 'the caller has asked once');
  t.same(askedOf(orders), ['POST /purchases', 'POST /purchases']);
  t.match((await app.inject('/info/2')).json(), { quantity: 1 }, 'one copy is sold');
  loseNext();
  const keyed = await app.inject(buy(2, withKey(key)));
  t.match(keyed.json(), { order: { order_id: key } });
  t.equal(keyed.headers['idempotency-replayed'], 'true', 'of a key of his own nobody can tell');
  t.match((await app.inject('/info/2')).json(), { quantity: 0 });
});

t.test('when one replica may have sold and the other refused, then it is unknown', async (t) => {
  const { app, orders } = await openReplicated(t);
  const refuse: Front = (_request, response, body) => {
    const [{ order_id }] = JSON.parse(body).purchases;
    const problem = { code: 'storage_full', detail: 'no room', nothing_done: true };
    const outcomes = [{ order_id, result: 'failed', problem }];
    response.setHeader('content-type', 'application/json').end(JSON.stringify({ outcomes }));
  };
  for (const front of orders) front.does = refuse;
  const refused = await app.inject(buy(2));
  t.match(refused.json(), {
    code: 'storage_full',
    detail: /no room\. This request bought nothing/,
  });
  for (const front of orders) {
    front.does = (_request, response) => {
      for (const each of orders) each.does = refuse;
      response.destroy();
    };
  }
  const unknown = await app.inject(buy(2));
  t.match(unknown.json(), { code: 'storage_full', detail: /no room\. Whether order .* not known/ });
});

t.test('when a replica is away, then reads, leases and health go on', async (t) => {
  let time = 0;
  const { app, upstreams, catalogs, orders } = await openReplicated(t, () => time);
  const look = () => {
    time += 1000;
    return app.inject('/health/ready');
  };
  const breaks: Front = (_request, response) => response.destroy();
  const [catalog0, catalog1] = catalogs;
  const [order0, order1] = orders;
  catalog0.does = order0.does = breaks;
  for (const url of ['/info/1', '/topics', '/search/distributed', '/info/1']) {
    t.equal((await app.inject(url)).statusCode, 200, url);
  }
  const request = { instance: randomUUID(), url: 'http://127.0.0.1:5000' };
  const asked = () => askedOf(catalogs).filter((each) => each === 'POST /leases').length;
  const renew = renewThrough(upstreams.leases);
  const sends: number[] = [];
  for (let time = 1; time <= 4; time += 1) {
    await t.resolves(renew(request, 10_000, () => sends.push(asked())));
  }
  t.equal(sends.length, asked(), 'each request is counted from its own time');
  t.ok(asked() > 4, 'some were sent twice');
  const healthy = { status: 'ok', dependencies: { catalog: 'ok', order: 'ok' } };
  t.same((await look()).json(), healthy, 'one of each is enough');
  catalog1.does = breaks;
  t.match((await look()).json(), {
    code: 'unavailable',
    detail: /^catalog: GET \/health\/ready: no whole/,
  });
  catalog1.does = catalog1.carry;
  order1.does = (_request, response) => {
    const problem = problemOf(new Failure('storage_full', 'storage: the log has no room'), 'r');
    response.writeHead(503, { 'content-type': 'application/problem+json' });
    response.end(JSON.stringify(problem));
  };
  t.match((await look()).json(), { code: 'storage_full' }, 'reading goes on');
});

t.test(
  'when the environment is wrong, then the start is refused naming the variable',
  async (t) => {
    const wrong: readonly (readonly [NodeJS.ProcessEnv, RegExp])[] = [
      [{ RATE_LIMIT: '0' }, /RATE_LIMIT/],
      [{ RATE_LIMIT: '1.5' }, /RATE_LIMIT/],
      [{ TRUST_PROXY: 'true' }, /^TRUST_PROXY is "true", but "true" is no address and no range/],
      [{ TRUST_PROXY: '10.0.0.1,' }, /TRUST_PROXY .* "" is no address/],
      [{ TRUST_PROXY: '10.0.0.0/33' }, /TRUST_PROXY .*"10.0.0.0\/33" is no address/],
      [{ TRUST_PROXY: '10.0.0.0/8, ::/129' }, /TRUST_PROXY .*"::\/129" is no address/],
      [{ TRUST_PROXY: '10.0.0.0/' }, /TRUST_PROXY/],
      [{ CORS_ORIGINS: '*' }, /CORS_ORIGINS/],
      [{ CORS_ORIGINS: 'https://a.example/' }, /CORS_ORIGINS/],
      [{ ORDER_URLS: '127.0.0.1:5002' }, /ORDER_URLS/],
      [{ HOST: '0.0.0.0' }, /SERVICE_TOKEN/],
      [{ PUBLIC_URL: 'http://127.0.0.1:99999' }, /PUBLIC_URL/],
      [{ HOST: '0.0.0.0', SERVICE_TOKEN: token }, /PUBLIC_URL is needed/],
      [{ CATALOG_URLS: 'http://a:99999' }, /CATALOG_URLS/],
    ];
    for (const [env, sentence] of wrong) {
      t.throws(() => readGatewayConfig(env), { name: 'ConfigError', message: sentence });
    }
  },
);

/** A gateway that keeps what it reads, before a catalog that tells it of changes, over sockets. */
async function openWithLease(t: Test, env: NodeJS.ProcessEnv = {}) {
  let told: ReturnType<typeof createCaller<typeof gatewayInternal>> | undefined;
  const leases = createLeases({
    async invalidate(_url, body, timeoutMs) {
      await told?.invalidations({ body }, { timeoutMs });
    },
    // Nobody was before this catalog, so its first wait is for nobody.
    after: (ms, run) => after(ms > 1000 ? 0 : ms, run),
    monotonic: () => performance.now(),
    newId: randomUUID,
    log: () => {},
  });
  const opened = await open(t, env, env['SERVICE_TOKEN'], leases);
  const headers = env['SERVICE_TOKEN'] ? { authorization: `Bearer ${env['SERVICE_TOKEN']}` } : {};
  told = createCaller(gatewayInternal, injectTransport(opened.app), { headers });
  const url = await opened.app.listen({ port: 0 });
  opened.lease.start('http://gateway');
  while (opened.epochs() === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  const get = (path: string, sent = {}) => fetch(`${url}${path}`, { headers: sent });
  return { ...opened, url, get };
}

/** All that a socket says to these bytes until it is closed. */
function rawAnswers(
  port: number,
  request: string,
  onSent = (_socket: Socket) => {},
): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = '';
    const socket = connect(port, '127.0.0.1', () => {
      socket.write(request);
      onSent(socket);
    });
    socket.setEncoding('utf8');
    socket.on('data', (part) => {
      text += part;
    });
    socket.on('end', () => resolve(text));
    socket.on('error', reject);
  });
}

const headersOf = (response: Response) =>
  Object.fromEntries(
    [...response.headers].filter(([name]) => !/^(x-request-id|date|cache-status)$/.test(name)),
  );

t.test('when the lease is live, then what was read is at hand until it changes', async (t) => {
  const { app, get, asked } = await openWithLease(t);
  const reads = ['/info/2', '/search/distributed?limit=1', '/topics?limit=1'];
  for (const path of reads) {
    const first = await get(path);
    t.equal(first.headers.get('cache-status'), 'bazar; fwd=miss', path);
    asked.length = 0;
    const second = await get(path, { 'x-request-id': 'mine' });
    t.equal(second.headers.get('cache-status'), 'bazar; hit', path);
    t.equal(second.headers.get('x-request-id'), 'mine');
    t.same(asked, [], 'the catalog is not asked');
    t.equal(await second.text(), await first.text());
    const { 'access-control-expose-headers': _, ...long } = headersOf(first);
    t.same(headersOf(second), long, 'the short way says what the long one says');
    t.match(headersOf(second), securityHeaders);
    const etag = first.headers.get('etag') ?? '';
    t.equal((await get(path, { 'if-none-match': etag })).status, 304);
    const crossed = await get(path, { origin: 'http://127.0.0.1:8080' });
    t.equal(crossed.headers.get('access-control-allow-origin'), 'http://127.0.0.1:8080');
    t.equal(crossed.headers.get('cache-status'), 'bazar; hit', 'on the long way too');
  }
  for (const path of ['/info/2?x=1', '/%69nfo/02', '/search/%64istributed?limit=%31']) {
    t.equal((await get(path)).headers.get('cache-status'), 'bazar; hit', `nor for ${path}`);
  }
  t.match(await (await get('/info/2')).json(), { quantity: 2 });
  t.match((await app.inject(buy(2))).json(), { order: { item_id: 2 } });
  const after = await get('/info/2');
  t.equal(after.headers.get('cache-status'), 'bazar; fwd=miss');
  t.match(await after.json(), { quantity: 1 });
  t.equal((await get('/topics?limit=1')).headers.get('cache-status'), 'bazar; hit');
  const counted = async () =>
    Number(
      (await app.inject('/metrics')).body.match(
        /requests_total\{route="\/info\/:item_id",method="GET",status="200"\} (\d+)/,
      )?.[1],
    );
  const before = await counted();
  t.equal((await get('/info/2')).headers.get('cache-status'), 'bazar; hit');
  t.equal(await counted(), before + 1, 'what is at hand is counted, too');
});

t.test('when a request is no plain read, then it is answered as ever', async (t) => {
  const { get, url } = await openWithLease(t);
  await get('/info/2');
  t.equal((await get('/info/2')).headers.get('cache-status'), 'bazar; hit');
  const { port } = new URL(url);
  const host = `Host: 127.0.0.1:${port}\r\n`;
  const next = `GET /health/live HTTP/1.1\r\n${host}Connection: close\r\n\r\n`;
  const requests: readonly (readonly [string, RegExp])[] = [
    [`HEAD /info/2 HTTP/1.1\r\n${host}\r\n`, /^HTTP\/1.1 200 .*\r\n\r\nHTTP\/1.1 200 /s],
    [`GET /info/2 HTTP/1.1\r\n${host}Content-Length: 2\r\n\r\n{}`, /^HTTP\/1.1 200 /],
    [
      `GET /info/2 HTTP/1.1\r\n${host}Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n`,
      /^HTTP\/1.1 200 /,
    ],
    [`GET /info/2 HTTP/1.1\r\n${host}${host}\r\n`, /^HTTP\/1.1 400 /],
    ['GET /info/2 HTTP/1.1\r\n\r\n', /^HTTP\/1.1 400 /],
    [`GET /info/2?limit=%zz HTTP/1.1\r\n${host}\r\n`, /^HTTP\/1.1 400 /],
    ['GET /info/2 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n', /^HTTP\/1.1 200 /],
  ];
  for (const [request, expected] of requests) {
    const answers = await rawAnswers(Number(port), request + next);
    t.match(answers, expected, request);
    t.equal(answers.match(/HTTP\/1\.1 /g)?.length, 2, 'and the next one is answered');
  }
});

t.test('when the gateway stops, then no sale waits for it', async (t) => {
  const { app, get, asked, catalogApp } = await openWithLease(t);
  await get('/info/2');
  asked.length = 0;
  await app.close();
  t.match(asked, ['POST /leases/end']);
  const payload = { price: 3 };
  const update = { method: 'POST', url: '/update/2', payload } as const;
  t.equal((await catalogApp.inject(update)).statusCode, 200);
  t.equal(asked.length, 1, 'nobody is told');
});

t.test('when requests are counted by address, then no shortcut is taken', async (t) => {
  const { get } = await openWithLease(t, { RATE_LIMIT: '20' });
  await get('/info/2');
  const answers = await Promise.all(Array.from({ length: 60 }, () => get('/info/2')));
  t.ok(
    answers.some(({ status }) => status === 429),
    'what is counted is counted',
  );
});

t.test('when somebody tells of changes, then only the right lease acknowledges', async (t) => {
  const env = { SERVICE_TOKEN: token };
  const { app } = await openWithLease(t, env);
  const post = (payload: object, sent: object = { authorization: `Bearer ${token}` }) =>
    app.inject({ method: 'POST', url: '/invalidations', payload, headers: { ...sent } });
  const changes = { books: [1], titles: true };
  const stranger = { instance: randomUUID(), epoch: randomUUID(), ...changes };
  t.match((await post(stranger)).json(), { status: 409, code: 'lease_unknown' });
  t.equal((await post(stranger, {})).statusCode, 401);
  t.equal((await post(stranger, { authorization: 'Bearer wrong' })).statusCode, 403);
  t.equal((await post({ ...stranger, books: ['1'] })).statusCode, 400);
});
