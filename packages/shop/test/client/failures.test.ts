import { request as httpRequest } from 'node:http';
import { BazarError, createAdmin, createBazar } from '@bazar/client';
import { Failure, type FailureCode, failureCodes, failures, gateway } from '@bazar/contracts';
import { buildOrder, createPurchases, openCsvStore } from '@bazar/order';
import { createService, mount } from '@bazar/service';
import { nodeDisk } from '@bazar/storage';
import t, { type Test } from 'tap';
import { launchShop, type Shop } from '../../src/index.js';

const adminToken = 'a'.repeat(32);
const key = '0190a6f0-0000-7abc-8def-0123456789ab';
const config = { HOST: '127.0.0.1', PORT: 0, LOG_LEVEL: 'silent' } as const;

let shop: Shop;
t.before(async () => {
  shop = await launchShop({
    dataDir: t.testdir(),
    env: { LOG_LEVEL: 'fatal', ADMIN_TOKEN: adminToken },
  });
});
t.teardown(() => shop.kill());

const bazar = (options = {}) =>
  createBazar({ baseUrl: shop.urls.gateway, maxRetries: 0, ...options });
const admin = (options = {}) => {
  const { catalog: catalogUrl, order: orderUrl } = shop.urls;
  return createAdmin({ catalogUrl, orderUrl, token: adminToken, maxRetries: 0, ...options });
};

/** A `fetch` that changes the request that the client has made: no client of ours makes such. */
const changed =
  (
    change: (
      init: RequestInit & { headers: Record<string, string> },
      url: URL,
    ) => RequestInit | undefined,
  ) =>
  (url: string, init: RequestInit & { headers: Record<string, string> }): Promise<Response> => {
    const target = new URL(url);
    return fetch(target, { ...init, ...change(init, target) });
  };

/** A `fetch` by Node's own client, which sends what `fetch` refuses to. */
function bare(headers: Record<string, string>, body?: 'never') {
  return (
    url: string,
    init: RequestInit & { headers: Record<string, string> },
  ): Promise<Response> =>
    new Promise((resolve, reject) => {
      const { method = 'GET' } = init;
      const sent = { ...init.headers, ...headers };
      const request = httpRequest(url, { method, headers: sent }, async (response) => {
        const chunks: Buffer[] = [];
        for await (const chunk of response) chunks.push(chunk);
        const { statusCode: status = 0 } = response;
        const answered = Object.entries(response.headers).map(([name, value]) => [
          name,
          String(value),
        ]);
        resolve(
          new Response(Buffer.concat(chunks), { status, headers: Object.fromEntries(answered) }),
        );
        request.destroy();
      });
      request.on('error', reject);
      if (body === 'never') request.flushHeaders();
      else request.end();
    });
}

const like = (fetch: unknown) => ({ fetch: fetch as typeof globalThis.fetch });

/** A service of our kit whose books are not at hand, for this reason. */
async function openFailing(t: Test, reason: Error): Promise<string> {
  const fail = () => {
    throw reason;
  };
  const app = createService({
    name: 'gateway',
    config,
    requestTimeoutMs: 300,
    connectionsCheckingIntervalMs: 50,
  });
  const { home: _home, ...routes } = gateway;
  mount(app, routes, { search: fail, info: fail, topics: fail, purchase: fail, order: fail });
  t.teardown(() => app.close());
  return app.listen({ host: '127.0.0.1', port: 0 });
}

/** An order service on a disk that has no room. */
async function openFull(t: Test): Promise<string> {
  const disk: typeof nodeDisk = {
    ...nodeDisk,
    async open(path, mode) {
      if (path.includes('.reserve')) throw Object.assign(new Error('no room'), { code: 'ENOSPC' });
      return nodeDisk.open(path, mode);
    },
  };
  const store = await openCsvStore({
    disk,
    folder: t.testdir(),
    monotonic: () => performance.now(),
    log() {},
    onBroken: (error) => t.fail(error.message),
  });
  const purchases = createPurchases({ store, assertOpen() {}, sell: async () => [] });
  const audit = {
    store,
    readFeed: async () => t.fail('nobody asks for the feed'),
    readTotals: async () => t.fail('nobody asks for the totals'),
  };
  const app = buildOrder(purchases, audit as never, {
    config: { ...config, DATA_DIR: 'unused', CATALOG_URLS: 'unused' },
  });
  t.teardown(async () => {
    await app.close();
    await store.close();
  });
  return app.listen({ host: '127.0.0.1', port: 0 });
}

/** How each failure of the table is met by a client of a real service. */
const meetings: Readonly<Record<FailureCode, (t: Test) => PromiseLike<unknown>>> = {
  malformed_request: () => bazar().search('distributed', { limit: 0 }),
  unauthorized: () => admin({ token: undefined }).audit(),
  forbidden: () => admin({ token: 'b'.repeat(32) }).audit(),
  book_not_found: () => bazar().purchase(999),
  order_not_found: () => bazar().order(key),
  route_not_found: () => bazar({ baseUrl: `${shop.urls.gateway}/nowhere` }).info(1),
  method_not_allowed: () => bazar(like(changed(() => ({ method: 'DELETE' })))).info(1),
  request_timeout: async (t) =>
    createBazar({
      baseUrl: await openFailing(t, new Error('nobody gets that far')),
      maxRetries: 0,
      ...like(bare({ 'content-type': 'application/json', 'content-length': '10' }, 'never')),
    }).purchase(1),
  expectation_failed: () => bazar(like(bare({ expect: 'a miracle' }))).info(1),
  lease_unknown: () =>
    bazar(
      like(
        changed((_init, url) => {
          url.pathname = '/invalidations';
          const body = { instance: key, books: [], titles: false };
          const headers = { 'content-type': 'application/json' };
          return { method: 'POST', headers, body: JSON.stringify(body) };
        }),
      ),
    ).purchase(1),
  stock_below_zero: () => admin().update(1, { quantity_delta: -1_000_000 }),
  body_too_large: () =>
    admin().addBook({ title: 'a'.repeat(100_000), topic: 'b', quantity: 1, price: 1 }),
  url_too_long: async (t) => {
    await t.rejects(bazar().search('a'.repeat(101)), { code: 'malformed_request' });
    return bazar().search('a'.repeat(600));
  },
  unsupported_media_type: () =>
    admin(
      like(changed(({ headers }) => ({ headers: { ...headers, 'content-type': 'text/csv' } }))),
    ).update(1, { price: 1 }),
  key_reused: async () => {
    await bazar().purchase(1, { key });
    return bazar().purchase(2, { key });
  },
  too_many_requests: async (t) => {
    const limited = await launchShop({
      dataDir: t.testdir(),
      env: { LOG_LEVEL: 'fatal', RATE_LIMIT: '1' },
    });
    t.teardown(() => limited.kill());
    const calls = Array.from({ length: 5 }, () => bazar({ baseUrl: limited.urls.gateway }).info(1));
    return Promise.all(calls);
  },
  headers_too_large: () => bazar({ headers: { 'x-long': 'a'.repeat(20_000) } }).info(1),
  internal: async (t) => bazar({ baseUrl: await openFailing(t, new Error('a mistake')) }).info(1),
  unavailable: async () => {
    await shop.service('order').kill();
    return bazar().purchase(1);
  },
  overloaded: async (t) =>
    bazar({ baseUrl: await openFailing(t, new Failure('overloaded', 'too much')) }).info(1),
  storage_full: async (t) => bazar({ baseUrl: await openFull(t) }).purchase(1),
  deadline_exceeded: async (t) => {
    shop.service('catalog').pause();
    t.teardown(() => shop.service('catalog').resume());
    const hurried = changed(({ headers }) => ({ headers: { ...headers, 'x-timeout-ms': '100' } }));
    return bazar(like(hurried)).info(3);
  },
};

t.test('every failure of the table arrives as the error of its code', async (t) => {
  t.strictSame(Object.keys(meetings).toSorted(), failureCodes.toSorted());
  for (const code of failureCodes) {
    await t.test(code, async (t) => {
      const met = await Promise.resolve(meetings[code](t)).then(
        () => undefined,
        (reason: unknown) => reason,
      );
      t.ok(met instanceof BazarError, String(met));
      t.match(met, { code, status: failures[code].status, requestId: /^[\w-]+$/ });
    });
  }
});
