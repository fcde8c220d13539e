import { randomUUID } from 'node:crypto';
import { getEventListeners } from 'node:events';
import { catalogAdmin, gateway, orderAdmin } from '@bazar/contracts';
import t from 'tap';
import { checkResponses } from '../src/caller/check.js';
import {
  BazarConnectionError,
  BazarContractError,
  BazarError,
  BazarTimeoutError,
  createAdmin,
  createBazar,
  type Fetch,
} from '../src/index.js';
import { cut, openBazar, openEffects, openShop, problem, reply, silence, sold } from './shop.js';

const book = { id: 2, title: 'RPCs for Noobs', topic: 'distributed', quantity: 2, price: 50 };
const order = {
  order_id: '0190a6f0-0000-7abc-8def-0123456789ab',
  item_id: 2,
  title: 'RPCs for Noobs',
  price: 50,
  timestamp: '2026-11-22T17:16:36.937Z',
};

t.test('when a book is asked for, then it comes with all that came with it', async (t) => {
  const { baseUrl, heard } = await openShop(t, reply(book, { etag: '"e"', 'x-request-id': 'r-1' }));
  const bazar = createBazar({ baseUrl: `${baseUrl}/`, token: 'secret', headers: { 'x-own': 'a' } });
  t.strictSame(await bazar.info(2), book);
  const { data, status, headers, requestId } = await bazar.info(2).withResponse();
  t.strictSame([data, status, headers.get('etag'), requestId], [book, 200, '"e"', 'r-1']);
  t.match(heard[0], {
    method: 'GET',
    url: '/info/2',
    headers: {
      accept: /application\/json/,
      authorization: 'Bearer secret',
      'x-own': 'a',
      'x-request-id': /^[\w-]{36}$/,
      'x-timeout-ms': /^\d+$/,
    },
  });
});

t.test('when a call differs from its client, then the call holds', async (t) => {
  const { baseUrl, heard } = await openShop(t, reply(book));
  const bazar = createBazar({ baseUrl, token: 'a', headers: { 'x-own': 'a', 'x-kept': 'k' } });
  await bazar.info(2, { token: 'b', headers: { 'x-own': 'b' }, requestId: 'mine' });
  t.match(heard[0]?.headers, {
    authorization: 'Bearer b',
    'x-own': 'b',
    'x-kept': 'k',
    'x-request-id': 'mine',
  });
  let asked = 0;
  const own = async () => {
    asked += 1;
    return Response.json(book);
  };
  t.strictSame(await bazar.info(2, { fetch: own }), book);
  t.equal(asked, 1);
});

t.test('when a purchase is answered, then it is sold or sold out', async (t) => {
  const { baseUrl, heard } = await openShop(
    t,
    sold(order),
    reply({ message: 'Out of stock' }, { 'idempotency-replayed': 'true' }),
  );
  const bazar = createBazar({ baseUrl });
  const call = bazar.purchase(2);
  const bought = { ...order, order_id: call.key };
  t.strictSame(await call, { result: 'sold', order: bought, replayed: false });
  const key = order.order_id;
  t.strictSame(await bazar.purchase(2, { key }), { result: 'sold_out', replayed: true });
  t.match(heard[0], {
    method: 'POST',
    url: '/purchase/2',
    headers: { 'idempotency-key': /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-/ },
    body: '',
  });
  t.equal(heard[1]?.headers['idempotency-key'], key);
});

t.test('when a list has several pages, then it is read to its end, or by the page', async (t) => {
  const link = (after: string) => ({
    link: `</elsewhere/search/x?limit=2&after=${after}>; rel="next"`,
  });
  const first = [
    { id: 1, title: 'A' },
    { id: 2, title: 'B' },
  ];
  const { baseUrl, heard } = await openShop(
    t,
    reply(first, link('2')),
    reply(first, link('2')),
    reply([{ id: 3, title: 'C' }]),
    reply([{ topic: 'a b', titles: 1 }], link('a%20b')),
    reply([]),
  );
  const bazar = createBazar({ baseUrl });
  t.strictSame(await bazar.search('x', { limit: 2 }), { items: first, next: 2 });
  const titles: string[] = [];
  for await (const { title } of bazar.search('a/b', { limit: 2 })) titles.push(title);
  t.strictSame(titles, ['A', 'B', 'C']);
  const { items, next } = await bazar.topics();
  t.strictSame([items, next], [[{ topic: 'a b', titles: 1 }], 'a b']);
  t.strictSame(await bazar.topics({ after: next }), { items: [], next: undefined });
  t.strictSame(
    heard.map(({ url }) => url),
    [
      '/search/x?limit=2',
      '/search/a%2Fb?limit=2',
      '/search/a%2Fb?after=2&limit=2',
      '/topics',
      '/topics?after=a%20b',
    ],
  );
});

t.test('when a list is left early, then no further page is asked for', async (t) => {
  const link = { link: '</search/x?after=1>; rel="next"' };
  const { baseUrl, heard } = await openShop(t, reply([{ id: 1, title: 'A' }], link));
  for await (const { id } of createBazar({ baseUrl }).search('x')) {
    t.equal(id, 1);
    break;
  }
  t.equal(heard.length, 1);
});

t.test('when the shop tells a problem, then that is the error', async (t) => {
  const { baseUrl, heard } = await openShop(
    t,
    problem('book_not_found', 404, { 'x-request-id': 'r-9' }, 'there is no book 7'),
  );
  const failed = createBazar({ baseUrl }).info(7);
  const error = await failed.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  t.ok(error instanceof BazarError);
  t.match(error, {
    name: 'BazarError',
    code: 'book_not_found',
    status: 404,
    requestId: 'r-9',
    message: /there is no book 7/,
  });
  t.equal(heard.length, 1, 'what will not change is not asked again');
});

t.test('when an answer is against the contract, then the error says that', async (t) => {
  const json = { 'content-type': 'application/json' };
  const answers = {
    'a page of HTML': { headers: { 'content-type': 'text/html' }, body: '<h1>Hello</h1>' },
    'no JSON': { headers: json, body: '{"id":' },
    'another shape': reply({ hello: 'world' }),
    'nothing at all': { headers: json, body: '' },
    null: reply(null),
    'no media type': { body: '{}' },
    'a redirect without a target': { status: 304 },
    'an unknown code': problem('teapot', 418),
    'a code of another status': problem('book_not_found', 500),
    'a problem that is no object': { ...problem('internal', 500), body: '[]' },
    'a problem of HTML': { status: 500, headers: { 'content-type': 'text/html' }, body: 'Oops' },
    'an answer that is huge': reply('x'.repeat(10_000)),
  };
  for (const [what, answer] of Object.entries(answers)) {
    const { baseUrl, heard } = await openShop(t, answer);
    const call = createBazar({ baseUrl, maxResponseBytes: 5000, maxRetries: 0 }).info(2, {
      requestId: 'mine',
    });
    const error = await call.catch((reason: unknown) => reason);
    t.ok(error instanceof BazarContractError, what);
    t.match(error, { code: 'contract', requestId: 'mine', message: /^GET \/info\/:item_id/ }, what);
    t.equal(heard.length, 1, what);
  }
});

t.test(
  'when a purchase is answered against the contract, then its key is in the error',
  async (t) => {
    for (const body of [{ message: 'Out of order' }, {}, [], 'sold']) {
      const { baseUrl } = await openShop(t, reply(body));
      const error = await createBazar({ baseUrl })
        .purchase(2, { key: order.order_id })
        .catch((reason: unknown) => reason);
      t.ok(error instanceof BazarContractError);
      t.equal((error as BazarError).key, order.order_id);
    }
  },
);

t.test('when answers are to be checked, then a wrong field is found', async (t) => {
  const check = checkResponses(gateway);
  const { baseUrl } = await openShop(
    t,
    reply({ ...book, price: '50' }),
    reply({ ...book, new: 1 }),
  );
  const bazar = createBazar({ baseUrl, check });
  await t.rejects(bazar.info(2), { code: 'contract', message: /\/price/ });
  t.strictSame(await bazar.info(2), { ...book, new: 1 }, 'what is new does no harm');
});

t.test('when an outcome is unknown, then the same request is sent again', async (t) => {
  const { effects, pauses } = openEffects();
  const { baseUrl, heard } = await openShop(
    t,
    cut,
    problem('unavailable', 503, { 'retry-after': '3' }),
    problem('internal', 500),
    { status: 502, headers: { 'content-type': 'text/html' }, body: 'Bad Gateway' },
    sold(order, { 'idempotency-replayed': 'true' }),
  );
  const bazar = openBazar({ baseUrl }, effects);
  t.match(await bazar.purchase(2), { result: 'sold', replayed: true });
  const keys = new Set(heard.map(({ headers }) => headers['idempotency-key']));
  const ids = new Set(heard.map(({ headers }) => headers['x-request-id']));
  t.strictSame([heard.length, keys.size, ids.size], [5, 1, 1]);
  t.strictSame(pauses, [100, 3750, 400, 800], 'full jitter, and no less than was asked for');
});

t.test('when a cut comes in the middle of an answer, then it is asked again', async (t) => {
  const { effects } = openEffects();
  const { baseUrl } = await openShop(
    t,
    (_request, response) => {
      response.writeHead(200, { 'content-type': 'application/json', 'content-length': '100' });
      response.write('{"id":2,', () => response.socket?.resetAndDestroy());
    },
    reply(book),
  );
  t.strictSame(await openBazar({ baseUrl }, effects).info(2), book);
});

t.test('when nothing helps, then the last error is told, with the key', async (t) => {
  const { effects } = openEffects();
  const { baseUrl, heard } = await openShop(t, cut);
  const bazar = openBazar({ baseUrl, maxRetries: 2 }, effects);
  const error = await bazar.purchase(2).catch((reason: unknown) => reason);
  t.ok(error instanceof BazarConnectionError);
  t.ok((error as BazarError).cause instanceof Error);
  t.equal((error as BazarError).key, heard[0]?.headers['idempotency-key']);
  t.equal(heard.length, 3);
  await t.rejects(bazar.info(2, { maxRetries: 0 }), BazarConnectionError);
  t.equal(heard.length, 4, 'never, if so wanted');
});

t.test('when no time is left for a repeat, then there is none', async (t) => {
  const { effects, pauses } = openEffects();
  const { baseUrl, heard } = await openShop(t, problem('overloaded', 503, { 'retry-after': '20' }));
  const bazar = openBazar({ baseUrl, timeoutMs: 10_000 }, effects);
  await t.rejects(bazar.info(2), { code: 'overloaded', retryAfterMs: 20_000 });
  t.strictSame([heard.length, pauses], [1, []]);
});

t.test('when nobody answers, then the call ends with its time', async (t) => {
  const { baseUrl, heard } = await openShop(t, silence);
  const bazar = createBazar({ baseUrl, timeoutMs: 300, maxRetries: 1 });
  const error = await bazar.purchase(2).catch((reason: unknown) => reason);
  t.ok(error instanceof BazarTimeoutError);
  t.match(error, { code: 'timeout', status: undefined, key: /-7/, message: /POST \/purchase/ });
  t.ok(heard.length >= 1);
  t.ok(Number(heard[0]?.headers['x-timeout-ms']) <= 300, 'its time was sent along');
});

t.test('when the first attempt is never answered, then there is time for another', async (t) => {
  const { baseUrl, heard } = await openShop(t, silence, reply(book));
  t.strictSame(await createBazar({ baseUrl, timeoutMs: 4000 }).info(2), book);
  t.equal(heard.length, 2);
});

t.test('when a fetch hears no signal, then the call ends all the same', async (t) => {
  const deaf = () => new Promise<Response>(() => {});
  const bazar = createBazar({ baseUrl: 'http://127.0.0.1:1', fetch: deaf, timeoutMs: 50 });
  await t.rejects(bazar.info(2, { maxRetries: 0 }), BazarTimeoutError);
  const giveUp = new AbortController();
  const call = bazar.info(2, { timeoutMs: 60_000, signal: giveUp.signal });
  giveUp.abort(new Error('enough'));
  await t.rejects(call, { message: 'enough' });
});

t.test('when a call is given up, then its reason is the error', async (t) => {
  const { baseUrl, heard } = await openShop(t, silence);
  const bazar = createBazar({ baseUrl });
  const reason = new Error('enough');
  await t.rejects(bazar.info(2, { signal: AbortSignal.abort(reason) }), reason);
  t.equal(heard.length, 0, 'nothing is sent for whoever has given up before');
  const giveUp = new AbortController();
  const call = bazar.info(2, { signal: giveUp.signal });
  giveUp.abort(reason);
  await t.rejects(call, reason);
  const slow = await openShop(t, problem('unavailable', 503, { 'retry-after': '5' }));
  const waiting = new AbortController();
  const pause = createBazar({ baseUrl: slow.baseUrl }).info(2, { signal: waiting.signal });
  setTimeout(() => waiting.abort(reason), 50);
  await t.rejects(pause, reason, 'also while it waits for a repeat');
});

t.test('when a shop is down, then its callers do not multiply the load', async (t) => {
  const { effects } = openEffects();
  const { baseUrl, heard } = await openShop(t, problem('unavailable', 503));
  const bazar = openBazar({ baseUrl, timeoutMs: 1e9 }, effects);
  for (let call = 0; call < 200; call += 1) await t.rejects(bazar.info(2), { code: 'unavailable' });
  t.equal(heard.length, 300, 'a hundred repeats, then none');
});

t.test('when an option is wrong, then that is said by its name', (t) => {
  const baseUrl = 'http://127.0.0.1:5000';
  t.throws(() => createBazar({ baseUrl: '127.0.0.1:5000' }), /no base URL/);
  t.throws(() => createBazar({ baseUrl: 'ftp://shop' }), /no base URL/);
  t.throws(() => createBazar({ baseUrl: 'http://shop?x=1' }), /no base URL/);
  const orderUrl = 'http://user:secret@shop';
  t.throws(() => createAdmin({ catalogUrl: baseUrl, orderUrl }), /^orderUrl((?!secret).)*$/);
  t.throws(() => createBazar({ baseUrl, token: 'sec\nret' }), /^token((?!sec).)*$/);
  t.throws(() => createBazar({ baseUrl, token: '' }), new TypeError('token is empty'));
  t.throws(() => createBazar({ baseUrl, fetch: 'x' as never }), /fetch/);
  const unknown = { baseUrl, timeout: 5 };
  t.throws(() => createBazar(unknown), new TypeError('timeout is no option here'));
  const ofOneCall = { baseUrl, requestId: 'a' };
  t.throws(() => createBazar(ofOneCall), new TypeError('requestId is no option here'));
  t.throws(() => createBazar({ baseUrl, headers: 5 as never }), /^headers/);
  t.throws(() => createBazar({ baseUrl, headers: { a: 'sec\nret' } }), /^headers((?!sec).)*$/);
  for (const [name, option] of [
    ['Idempotency-Key', 'key'],
    ['X-Request-Id', 'requestId'],
    ['x-timeout-ms', 'timeoutMs'],
    ['Content-Type', 'client itself'],
  ] as const) {
    const wrong = () => createBazar({ baseUrl, headers: { [name]: 'a' } });
    t.throws(wrong, { name: 'TypeError', message: new RegExp(`${name}.*${option}`, 'i') });
  }
  const twice = { baseUrl, token: 'a', headers: { Authorization: 'Basic b' } };
  t.throws(() => createBazar(twice), /authorization.*token/);
  t.throws(() => createBazar({ baseUrl, timeoutMs: 0 }), /timeoutMs/);
  t.throws(() => createBazar({ baseUrl, timeoutMs: Number.NaN }), /timeoutMs/);
  t.throws(() => createBazar({ baseUrl, maxRetries: 0.5 }), /maxRetries/);
  t.throws(() => createBazar({ baseUrl, maxResponseBytes: 0 }), /maxResponseBytes/);
  t.end();
});

t.test('when an argument has no form in a URL, then nothing is sent', async (t) => {
  const { baseUrl, heard } = await openShop(t, reply([]));
  const bazar = createBazar({ baseUrl });
  await t.rejects(bazar.search(''), TypeError);
  await t.rejects(bazar.search('\ud800'), TypeError);
  for (const dots of ['.', '..']) {
    await t.rejects(bazar.search(dots), { name: 'TypeError', message: /^topic/ });
    await t.rejects(bazar.order(dots), { name: 'TypeError', message: /^order_id/ });
  }
  for (const id of [1.5, -1, Number.NaN, 1e21, Number.POSITIVE_INFINITY]) {
    await t.rejects(bazar.purchase(id), { name: 'TypeError', message: /^item_id/ });
  }
  await t.rejects(bazar.info(2, { headers: { 'x-own': 'a\r\nb: c' } }), TypeError);
  const misnamed = { idempotencyKey: randomUUID(), timeoutMs: 5000 };
  await t.rejects(bazar.purchase(2, misnamed), new TypeError('idempotencyKey is no option here'));
  t.equal(heard.length, 0);
});

t.test('when the keeper changes something, then it is done at most once', async (t) => {
  const catalog = await openShop(
    t,
    reply({ message: 'Updated successfully', book }),
    { ...reply({ message: 'Book added', book }), status: 201 },
    reply({ message: 'Updated successfully' }),
  );
  const orders = await openShop(
    t,
    reply([{ ...order, sale: 1 }]),
    reply({ balanced: true, sale: 1 }),
  );
  const admin = createAdmin({
    catalogUrl: catalog.baseUrl,
    orderUrl: orders.baseUrl,
    token: 'secret',
  });
  t.strictSame(await admin.update(2, { quantity_delta: 3 }), book);
  const { id: _id, ...fresh } = book;
  t.strictSame(await admin.addBook(fresh, { key: order.order_id }), book);
  await t.rejects(admin.update(2, { price: 1 }), BazarContractError);
  t.strictSame((await admin.orders()).items, [{ ...order, sale: 1 }]);
  t.match(await admin.audit(), { balanced: true });
  t.match(catalog.heard, [
    { method: 'POST', url: '/update/2', body: '{"quantity_delta":3}' },
    { url: '/books', headers: { 'idempotency-key': order.order_id } },
  ]);
  t.match(catalog.heard[0]?.headers, {
    authorization: 'Bearer secret',
    'content-type': 'application/json',
    'idempotency-key': /-7/,
  });
  t.equal(orders.heard[0]?.headers.authorization, 'Bearer secret');
});

t.test('when nobody knows what became of a purchase, then the error has its key', async (t) => {
  const { effects } = openEffects();
  const after = async (maxRetries: number, ...turns: Parameters<typeof openShop>[1][]) => {
    const { baseUrl } = await openShop(t, ...turns);
    const call = openBazar({ baseUrl, maxRetries }, effects).purchase(2);
    const error = await call.catch((reason: unknown) => reason);
    t.ok(error instanceof BazarError);
    const { code, key } = error as BazarError;
    return { code, isKnown: key === undefined, isItsOwn: key === call.key };
  };
  const missing = problem('book_not_found', 404);
  const unknown = { isKnown: false, isItsOwn: true };
  t.match(await after(0, missing), { code: 'book_not_found', isKnown: true });
  t.match(await after(0, problem('too_many_requests', 429)), { isKnown: true });
  t.match(await after(0, problem('unavailable', 503)), { code: 'unavailable', ...unknown });
  t.match(await after(0, cut), { code: 'connection', ...unknown });
  t.match(await after(0, { body: 'Hello' }), { code: 'contract', ...unknown });
  t.match(await after(1, cut, missing), { code: 'book_not_found', ...unknown }, 'the first may');
  t.match(await after(1, problem('too_many_requests', 429), missing), { isKnown: true });
});

t.test('when a purchase is ended by its caller, then its key is at hand', async (t) => {
  const { baseUrl, heard } = await openShop(t, silence);
  const giveUp = new AbortController();
  const call = createBazar({ baseUrl }).purchase(2, { signal: giveUp.signal });
  giveUp.abort(new Error('enough'));
  await t.rejects(call, { message: 'enough' });
  t.match(call.key, /-7/);
  for (const { headers } of heard) t.equal(headers['idempotency-key'], call.key);
});

t.test('when many calls share a signal, then they add one listener to it', async (t) => {
  const { baseUrl } = await openShop(t, reply(book));
  const bazar = createBazar({ baseUrl });
  const { signal } = new AbortController();
  await Promise.all(Array.from({ length: 30 }, () => bazar.info(2, { signal })));
  t.equal(getEventListeners(signal, 'abort').length, 1);
  await bazar.info(2, { signal });
  t.equal(getEventListeners(signal, 'abort').length, 1);
});

t.test('when somebody before the shop says when to come again, then that holds', async (t) => {
  const html = { 'content-type': 'text/html' };
  const date = { date: 'Sun, 22 Nov 2026 12:00:00 GMT' };
  const turns = [
    { status: 503, headers: { ...html, 'retry-after': '2' } },
    { status: 429, headers: { ...html, ...date, 'retry-after': 'Sun, 22 Nov 2026 12:00:03 GMT' } },
    { status: 500, headers: { ...html, 'retry-after': 'soon' } },
    { status: 504, headers: { ...html, ...date, 'retry-after': 'Sun, 22 Nov 2026 11:59:00 GMT' } },
  ];
  const { effects, pauses } = openEffects(0);
  const { baseUrl } = await openShop(t, ...turns, reply(book));
  t.strictSame(await openBazar({ baseUrl }, effects).info(2), book);
  t.strictSame(pauses, [2000, 3000, 0, 0], 'in seconds, as a date, and what is neither');
});

t.test('when a newer shop tells a problem, then it is told on', async (t) => {
  const { baseUrl } = await openShop(t, problem('payment_required', 402, {}, 'pay first'));
  await t.rejects(createBazar({ baseUrl }).info(2), {
    code: 'contract',
    status: 402,
    message: /payment_required.*pay first/,
  });
});

t.test('when an answer is to another question, then it is not taken', async (t) => {
  const other = '0190a6f0-0000-7abc-8def-00000000000f';
  const { baseUrl } = await openShop(t, reply({ message: 'bought', order }));
  const bazar = createBazar({ baseUrl });
  await t.rejects(bazar.purchase(2), { code: 'contract' }, 'the order of another key');
  await t.rejects(bazar.purchase(3, { key: order.order_id }), { code: 'contract' }, 'another book');
  const upper = { key: order.order_id.toUpperCase() };
  t.match(await bazar.purchase(2, upper), { result: 'sold' }, 'the same key in capitals');
  const shop = createBazar({ baseUrl: (await openShop(t, reply(book), reply(order))).baseUrl });
  await t.rejects(shop.info(3), { code: 'contract' });
  await t.rejects(shop.order(other), { code: 'contract' });
  t.strictSame(await shop.order(order.order_id), order);
});

t.test('when a list does not get further, then it ends with an error', async (t) => {
  for (const after of ['7', '3', 'x', '', '-1', '1e3', '0x10']) {
    const link = { link: `</search/x?after=${after}>; rel="next"` };
    const { baseUrl, heard } = await openShop(t, reply([{ id: 7, title: 'A' }], link));
    const read = async () => {
      for await (const _book of createBazar({ baseUrl }).search('x')) t.ok(heard.length <= 2);
    };
    await t.rejects(read(), BazarContractError);
  }
});

t.test('when a list is given up, then not even its page is read on', async (t) => {
  const page = [1, 2, 3].map((id) => ({ id, title: 'A' }));
  const { baseUrl } = await openShop(t, reply(page));
  const giveUp = new AbortController();
  const seen: number[] = [];
  const read = async () => {
    for await (const { id } of createBazar({ baseUrl }).search('x', { signal: giveUp.signal })) {
      seen.push(id);
      giveUp.abort(new Error('enough'));
    }
  };
  await t.rejects(read(), { message: 'enough' });
  t.strictSame(seen, [1]);
});

t.test('when a call fails, then the trace leads to its caller', async (t) => {
  const { baseUrl } = await openShop(t, problem('book_not_found', 404));
  const bazar = createBazar({ baseUrl });
  async function asksForIt(how: 'plain' | 'withResponse'): Promise<unknown> {
    if (how === 'plain') return await bazar.info(7);
    return await bazar.info(7).withResponse();
  }
  for (const how of ['plain', 'withResponse'] as const) {
    const error = await asksForIt(how).catch((reason: unknown) => reason);
    t.match((error as Error).stack, /asksForIt/, how);
  }
});

t.test('when the contract to check by is another one, then that is said', async (t) => {
  const { baseUrl } = await openShop(t, reply({ balanced: 'nonsense' }));
  const admin = createAdmin({ catalogUrl: baseUrl, orderUrl: baseUrl });
  await t.rejects(admin.audit({ check: checkResponses(gateway) }), { message: /no route audit/ });
  const check = checkResponses({ ...catalogAdmin, ...orderAdmin });
  await t.rejects(admin.audit({ check }), { message: /in the body, \/\w+: Expected/ });
});

t.test('when a success cannot be read, then it is asked for again', async (t) => {
  const { effects } = openEffects();
  const json = { 'content-type': 'application/json' };
  const cutShort = { headers: json, body: '{"message":"bought","order":{"or' };
  const { baseUrl, heard } = await openShop(t, cutShort, sold(order));
  t.match(await openBazar({ baseUrl }, effects).purchase(2), { result: 'sold' });
  const keys = new Set(heard.map(({ headers }) => headers['idempotency-key']));
  t.strictSame([heard.length, keys.size], [2, 1]);
});

t.test('when the shop sends elsewhere, then nobody goes there', async (t) => {
  const other = await openShop(t, reply(book));
  const { baseUrl, heard } = await openShop(t, {
    status: 307,
    headers: { location: `${other.baseUrl}/info/2` },
  });
  const bazar = createBazar({ baseUrl, token: 'secret' });
  await t.rejects(bazar.info(2), { code: 'contract', status: 307 });
  t.strictSame([heard.length, other.heard.length], [1, 0]);
});

t.test('when a part of an answer is nothing, then it is not passed on', async (t) => {
  const { baseUrl } = await openShop(t, reply([null]), reply({ order: null }), reply({ book: 7 }));
  const bazar = createBazar({ baseUrl });
  await t.rejects(bazar.search('x'), BazarContractError);
  await t.rejects(bazar.purchase(2), BazarContractError);
  const admin = createAdmin({ catalogUrl: baseUrl, orderUrl: baseUrl });
  await t.rejects(admin.update(2, { price: 1 }), BazarContractError);
});

t.test('when a caller gives up with an error of ours, then it is not asked again', async (t) => {
  const { effects, pauses } = openEffects();
  const { baseUrl, heard } = await openShop(t, silence);
  const giveUp = new AbortController();
  const call = openBazar({ baseUrl }, effects).info(2, { signal: giveUp.signal });
  const reason = new BazarError('unavailable', 'a sibling failed', { requestId: 'r', status: 503 });
  giveUp.abort(reason);
  t.equal(await call.catch((error: unknown) => error), reason);
  t.ok(heard.length <= 1);
  t.strictSame(pauses, []);
});

t.test('when a pause takes too long, then nothing is sent after the deadline', async (t) => {
  const { effects, pass } = openEffects();
  const { baseUrl, heard } = await openShop(t, problem('unavailable', 503));
  const asleep = {
    ...effects,
    async sleep() {
      pass(60_000);
    },
  };
  await t.rejects(openBazar({ baseUrl }, asleep).purchase(2), { code: 'unavailable', key: /-7/ });
  t.equal(heard.length, 1);
});

t.test('when a failure says much, then the message stays one short line', async (t) => {
  const { baseUrl } = await openShop(
    t,
    problem(
      'book_not_found',
      404,
      { 'x-request-id': 'r'.repeat(65) },
      `a\n\u001b[31m${'b'.repeat(9000)}`,
    ),
  );
  const error = await createBazar({ baseUrl })
    .info(2, { requestId: 'mine' })
    .catch((reason: unknown) => reason);
  t.ok(error instanceof BazarError);
  t.match(error, { requestId: 'mine', message: /a \[31mb+$/ });
  t.ok((error as BazarError).message.length < 600);
});

t.test('when the shop answers at all, then its repeats stay affordable', async (t) => {
  const { effects } = openEffects();
  const turns = Array.from({ length: 150 }, () => [cut, problem('book_not_found', 404)]).flat();
  const { baseUrl } = await openShop(t, ...turns);
  const bazar = openBazar({ baseUrl, timeoutMs: 1e9 }, effects);
  for (let call = 0; call < 150; call += 1) {
    await t.rejects(bazar.info(2), { code: 'book_not_found' });
  }
});

t.test(
  'when a call is repeated, then each attempt says what is left of the patience',
  async (t) => {
    const { effects, pass } = openEffects();
    const { baseUrl, heard } = await openShop(
      t,
      problem('unavailable', 503),
      problem('unavailable', 503),
      reply(book),
    );
    const passing = {
      ...effects,
      async sleep() {
        pass(1000);
      },
    };
    await openBazar({ baseUrl, timeoutMs: 10_000, maxRetries: 2 }, passing).info(2);
    t.strictSame(
      heard.map(({ headers }) => Number(headers['x-timeout-ms'])),
      [4750, 4275, 7600],
      'a little less than half, and in the end than all of it',
    );
  },
);

t.test('when a call ends before its answer, then the connection is let go', async (t) => {
  const signals: AbortSignal[] = [];
  const deaf: Fetch = (_url, { signal }) => {
    signals.push(signal);
    return new Promise(() => {});
  };
  const bazar = createBazar({ baseUrl: 'http://127.0.0.1:1', fetch: deaf, maxRetries: 0 });
  await t.rejects(bazar.info(2, { timeoutMs: 20 }), BazarTimeoutError);
  t.ok(signals[0]?.aborted);
});

t.test('when a list has options, then all of its pages have them', async (t) => {
  const link = { link: '</search/x?after=1>; rel=next' };
  const { baseUrl, heard } = await openShop(t, reply([{ id: 1, title: 'A' }], link), reply([]));
  const options = { token: 'secret', headers: { 'x-own': 'a' }, requestId: 'mine' };
  const seen: number[] = [];
  for await (const { id } of createBazar({ baseUrl }).search('x', options)) seen.push(id);
  t.strictSame(seen, [1]);
  t.equal(heard.length, 2);
  for (const { headers } of heard) {
    t.match(headers, { authorization: 'Bearer secret', 'x-own': 'a', 'x-request-id': 'mine' });
  }
});

t.test('when an answer comes in pieces, then its letters stay whole', async (t) => {
  const title = 'Ünïcödé — 書店';
  const bytes = Buffer.from(JSON.stringify({ ...book, title }));
  const { baseUrl } = await openShop(t, (_request, response) => {
    response.writeHead(200, { 'content-type': 'Application/JSON ; charset=utf-8' });
    const send = (at: number): void => {
      if (at === bytes.length) response.end();
      else response.write(bytes.subarray(at, at + 1), () => setImmediate(send, at + 1));
    };
    send(0);
  });
  t.match(await createBazar({ baseUrl }).info(2), { title });
});

t.test(
  'when every answer is checked, then every call has a contract to be checked by',
  async (t) => {
    const { baseUrl } = await openShop(t, reply({ wrong: true }));
    const complaints = new Set<string>();
    const check = (route: string) => {
      complaints.add(route);
      return 'all is wrong';
    };
    const bazar = createBazar({ baseUrl, check });
    const admin = createAdmin({ catalogUrl: baseUrl, orderUrl: baseUrl, check });
    const calls = [
      () => bazar.search('x'),
      () => bazar.info(2),
      () => bazar.topics(),
      () => bazar.purchase(2),
      () => bazar.order(order.order_id),
      () => admin.addBook({ title: 'A', topic: 'b', quantity: 1, price: 1 }),
      () => admin.update(2, { price: 1 }),
      () => admin.orders(),
      () => admin.audit(),
    ];
    for (const call of calls) {
      const asked: PromiseLike<unknown> = call();
      await t.rejects(Promise.resolve(asked), { message: /all is wrong/ });
    }
    const { home: _home, ...shop } = gateway;
    const routes = Object.keys({ ...shop, ...catalogAdmin, ...orderAdmin });
    t.strictSame([...complaints].toSorted(), routes.toSorted());
  },
);
