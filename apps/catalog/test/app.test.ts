import { randomUUID } from 'node:crypto';
import { createCaller } from '@bazar/client/caller';
import { checkResponses } from '@bazar/client/check';
import { injectTransport } from '@bazar/client/inject';
import {
  type Contract,
  catalogAdmin,
  catalog as catalogContract,
  Failure,
  health,
} from '@bazar/contracts';
import { catalogInternal, type SaleOperation } from '@bazar/contracts/internal';
import type { FastifyInstance, ServiceOptions } from '@bazar/service';
import t, { type Test } from 'tap';
import { buildCatalog } from '../src/app.js';
import { type Catalog, createCatalog } from '../src/catalog.js';
import { readCatalogConfig } from '../src/config.js';
import { withoutGateways } from '../src/leases.js';
import type { CatalogStore } from '../src/store.js';
import { idOf } from './ids.js';
import { createMachine } from './machine.js';

const adminToken = 'admin-token-of-the-test';
const serviceToken = 'service-token-of-the-test';

const config = readCatalogConfig({
  LOG_LEVEL: 'silent',
  ADMIN_TOKEN: adminToken,
  SERVICE_TOKEN: serviceToken,
});

function callerOf<const C extends Contract>(app: FastifyInstance, contract: C, token?: string) {
  return createCaller(contract, injectTransport(app), {
    check: checkResponses(contract),
    ...(token !== undefined && { headers: { authorization: `Bearer ${token}` } }),
  });
}

interface Shop {
  readonly app: FastifyInstance;
  readonly catalog: Catalog;
  /** The end of the longest wait that nothing else has ended. */
  readonly timers: (() => void)[];
}

/** The service on a new folder, with what `change` makes of its store. */
async function open(
  t: Test,
  change = (store: CatalogStore) => store,
  hasRoom = async () => true,
  options: Pick<ServiceOptions, 'logStream' | 'now'> = {},
  now = () => performance.now(),
): Promise<Shop> {
  const machine = createMachine(t.testdir());
  const timers: (() => void)[] = [];
  const catalog = createCatalog({
    store: change(await machine.open()),
    leases: withoutGateways,
    hasRoom,
    now,
    after(_ms, run) {
      timers.push(run);
      return () => timers.splice(timers.indexOf(run), 1);
    },
  });
  const level = options.logStream === undefined ? config.LOG_LEVEL : 'info';
  const app = buildCatalog(catalog, { config: { ...config, LOG_LEVEL: level }, ...options });
  t.teardown(async () => {
    await app.close();
    await catalog.close();
  });
  return { app, catalog, timers };
}

async function openCallers(t: Test) {
  const shop = await open(t);
  return {
    ...shop,
    anyone: callerOf(shop.app, catalogContract),
    admin: callerOf(shop.app, catalogAdmin, adminToken),
    services: callerOf(shop.app, catalogInternal, serviceToken),
  };
}

function sale(n: number, itemId: number): SaleOperation {
  return {
    operation_id: idOf(n),
    kind: 'sale',
    item_id: itemId,
    quantity_delta: -1,
    request_id: `request-${n}`,
  };
}

const rpcs = { id: 2, title: 'RPCs for Noobs', topic: 'distributed', quantity: 2, price: 50 };

t.test('when books are asked for, then the bodies are those of the report', async (t) => {
  const { app } = await open(t);
  const bodies: Record<string, string> = {
    '/search/distributed':
      '[{"id":1,"title":"How to get a good grade in DOS in 40 minutes a day"},' +
      '{"id":2,"title":"RPCs for Noobs"}]',
    '/search/DISTRIBUTED?limit=1':
      '[{"id":1,"title":"How to get a good grade in DOS in 40 minutes a day"}]',
    '/search/distributed?after=1': '[{"id":2,"title":"RPCs for Noobs"}]',
    '/search/nothing': '[]',
    '/search/a%2Fb%20%C3%A4': '[]',
    '/info/2': JSON.stringify(rpcs),
    '/info/002': JSON.stringify(rpcs),
    '/topics': '[{"topic":"distributed","titles":2},{"topic":"undergrad","titles":2}]',
    '/topics?after=distributed': '[{"topic":"undergrad","titles":2}]',
    '/topics?after=%C3%A4': '[]',
  };
  for (const [url, body] of Object.entries(bodies)) {
    const answer = await app.inject(url);
    t.match(answer, { statusCode: 200, body }, url);
    t.equal(answer.body, body);
    t.match(answer.headers, {
      'content-type': 'application/json; charset=utf-8',
      'cache-control': 'no-cache',
      etag: /^"[\w-]+"$/,
    });
  }
});

t.test(
  'when the caller has the answer already, then it is told so, until it changes',
  async (t) => {
    const { app, services } = await openCallers(t);
    for (const url of ['/info/2', '/search/distributed', '/topics']) {
      const { headers } = await app.inject(url);
      const etag = String(headers['etag']);
      const again = { url, headers: { 'if-none-match': `"x", W/${etag}` } };
      t.match(await app.inject(again), { statusCode: 304, body: '', headers: { etag } });
    }
    const { headers } = await app.inject('/info/2');
    const conditional = { url: '/info/2', headers: { 'if-none-match': String(headers['etag']) } };
    await services.updates({ body: { updates: [sale(1, 2)] } });
    t.match(await app.inject(conditional), { statusCode: 200, body: /"quantity":1/ });
  },
);

t.test('when an answer has more than a page, then links lead through all of it', async (t) => {
  const { app, anyone, admin } = await openCallers(t);
  const topics = ['a/b?c=1&d', 'Ωμέγα', 'ΩΜΈΓΑ', 'a/b?c=1&d', '100%'];
  for (const topic of topics) {
    await admin.addBook({ body: { title: `On ${topic}`, topic, quantity: 1, price: 1 } });
  }
  async function walk(first: string): Promise<unknown[][]> {
    const pages: unknown[][] = [];
    for (let url: string | undefined = first; url !== undefined; ) {
      const { statusCode, headers, body } = await app.inject(url);
      t.equal(statusCode, 200, url);
      pages.push(JSON.parse(body));
      const link: unknown = headers['link'];
      url = /^<([!-~]+)>; rel="next"$/.exec(String(link))?.[1];
      t.equal(url === undefined, link === undefined, String(link));
    }
    return pages;
  }
  const slash = encodeURIComponent('A/B?C=1&D');
  t.match(await walk(`/search/${slash}?limit=1`), [[{ id: 5 }], [{ id: 8 }]]);
  t.match(await walk(`/search/${encodeURIComponent('ωμέγα')}?limit=1`), [[{ id: 6 }], [{ id: 7 }]]);
  t.same(
    (await walk('/search/distributed?limit=2')).map((page) => page.length),
    [2],
  );
  const { body: whole } = await anyone.topics();
  t.equal(whole.length, 5);
  for (const limit of [1, 2, 3, 5, 1000]) {
    t.same((await walk(`/topics?limit=${limit}`)).flat(), whole, `pages of ${limit}`);
  }
});

t.test('when a book is added or changed, then the answer shows it', async (t) => {
  const { app, anyone, admin } = await openCallers(t);
  const asAdmin = { authorization: `Bearer ${adminToken}` };
  const post = (url: string, payload: object) =>
    app.inject({ method: 'POST', url, payload, headers: asAdmin });
  const added = await post('/books', {
    title: 'Ὀδύσσεια',
    topic: 'epic',
    quantity: 3,
    price: 9.99,
  });
  t.match(added, { statusCode: 201, headers: { 'cache-control': 'no-store' } });
  t.equal(
    added.body,
    '{"message":"Book added","book":{"id":5,"title":"Ὀδύσσεια","topic":"epic",' +
      '"quantity":3,"price":9.99}}',
  );
  const changed = await post('/update/2', { price: 45.5 });
  t.equal(changed.statusCode, 200);
  t.equal(
    changed.body,
    '{"message":"Updated successfully","book":{"id":2,"title":"RPCs for Noobs",' +
      '"topic":"distributed","quantity":2,"price":45.5}}',
  );
  t.match(await admin.update({ params: { item_id: 2 }, body: { quantity: 20 } }), {
    status: 200,
    body: { book: { quantity: 20 } },
  });
  t.match(await admin.update({ params: { item_id: 2 }, body: { quantity_delta: -3, price: 0 } }), {
    body: { book: { quantity: 17, price: 0 } },
  });
  t.match(await anyone.info({ params: { item_id: 2 } }), { body: { quantity: 17, price: 0 } });
  const refused = await post('/update/2', { quantity_delta: -18 });
  t.match(refused.json(), {
    type: 'urn:problem-type:bazar:stock_below_zero',
    status: 409,
    code: 'stock_below_zero',
    detail: /from 17 below zero/,
  });
});

t.test('when a request is malformed, then it is a 400 that names the field', async (t) => {
  const { app, anyone } = await openCallers(t);
  const before = await anyone.info({ params: { item_id: 2 } });
  const gets: Record<string, RegExp> = {
    '/info/3.7': /item_id/,
    '/info/0x10': /item_id/,
    '/info/-1': /item_id/,
    '/info/9007199254740993': /item_id/,
    '/info/%31e1': /item_id/,
    '/search/x?limit=0': /limit/,
    '/search/x?limit=1001': /limit/,
    '/search/x?after=-1': /after/,
    '/search/x?limit=1&limit=2': /limit/,
    '/search/x?page=2': /page/,
    '/topics?limit=x': /limit/,
    '/topics?after=': /after/,
    '/topics?after=%ff': /query/,
  };
  for (const [url, detail] of Object.entries(gets)) {
    const answer = await app.inject(url);
    t.equal(answer.statusCode, 400, url);
    t.match(answer.json(), { code: 'malformed_request', detail });
  }
  const book = { title: 'A', topic: 'b', quantity: 1, price: 1 };
  const posts: [url: string, payload: unknown, detail: RegExp][] = [
    ['/update/2', {}, /./],
    ['/update/2', { quantity: 1, quantity_delta: 1 }, /quantity/],
    ['/update/2', { quantity: -1 }, /quantity/],
    ['/update/2', { quantity: 1.5 }, /quantity/],
    ['/update/2', { quantity: '1' }, /quantity/],
    ['/update/2', { price: 1.999 }, /price/],
    ['/update/2', { price: -1 }, /price/],
    ['/update/2', { price: null }, /price/],
    ['/update/2', { title: 'B', price: 1 }, /title/],
    ['/update/2', [], /./],
    ['/update/x', { price: 1 }, /item_id/],
    ['/books', { ...book, title: '=1+1' }, /title/],
    ['/books', { ...book, title: '@home' }, /title/],
    ['/books', { ...book, title: ' A' }, /title/],
    ['/books', { ...book, title: 'A\nB' }, /title/],
    ['/books', { ...book, title: '' }, /title/],
    ['/books', { ...book, topic: 'b'.repeat(101) }, /topic/],
    ['/books', { ...book, topic: '.' }, /topic/],
    ['/books', { ...book, topic: '..' }, /topic: .*Neither . nor ../],
    ['/books', { ...book, id: 7 }, /id/],
    ['/books', { title: 'A', topic: 'b', quantity: 1 }, /price/],
  ];
  for (const [url, payload, detail] of posts) {
    const answer = await app.inject({
      method: 'POST',
      url,
      payload: JSON.stringify(payload),
      headers: { authorization: `Bearer ${adminToken}`, 'content-type': 'application/json' },
    });
    t.equal(answer.statusCode, 400, `${url} ${JSON.stringify(payload)}`);
    t.match(answer.json(), { code: 'malformed_request', detail });
  }
  t.same((await anyone.info({ params: { item_id: 2 } })).body, before.body);
  t.match((await app.inject('/info/99')).json(), { status: 404, code: 'book_not_found' });
  t.match((await app.inject('/nowhere')).json(), { status: 404, code: 'route_not_found' });
  t.match((await app.inject('/update/2')).json(), { status: 405, code: 'method_not_allowed' });
});

t.test('when a key is repeated, then the answer is, in any spelling of the key', async (t) => {
  const { app, services } = await openCallers(t);
  const key = randomUUID();
  const post = (url: string, payload: object, spelling: string) =>
    app.inject({
      method: 'POST',
      url,
      payload,
      headers: { authorization: `Bearer ${adminToken}`, 'idempotency-key': spelling },
    });
  const book = { title: 'A', topic: 'b', quantity: 1, price: 1 };
  const requests = [
    ['/update/2', { quantity_delta: 3 }, key, 200],
    ['/books', book, randomUUID(), 201],
  ] as const;
  for (const [url, payload, own, status] of requests) {
    const first = await post(url, payload, own);
    t.match(first, { statusCode: status });
    t.notOk('idempotency-replayed' in first.headers);
    for (const spelling of [own.toUpperCase(), `"${own}"`, `"${own.toUpperCase()}"`]) {
      const again = await post(url, payload, spelling);
      t.match(again, { statusCode: status, headers: { 'idempotency-replayed': 'true' } });
      t.equal(again.body, first.body);
    }
  }
  t.match((await app.inject('/info/2')).json(), { quantity: 5 });
  t.match((await app.inject('/topics')).json(), [{ topic: 'b', titles: 1 }, {}, {}]);
  t.match((await post('/update/2', { quantity_delta: 4 }, key)).json(), {
    status: 422,
    code: 'key_reused',
  });
  t.match((await post('/books', book, key)).json(), { code: 'key_reused' });
  const operation = { ...sale(1, 2), operation_id: key };
  t.match(await services.updates({ body: { updates: [operation] } }), {
    body: { outcomes: [{ result: 'failed', problem: { code: 'key_reused' } }] },
  });
  for (const spelling of ['', 'x', `'${key}'`, `${key}0`]) {
    t.match(await post('/update/2', { price: 1 }, spelling), { statusCode: 400 });
  }
});

t.test('when a batch of sales comes, then each has its own outcome', async (t) => {
  const { services } = await openCallers(t);
  const updates = [
    sale(1, 2),
    sale(2, 9),
    sale(3, 2),
    sale(4, 2),
    { ...sale(5, 1), timeout_ms: 0 },
  ];
  const { body } = await services.updates({ body: { updates } });
  t.match(body.outcomes, [
    { operation_id: idOf(1), result: 'sold', replayed: false, sale: 1, title: 'RPCs for Noobs' },
    { operation_id: idOf(2), result: 'failed', problem: { code: 'book_not_found' } },
    { operation_id: idOf(3), result: 'sold', replayed: false, sale: 2, price: 50 },
    { operation_id: idOf(4), result: 'sold_out', replayed: false },
    { operation_id: idOf(5), result: 'failed', problem: { code: 'deadline_exceeded' } },
  ]);
  const again = await services.updates({ body: { updates: updates.slice(0, 4) } });
  t.match(again.body.outcomes, [
    { ...body.outcomes[0], replayed: true },
    { problem: { code: 'book_not_found' } },
    { ...body.outcomes[2], replayed: true },
    { result: 'sold_out', replayed: true },
  ]);
  t.match(await services.operations({ query: { after: 1, limit: 5 } }), {
    body: {
      catalog_id: /^[0-9a-f-]{36}$/,
      first_sale: 1,
      last_sale: 2,
      operations: [{ sale: 2, operation_id: idOf(3), item_id: 2 }],
    },
  });
  t.same((await services.totals({ query: { after: 1, limit: 1 } })).body, {
    sale: 2,
    books: [{ item_id: 2, stocked: 2, remaining: 0, sold: 2 }],
  });
  t.equal((await services.totals()).body.books.length, 4);
  const many = Array.from({ length: 1024 }, (_, n) => sale(100 + n, 1));
  const { outcomes } = (await services.updates({ body: { updates: many } })).body;
  t.equal(outcomes.filter(({ result }) => result === 'sold').length, 10, 'a full batch');
  t.same(
    outcomes.map(({ operation_id }) => operation_id),
    many.map(({ operation_id }) => operation_id),
  );
});

t.test('when its time is up before its commit, then an operation is not begun', async (t) => {
  let release = () => {};
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  let batches = 0;
  const clock = { now: 0 };
  const { catalog } = await open(
    t,
    (store) => ({
      ...store,
      async apply(operations) {
        batches += 1;
        if (batches === 2) await held;
        return store.apply(operations);
      },
    }),
    undefined,
    undefined,
    () => clock.now,
  );
  const made = await catalog.sell([sale(1, 2)]);
  const first = catalog.sell([sale(2, 1)]);
  await new Promise((resolve) => setImmediate(resolve));
  const behind = catalog.sell([
    { ...sale(3, 1), timeout_ms: 5 },
    { ...sale(4, 1), timeout_ms: 6 },
    { ...sale(1, 2), timeout_ms: 5 },
    { ...sale(5, 1), timeout_ms: 0 },
    sale(6, 1),
  ]);
  const tooLate = { code: 'deadline_exceeded', nothingDone: true };
  const change = t.rejects(catalog.change(idOf(7), 1, { quantity_delta: 100 }, 5), tooLate);
  const book = { title: 'A', topic: 'b', quantity: 1, price: 1 };
  const addition = t.rejects(catalog.add(idOf(8), book, 5), tooLate);
  clock.now = 5;
  release();
  t.match(await first, [{ result: 'sold' }]);
  const late = { result: 'failed', problem: { code: 'deadline_exceeded', nothing_done: true } };
  t.match(await behind, [
    late,
    { result: 'sold', sale: 3 },
    { ...made[0], replayed: true },
    late,
    { result: 'sold', sale: 4 },
  ]);
  await change;
  await addition;
  t.match(await catalog.info(1), { quantity: 10 - 3 }, 'nothing was spent on those who had gone');
  t.match(await catalog.sell([sale(3, 1)]), [{ result: 'sold', replayed: false, sale: 5 }]);
});

t.test(
  'when a caller has no time, or it passes, then a change is a 504 that says so',
  async (t) => {
    let release = () => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    const { app } = await open(t, (store) => ({
      ...store,
      apply: (operations) => held.then(() => store.apply(operations)),
    }));
    const authorization = `Bearer ${adminToken}`;
    const update = (headers: object, price = 7) =>
      app.inject({
        method: 'POST',
        url: '/update/1',
        payload: { price },
        headers: { authorization, ...headers },
      });
    const key = idOf(1);
    const spent = { 'x-timeout-ms': '0' };
    t.match((await update({ ...spent, 'idempotency-key': key })).json(), {
      status: 504,
      code: 'deadline_exceeded',
      detail: new RegExp(`no time .* changed nothing; it may be repeated with .*: ${key}$`),
    });
    t.match((await app.inject({ url: '/info/1', headers: spent })).json(), { status: 504 });
    const late = (await update({ 'x-timeout-ms': '20' })).json();
    t.match(late, {
      status: 504,
      detail: /within 20 ms\. Whether the change was made is not known/,
    });
    const named = /Idempotency-Key: ([0-9a-f-]{36}) tells, and changes nothing twice$/;
    const [, made = ''] = named.exec(late.detail) ?? [];
    release();
    const told = await update({ 'idempotency-key': made });
    t.match(
      told,
      { statusCode: 200, headers: { 'idempotency-replayed': 'true' } },
      'the key tells',
    );
    t.match(told.json(), { book: { price: 7 } });
    t.match((await update({ 'idempotency-key': key }, 8)).json(), { book: { price: 8 } });
  },
);

t.test('when a batch is malformed, then it is refused as a whole', async (t) => {
  const { app, anyone } = await openCallers(t);
  const batches = [
    {},
    { updates: [] },
    { updates: Array.from({ length: 1025 }, (_, n) => sale(n, 1)) },
    { updates: [sale(1, 2), { ...sale(2, 2), quantity_delta: -2 }] },
    { updates: [{ ...sale(1, 2), kind: 'gift' }] },
    { updates: [{ ...sale(1, 2), operation_id: idOf(1).toUpperCase() }] },
    { updates: [{ ...sale(1, 2), note: 'x' }] },
    { updates: [sale(1, 2)], more: true },
  ];
  for (const payload of batches) {
    const headers = { authorization: `Bearer ${serviceToken}` };
    const answer = await app.inject({ method: 'POST', url: '/updates', payload, headers });
    t.match(answer.json(), { status: 400, code: 'malformed_request' });
  }
  t.match(await anyone.info({ params: { item_id: 2 } }), { body: { quantity: 2 } });
});

t.test('when the feed is polled, then it waits for a sale, and no longer than told', async (t) => {
  const { app, catalog, timers, services } = await openCallers(t);
  const poll = (after: number, wait_ms: number) =>
    services.operations({ query: { after, wait_ms } });
  async function waiting(count: number) {
    while (timers.length < count) await new Promise((resolve) => setImmediate(resolve));
  }
  await t.test('a sale wakes all that wait', async (t) => {
    const polls = [poll(0, 60_000), poll(0, 60_000)];
    await waiting(2);
    await services.updates({ body: { updates: [sale(1, 1)] } });
    for (const { body } of await Promise.all(polls)) t.match(body, { last_sale: 1 });
    t.equal(timers.length, 0, 'and their timers are taken back');
  });
  await t.test('what is there already is not waited for', async (t) => {
    t.match(await poll(0, 60_000), { body: { operations: [{ sale: 1 }] } });
    t.match(await poll(1, 0), { body: { operations: [], last_sale: 1 } });
  });
  await t.test('when the time is up, then there is none', async (t) => {
    const late = poll(1, 10);
    await waiting(1);
    timers[0]?.();
    t.match(await late, { body: { operations: [], last_sale: 1 } });
  });
  await t.test('when the service stops, then nobody waits any more', async (t) => {
    const last = poll(1, 60_000);
    await waiting(1);
    await app.close();
    t.match(await last, { body: { operations: [] } });
    t.match(await catalog.operations(1, 1, 60_000), { operations: [] }, 'nor begins to');
  });
});

t.test('when a sale comes while the feed is read, then the poll does not sleep on', async (t) => {
  let sell = async () => {};
  const { catalog } = await open(t, (store) => ({
    ...store,
    async operations(after, limit) {
      const feed = await store.operations(after, limit);
      await sell();
      return feed;
    },
  }));
  sell = async () => {
    sell = async () => {};
    await catalog.sell([sale(1, 1)]);
  };
  t.match(await catalog.operations(0, 10, 60_000), { lastSale: 1, operations: [{ sale: 1 }] });
});

t.test('when more waits than can be remembered, then the rest is refused', async (t) => {
  let release = () => {};
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  const { catalog } = await open(t, (store) => ({
    ...store,
    apply: (operations) => held.then(() => store.apply(operations)),
  }));
  const first = catalog.sell(Array.from({ length: 1024 }, (_, n) => sale(n, 1)));
  await new Promise((resolve) => setImmediate(resolve));
  const others = catalog.sell(Array.from({ length: 20_010 }, (_, n) => sale(10_000 + n, 1)));
  release();
  await first;
  const codes = (await others).map((each) => each.result === 'failed' && each.problem.code);
  t.equal(codes.filter((code) => code === 'overloaded').length, 10);
  t.ok(
    codes.slice(-10).every((code) => code === 'overloaded'),
    'the last to come',
  );
});

t.test('when a keeper changes a book, then the log tells who changed what', async (t) => {
  const lines: string[] = [];
  const { app } = await open(t, undefined, undefined, {
    logStream: { write: (line) => lines.push(line) },
  });
  const post = (url: string, payload: object, sent: string = adminToken) =>
    app.inject({
      method: 'POST',
      url,
      payload,
      headers: { authorization: `Bearer ${sent}`, 'x-request-id': `of ${url}`.replace(/\W/g, '-') },
    });
  const told = () => lines.splice(0).map((line) => JSON.parse(line));
  await post('/update/2', { price: 45.5 });
  t.match(told(), [
    { level: 30, reqId: 'of--update-2', item_id: 2, price: 45.5, msg: 'a book was changed' },
  ]);
  await post('/update/2', { quantity_delta: 3 });
  t.match(told(), [{ item_id: 2, quantity_delta: 3 }]);
  const book = { title: 'Emma', topic: 'novels', quantity: 3, price: 9.99 };
  await post('/books', book);
  t.match(told(), [{ reqId: 'of--books', item_id: 5, ...book, msg: 'a book was added' }]);
  await post('/update/2', { quantity_delta: -1000 });
  await post('/update/2', { price: 1 }, serviceToken);
  t.same(told(), [], 'what came to nothing changed nothing');
});

t.test('when the disk is full, then writes are a 503 that can be repeated', async (t) => {
  let isFull = true;
  let looks = 0;
  let time = 0;
  const full = new Failure('storage_full', 'the catalog has no room to record it');
  const { app, catalog } = await open(
    t,
    (store) => ({
      ...store,
      apply: (operations) => (isFull ? Promise.reject(full) : store.apply(operations)),
    }),
    async () => {
      looks += 1;
      return !isFull;
    },
    { now: () => time },
  );
  const healthy = { status: 'ok', dependencies: { storage: 'ok' } };
  t.same((await app.inject('/health/ready')).json(), healthy, 'nobody has noticed yet');
  const update = {
    method: 'POST',
    url: '/update/2',
    payload: { price: 1 },
    headers: { authorization: `Bearer ${adminToken}` },
  } as const;
  const refused = await app.inject(update);
  t.match(refused.json(), { status: 503, code: 'storage_full' });
  t.match(refused.headers, { 'retry-after': /^\d+$/ });
  t.match(await catalog.sell([sale(1, 2)]), [
    {
      operation_id: idOf(1),
      result: 'failed',
      problem: { code: 'storage_full', nothing_done: true },
    },
  ]);
  t.equal(looks, 0);
  time += 1000;
  for (const { body } of await Promise.all([1, 2, 3].map(() => app.inject('/health/ready')))) {
    const detail = 'storage: the catalog has no room to record it';
    t.match(JSON.parse(body), { status: 503, code: 'storage_full', detail });
  }
  t.equal(looks, 1, 'the disk is looked at once, however many ask');
  t.match(await app.inject('/info/2'), { statusCode: 200 });
  isFull = false;
  time += 1000;
  t.same((await app.inject('/health/ready')).json(), healthy, 'it is seen before the next sale');
  t.match(await app.inject(update), { statusCode: 200 });
});

t.test('when a token is missing or wrong, then the door stays shut', async (t) => {
  const { app } = await open(t);
  const guarded = [
    ['POST', '/update/2', adminToken, serviceToken],
    ['POST', '/books', adminToken, serviceToken],
    ['POST', '/updates', serviceToken, adminToken],
    ['GET', '/operations', serviceToken, adminToken],
    ['GET', '/totals', serviceToken, adminToken],
  ] as const;
  for (const [method, url, right, wrong] of guarded) {
    const knock = (authorization?: string) =>
      app.inject({ method, url, headers: authorization === undefined ? {} : { authorization } });
    t.match((await knock()).json(), { status: 401, code: 'unauthorized' }, url);
    t.match((await knock(right)).json(), { status: 401, code: 'unauthorized' });
    t.match((await knock(`Bearer ${wrong}`)).json(), { status: 403, code: 'forbidden' });
    const { statusCode } = await knock(`Bearer ${right}`);
    t.equal(statusCode, method === 'GET' ? 200 : 400, 'the right one leads to the route');
  }
});

t.test(
  'when the routes are listed, then they are those of the contracts, and known ones',
  async (t) => {
    const { app } = await open(t);
    const routes = new Set<string>();
    app.addHook('onRoute', ({ method, url }) => {
      for (const each of [method].flat()) routes.add(`${each} ${url}`);
    });
    await app.ready();
    const contracts: Contract[] = [catalogContract, catalogAdmin, catalogInternal, health];
    const declared = contracts.flatMap((contract) =>
      Object.values(contract).map(({ method, url }) => `${method} ${url}`),
    );
    for (const route of declared) t.ok(routes.has(route), route);
    const others = [...routes].filter(
      (route) =>
        !declared.includes(route) &&
        !declared.includes(route.replace('HEAD', 'GET')) &&
        !/^(GET|HEAD) \/docs/.test(route),
    );
    t.same(others.sort(), ['GET /metrics', 'HEAD /metrics']);
  },
);

t.test(
  'when the API document is read, then it shows the public routes and no internal',
  async (t) => {
    const { app } = await open(t);
    await app.ready();
    const document = (await app.inject('/docs/json')).json();
    t.match(document, { openapi: '3.1.0', info: { title: 'Bazar: catalog' } });
    t.same(Object.keys(document.paths).sort(), [
      '/books',
      '/health/live',
      '/health/ready',
      '/info/{item_id}',
      '/metrics',
      '/search/{topic}',
      '/topics',
      '/update/{item_id}',
    ]);
    t.same(document.paths['/books'].post.security, [{ bearer: [] }]);
    t.same(document.paths['/topics'].get.security ?? [], [], 'open to all');
    t.match((await app.inject('/health/ready')).json(), { status: 'ok' });
    t.match(await app.inject('/metrics'), { statusCode: 200, body: /bazar_http_requests_total/ });
  },
);

t.test('when an environment does not do, then the start says why', async (t) => {
  t.match(readCatalogConfig({}), { HOST: '127.0.0.1', PORT: 5001, DATA_DIR: './data' });
  t.throws(() => readCatalogConfig({ PORT: 'x' }), /PORT is "x"/);
  t.throws(
    () => readCatalogConfig({ DATABASE_URL: 'postgres://a' }),
    /does not name a host and one/,
  );
  t.throws(() => readCatalogConfig({ HOST: '0.0.0.0' }), /SERVICE_TOKEN/);
});
