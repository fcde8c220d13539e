import { once } from 'node:events';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { type Contract, Failure, health, Problem } from '@bazar/contracts';
import { Value } from '@sinclair/typebox/value';
import type { FastifyInstance } from 'fastify';
import t, { type Test } from 'tap';
import {
  callerOf,
  createFailureLog,
  createService,
  type Dependencies,
  type Handlers,
  mount,
  nextLink,
  ready,
  representation,
  type ServiceOptions,
  securityHeaders,
} from '../src/index.js';
import { boundedStream, createLogger } from '../src/logger.js';
import { etagOf } from '../src/representation.js';
import { pageSecurityHeaders } from '../src/security-headers.js';
import { faults, openStall, pen, secret, stall, stallHandlers, token } from './stall.js';

function open(t: Test, options: Parameters<typeof openStall>[0] = {}): FastifyInstance {
  const app = openStall(options);
  t.teardown(() => app.close());
  return app;
}

async function listen(app: FastifyInstance): Promise<number> {
  await app.listen({ host: '127.0.0.1', port: 0 });
  const { port } = app.server.address() as AddressInfo;
  return port;
}

/** A raw connection and what it has received so far. */
function dial(port: number) {
  const socket: Socket = connect(port, '127.0.0.1');
  let received = '';
  socket.setEncoding('utf8');
  socket.on('data', (text) => {
    received += text;
  });
  socket.on('error', () => {});
  const closed = once(socket, 'close');
  return {
    socket,
    closed: async () => {
      await closed;
      return received;
    },
    until: async (text: string) => {
      while (!received.includes(text)) await once(socket, 'data');
      return received;
    },
  };
}

/** Holds handlers until it is opened. */
function gate() {
  let openGate = () => {};
  const opened = new Promise<void>((resolve) => {
    openGate = resolve;
  });
  let announce = () => {};
  const reached = new Promise<void>((resolve) => {
    announce = resolve;
  });
  const wait = () => {
    announce();
    return opened;
  };
  return { wait, reached, open: () => openGate() };
}

t.test(
  'when a request is well-formed, then its handler answers as the contract says',
  async (t) => {
    const app = open(t);
    await t.test('and ids are numbers, absent parameters absent', async (t) => {
      const { headers, ...answer } = await app.inject('/wares/00012');
      t.match(answer, { statusCode: 200, body: JSON.stringify({ ...pen, id: 12 }) });
      t.equal(headers['content-type'], 'application/json; charset=utf-8');
      t.match((await app.inject('/kinds/a%2Fb?limit=5')).json(), {
        kind: 'a/b',
        types: 'undefined number',
      });
      t.match((await app.inject('/kinds/a?after=0&limit=1000')).json(), { types: 'number number' });
    });
    await t.test('and a purchase takes no body, an empty one of any type, and {}', async (t) => {
      const url = '/wares/3/buy';
      const json = 'application/json';
      const inputs = [
        {},
        { headers: { 'content-type': json } },
        { headers: { 'content-type': 'text/plain' } },
        { headers: { 'content-type': 'nonsense' } },
        { headers: { 'content-type': '' } },
        { headers: { 'content-type': 'application/x-www-form-urlencoded', 'content-length': '0' } },
        { headers: { 'content-type': json }, payload: '{}' },
        { headers: { 'content-type': `${json}; charset=utf-8` }, payload: ' {} ' },
        { headers: { 'content-type': 'Application/JSON' }, payload: '\uFEFF{}' },
      ];
      for (const input of inputs) {
        const { statusCode, body } = await app.inject({ method: 'POST', url, ...input });
        t.match(
          { statusCode, body },
          { statusCode: 200, body: '{"bought":3}' },
          JSON.stringify(input),
        );
      }
    });
    await t.test(
      'and the one success status is sent, with a body, without, as a page',
      async (t) => {
        const payload = { title: 'Füller', quantity: 0, price: 19.99 };
        const added = await app.inject({ method: 'POST', url: '/wares', payload });
        t.match(added, { statusCode: 201, body: '{"title":"Füller"}' });
        const forgotten = await app.inject({ method: 'POST', url: '/forget' });
        t.match(forgotten, { statusCode: 204, body: '' });
        t.notOk(forgotten.headers['content-type']);
        const page = await app.inject('/');
        t.match(page, { statusCode: 200, body: '<p>wares</p>' });
        t.equal(page.headers['content-type'], 'text/html; charset=utf-8');
      },
    );
    await t.test('and HEAD says what GET would, and the body of a GET is ignored', async (t) => {
      const { headers, statusCode } = await app.inject({ method: 'HEAD', url: '/wares/2' });
      t.match({ statusCode, length: headers['content-length'] }, { statusCode: 200, length: '33' });
      t.equal(headers.etag, etagOf(ready(pen)));
      const got = await app.inject({ method: 'GET', url: '/wares/2', payload: '{"a' });
      t.equal(got.statusCode, 200);
    });
    await t.test('and the token opens, whatever the case of the scheme', async (t) => {
      for (const scheme of ['Bearer', 'bearer']) {
        const headers = { authorization: `${scheme} ${token}` };
        const request = {
          method: 'POST',
          url: '/secret',
          payload: { title: 'a' },
          headers,
        } as const;
        t.match((await app.inject(request)).json(), { opened: true });
      }
    });
  },
);

t.test('when a read is repeated, then it is revalidated by its tag', async (t) => {
  const app = open(t);
  const first = await app.inject('/wares/2');
  const etag = String(first.headers.etag);
  t.match(first.headers, { 'cache-control': 'no-cache', etag: /^"[\w-]{27}"$/ });
  for (const known of [etag, `W/${etag}`, `"a", W/"b",${etag}`, '*', ` "x,y" , ${etag} `]) {
    const { statusCode, body, headers } = await app.inject({
      url: '/wares/2',
      headers: { 'if-none-match': known },
    });
    t.match({ statusCode, body, headers }, { statusCode: 304, body: '', headers: { etag } }, known);
    t.notOk(headers['content-length'] ?? headers['content-type'], 'nothing about a body');
  }
  for (const unknown of ['"other"', etag.slice(0, -1), '', 'W/*', etag.replaceAll('"', '')]) {
    const headers = { 'if-none-match': unknown };
    t.equal((await app.inject({ url: '/wares/2', headers })).statusCode, 200, unknown);
  }
  t.not((await app.inject('/wares/3')).headers.etag, etag, 'other bytes, another tag');
  const failed = await app.inject('/wares/404');
  t.match(failed.headers, { 'cache-control': 'no-store' });
  t.notOk(failed.headers.link ?? failed.headers.etag, 'nothing is left of the answer not given');
  t.equal((await app.inject('/')).headers['cache-control'], 'no-store');
});

t.test('when something fails, then the caller gets its problem and the log the 5xx', async (t) => {
  const lines: string[] = [];
  const logStream = { write: (line: string) => void lines.push(line) };
  const app = open(t, { config: { LOG_LEVEL: 'info' }, logStream });
  const cases = {
    late: { status: 504, code: 'deadline_exceeded', level: 40 },
    full: { status: 503, code: 'overloaded', level: 40, retry: '3' },
    'foreign-missing': { status: 404, code: 'book_not_found', detail: 'There is no book 9.' },
    'foreign-full': { status: 503, code: 'storage_full', level: 40, retry: '7' },
    'foreign-accusation': { status: 503, code: 'unavailable', level: 50, retry: '1' },
    'own-accusation': { status: 400, code: 'malformed_request' },
    bug: { status: 500, code: 'internal', level: 50 },
    text: { status: 500, code: 'internal', level: 50 },
  };
  t.same(Object.keys(cases), Object.keys(faults), 'every fault is looked at');
  for (const [how, { status, code, ...rest }] of Object.entries(cases)) {
    const expected: { level?: number; retry?: string; detail?: string } = rest;
    lines.length = 0;
    const { statusCode, headers, body } = await app.inject({
      url: `/fail/${how}`,
      headers: { 'x-request-id': 'a-caller_1', authorization: `Bearer ${token}` },
    });
    const problem: unknown = JSON.parse(body);
    t.ok(Value.Check(Problem, problem), how);
    t.match({ statusCode, problem }, { statusCode: status, problem: { code, status } }, how);
    t.match(problem, {
      request_id: 'a-caller_1',
      ...(expected.detail && { detail: expected.detail }),
    });
    t.equal(headers['retry-after'], expected.retry, `${how}: Retry-After`);
    t.notMatch(body, /hunter2|item_id|string/, 'nothing of the inside');
    t.equal(lines.length, expected.level === undefined ? 0 : 1, `${how}: lines logged`);
    if (expected.level === undefined) continue;
    const [line = ''] = lines;
    t.match(JSON.parse(line), { level: expected.level, code, reqId: 'a-caller_1', name: 'stall' });
    t.notOk(line.includes(token), 'no token in the log');
  }
  t.match(lines.join(), /just a string/, 'the log tells what was thrown');
  lines.length = 0;
  await app.inject(`/fail/bug?card=hunter2`);
  t.match(JSON.parse(lines.join()), { url: /^\/fail\/bug$/ }, 'a query may have secrets');
  lines.length = 0;
  await app.inject('/wares/2');
  await app.inject('/nothing');
  t.same(lines, [], 'nothing is logged of what went well or was the fault of the caller');
});

t.test('when nobody reads the log, then it does not fill the memory', (t) => {
  const written: string[] = [];
  const stream = { writableLength: 0, write: (line: string) => void written.push(line) };
  const logger = createLogger('stall', 'info', boundedStream('stall', stream));
  logger.info('first');
  stream.writableLength = 2 ** 21;
  for (let count = 0; count < 3; count += 1) logger.warn('in vain');
  stream.writableLength = 0;
  logger.info('last');
  t.match(
    written.map((line) => JSON.parse(line)),
    [{ msg: 'first' }, { level: 40, name: 'stall', dropped: 3 }, { msg: 'last' }],
  );
  t.end();
});

t.test('when the same failure comes again and again, then its repeats are counted', async (t) => {
  const lines: { level: string; line: Record<string, unknown> }[] = [];
  const logger = {
    error: (line: object) => lines.push({ level: 'error', line: { ...line } }),
    warn: (line: object) => lines.push({ level: 'warn', line: { ...line } }),
  };
  const timers: (() => void)[] = [];
  const log = createFailureLog(logger, { later: (_ms, run) => timers.push(run) });
  const cause = new Error('whole', {
    cause: Object.assign(new Error(''), { code: 'ECONNREFUSED' }),
  });
  const away = (n: number) =>
    log(new Failure('unavailable', 'away', { cause }), 'GET /info', { reqId: n });
  for (const n of [1, 2, 3]) away(n);
  const first = { code: 'unavailable', reqId: 1, reason: 'whole: ECONNREFUSED' };
  t.same(
    lines,
    [{ level: 'warn', line: first }],
    'the first at once, in one line, without a stack',
  );
  log(new Failure('unavailable', 'away'), 'POST /purchase', {});
  t.equal(lines.length, 2, 'another route is another matter');
  for (const run of timers.splice(0)) run();
  t.same(lines.slice(2), [{ level: 'warn', line: { ...first, reqId: 3, repeats: 2 } }]);
  for (const run of timers.splice(0)) run();
  away(4);
  t.match(lines.slice(3), [{ line: { reqId: 4, repeats: undefined } }], 'and then anew');
  lines.length = 0;
  for (const n of [1, 2]) log(new Failure('internal', 'oops', { cause }), 'GET /', { n });
  const accusation = new Failure('unauthorized', 'who?', { foreign: true });
  log(new Failure('unavailable', 'away', { cause: accusation }), 'GET /', {});
  log(new Failure('internal', 'theirs', { foreign: true }), 'GET /', {});
  log(new Failure('book_not_found', 'none', { foreign: true }), 'GET /', {});
  t.same(
    lines.map(({ level }) => level),
    ['error', 'error', 'error', 'warn'],
    'only what is ours to mend is an error, and every mistake of ours is told',
  );
  t.equal(lines[2]?.line['err'], accusation, 'with what was said');
});

t.test('when a log ends, then what it has counted is told', async (t) => {
  const lines: object[] = [];
  const logger = { error() {}, warn: (line: object) => lines.push({ ...line }) };
  const timers: (() => void)[] = [];
  const log = createFailureLog(logger, { later: (_ms, run) => timers.push(run) });
  const away = (n: number) => log(new Failure('unavailable', 'away'), 'GET /info', { reqId: n });
  for (const n of [1, 2, 3]) away(n);
  log.flush();
  t.match(lines, [{ reqId: 1 }, { reqId: 3, repeats: 2 }]);
  log.flush();
  for (const run of timers) run();
  t.equal(lines.length, 2, 'once');
  const told: string[] = [];
  const app = openStall({
    config: { LOG_LEVEL: 'info' },
    logStream: { write: (line) => told.push(line) },
  });
  for (let count = 0; count < 3; count += 1) await app.inject('/fail/late');
  t.equal(told.length, 1);
  await app.close();
  t.match(told.slice(1), [/"repeats":2/], 'a service that closes tells of it');
});

t.test('when many ask for the health, then the service looks once', async (t) => {
  let time = 0;
  let looks = 0;
  const lines: string[] = [];
  let find: () => Dependencies = () => ({ storage: 'ok' });
  const { wait, reached, open: openGate } = gate();
  const app = open(t, {
    now: () => time,
    config: { LOG_LEVEL: 'info' },
    logStream: { write: (line) => lines.push(line) },
    async ready() {
      looks += 1;
      await wait();
      return find();
    },
  });
  const ask = async (count: number) => {
    const answers = Array.from({ length: count }, () => app.inject('/health/ready'));
    await reached;
    openGate();
    return (await Promise.all(answers)).map(({ statusCode }) => statusCode);
  };
  t.same(await ask(400), Array(400).fill(200));
  t.equal(looks, 1, 'they share a look that is under way');
  time += 249;
  t.same(await ask(10), Array(10).fill(200));
  t.equal(looks, 1, 'and for a moment its outcome');
  find = () => ({ storage: 'it is away' });
  time += 1;
  t.same(await ask(10), Array(10).fill(503));
  t.equal(looks, 2);
  t.same(lines, [], 'who asks is told, so it is not logged');
  find = () => {
    throw new TypeError('states is not iterable');
  };
  time += 250;
  t.same(await ask(2), [500, 500]);
  t.equal(looks, 3);
  t.match(lines, [/"level":50.*states is not iterable/, /"level":50/], 'but our mistakes are');
});

t.test('when an answer is given, then browsers are told to be careful', async (t) => {
  const app = open(t);
  const port = await listen(app);
  const { socket, closed } = dial(port);
  socket.write('garbage\r\n\r\n');
  const raw = await closed();
  const answers = [
    await app.inject('/wares/2'),
    await app.inject('/nothing'),
    await app.inject('/health/live'),
  ].map(({ headers }) => headers);
  for (const [name, value] of Object.entries(securityHeaders)) {
    for (const headers of answers) t.equal(headers[name], value, name);
    t.ok(raw.includes(`\r\n${name}: ${value}\r\n`), `${name} on a bare socket`);
  }
  for (const url of ['/', '/docs/', '/docs/static/swagger-ui.css']) {
    const { statusCode, headers } = await app.inject(url);
    t.equal(statusCode, 200);
    for (const [name, value] of Object.entries(pageSecurityHeaders)) {
      t.equal(headers[name], value, `${name} of ${url}`);
    }
  }
  for (const [name, value] of Object.entries(pageSecurityHeaders)) {
    t.ok(Object.hasOwn(securityHeaders, name) || !raw.includes(name), `${name} is for pages`);
    t.notMatch(value, /upgrade-insecure/);
  }
});

t.test('when a request is refused before any route, then it is counted', async (t) => {
  const app = open(t, { requestTimeoutMs: 150, connectionsCheckingIntervalMs: 50 });
  const port = await listen(app);
  const requests = [
    'garbage\r\n\r\n',
    'GET / HTTP/1.1\r\nHost: a\r\n',
    `GET / HTTP/1.1\r\nHost: a\r\nx: ${'x'.repeat(20_000)}\r\n\r\n`,
    'GET /wares/%zz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n',
    'GET / HTTP/1.1\r\nHost: a\r\nExpect: a miracle\r\n\r\n',
    'CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n',
  ];
  for (const request of requests) {
    const { socket, closed } = dial(port);
    socket.write(request);
    await closed();
  }
  const { body } = await app.inject('/metrics');
  const counts = [...body.matchAll(/route="\(none\)".*status="(\d+)"\} (\d+)/g)];
  t.same(
    counts.map(([, status, count]) => `${status}: ${count}`),
    ['400: 2', '405: 1', '408: 1', '417: 1', '431: 1'],
  );
});

t.test('when a request carries an id, then it is kept if it is harmless', async (t) => {
  const app = open(t, { randomId: () => 'fresh' });
  const idOf = async (id: string) => {
    const { headers } = await app.inject({ url: '/wares/2', headers: { 'x-request-id': id } });
    return headers['x-request-id'];
  };
  for (const id of ['a', 'A_b-9', 'x'.repeat(64)]) t.equal(await idOf(id), id);
  for (const id of ['', 'a b', 'x'.repeat(65), 'a"b', 'é', '../a'])
    t.equal(await idOf(id), 'fresh');
});

t.test('when a caller says how long it waits, then that is read or left out', async (t) => {
  const app = createService({ name: 'echo', config: { LOG_LEVEL: 'silent' } });
  t.teardown(() => app.close());
  app.get('/caller', async (request) => callerOf(request));
  const trace = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
  const ask = async (headers: Record<string, string>) =>
    (await app.inject({ url: '/caller', headers: { 'x-request-id': 'me', ...headers } })).json();
  t.same(await ask({}), { requestId: 'me' });
  t.same(await ask({ 'x-timeout-ms': '250', traceparent: trace }), {
    requestId: 'me',
    timeoutMs: 250,
    traceparent: trace,
  });
  t.same(await ask({ 'x-timeout-ms': '0' }), { requestId: 'me', timeoutMs: 0 }, 'spent');
  for (const timeout of ['', '-1', '1.5', '1e3', '0x10', '12345678', 'soon', '5, 6']) {
    t.same(await ask({ 'x-timeout-ms': timeout }), { requestId: 'me' }, timeout);
  }
  const later = `01${trace.slice(2)}`;
  for (const future of [later, `${later}-more-of-it`, `${later}-`, `cc${trace.slice(2)}-x`]) {
    t.match(await ask({ traceparent: future }), { traceparent: trace }, future);
  }
  for (const other of [
    trace.toUpperCase(),
    `${trace}-more`,
    `${later}0`,
    trace.slice(1),
    `${trace}0`,
    `ff${trace.slice(2)}`,
    trace.replace(/-[0-9a-f]{32}-/, `-${'0'.repeat(32)}-`),
    trace.replace(/-[0-9a-f]{16}-/, `-${'0'.repeat(16)}-`),
  ]) {
    t.same(await ask({ traceparent: other }), { requestId: 'me' }, other);
  }
});

t.test('when a caller has no time left, then no handler is asked', async (t) => {
  let asked = 0;
  const { wait, reached, open: openGate } = gate();
  const app = open(t, {
    wait() {
      asked += 1;
      return wait();
    },
  });
  const buy = (timeout: string) =>
    app.inject({ method: 'POST', url: '/wares/2/buy', headers: { 'x-timeout-ms': timeout } });
  for (const none of ['0', '0000000']) {
    const spent = await buy(none);
    t.match(spent.json(), { status: 504, code: 'deadline_exceeded', detail: 'no time was left' });
  }
  t.equal(asked, 0);
  const late = await buy('20');
  await reached;
  t.match(late.json(), { status: 504, code: 'deadline_exceeded', detail: /within 20 ms/ });
  const patient = buy('9999999');
  openGate();
  t.match(await patient, { statusCode: 200, body: '{"bought":2}' });
  const spent = { headers: { 'x-timeout-ms': '0' } };
  for (const url of ['/health/live', '/health/ready', '/metrics']) {
    t.equal((await app.inject({ url, ...spent })).statusCode, 200, url);
  }
  t.equal((await app.inject({ url: '/wares/2', ...spent })).statusCode, 504, 'a read too');
  const forget = { method: 'POST', url: '/forget' } as const;
  t.equal((await app.inject({ ...forget, ...spent })).statusCode, 504);
  const someTime = { headers: { 'x-timeout-ms': '5000' } };
  t.equal((await app.inject({ ...forget, ...someTime })).statusCode, 204);
  t.equal((await app.inject({ url: '/wares/2', ...someTime })).statusCode, 200);
});

t.test('when a read is answered too late, then nothing is answered twice', async (t) => {
  const lines: string[] = [];
  const { wait, open: openGate } = gate();
  const app = createService({
    name: 'late',
    config: { LOG_LEVEL: 'warn' },
    logStream: { write: (line) => lines.push(line) },
  });
  t.teardown(() => app.close());
  let ended = () => {};
  const end = new Promise<void>((resolve) => {
    ended = resolve;
  });
  const { ware } = stall;
  mount(
    app,
    { ware },
    {
      async ware(request, reply) {
        await wait();
        const sent = representation(request, reply, ready(pen));
        ended();
        return sent;
      },
    },
  );
  const headers = { 'x-timeout-ms': '20', 'if-none-match': '*' };
  t.equal((await app.inject({ url: '/wares/2', headers })).statusCode, 504);
  lines.length = 0;
  openGate();
  await end;
  await new Promise(setImmediate);
  t.same(lines, [], 'nobody sends a reply that was sent');
});

t.test('when there is a further page, then the link to it is a valid one', async (t) => {
  const link = nextLink('/search/distributed', { after: 2, limit: 1 });
  t.equal(link, '</search/distributed?after=2&limit=1>; rel="next"');
  t.equal(
    nextLink('/topics', { after: 'a&b >"é', limit: undefined }),
    '</topics?after=a%26b%20%3E%22%C3%A9>; rel="next"',
  );
  t.equal(
    nextLink(`/search/${encodeURIComponent('50%/é')}`, {}),
    '</search/50%25%2F%C3%A9>; rel="next"',
  );
  t.equal(nextLink('/search/a b>é', {}), '</search/a%20b%3E%C3%A9>; rel="next"');
});

t.test('when a service is looked after, then it tells how it is', async (t) => {
  const states: Record<string, string | Failure> = { storage: 'ok' };
  let time = 0;
  const app = open(t, { ready: () => states, now: () => time });
  const look = () => {
    time += 250;
    return app.inject('/health/ready');
  };
  await t.test('and it is alive and ready, or says what is not', async (t) => {
    t.match((await app.inject('/health/live')).json(), { status: 'ok' });
    t.same((await look()).json(), {
      status: 'ok',
      dependencies: { storage: 'ok' },
    });
    states['orders'] = 'it does not answer';
    const { statusCode, headers, body } = await look();
    t.match({ statusCode, body }, { statusCode: 503, body: /"orders: it does not answer"/ });
    t.equal(headers['retry-after'], '1');
    t.equal((await app.inject('/health/live')).statusCode, 200);
    states['orders'] = new Failure('storage_full', 'there is no room');
    const full = await look();
    t.match(full.json(), { code: 'storage_full', detail: 'orders: there is no room' });
    states['storage'] = 'it is away';
    const both = await look();
    const detail = 'storage: it is away; orders: there is no room';
    t.match(both.json(), { status: 503, code: 'unavailable', detail }, 'the worse one counts');
    t.same(both.json().dependencies, {
      storage: 'it is away',
      orders: 'there is no room',
    });
    states['storage'] = 'ok';
    const { dependencies } = (await look()).json();
    t.same(dependencies, { storage: 'ok', orders: 'there is no room' }, 'of each what is true');
  });
  await t.test('and it counts answers by route, method and status', async (t) => {
    for (const url of ['/wares/2', '/wares/3', '/wares/404', '/wares/x', '/nothing', '/wares']) {
      await app.inject(url);
    }
    const { body, headers } = await app.inject('/metrics');
    t.match(headers['content-type'], /^text\/plain/);
    const counts = body.split('\n').filter((line) => /requests_total\{.*(wares|none)/.test(line));
    t.same(counts, [
      'bazar_http_requests_total{route="(none)",method="(any)",status="404"} 1',
      'bazar_http_requests_total{route="(none)",method="(any)",status="405"} 1',
      'bazar_http_requests_total{route="/wares/:item_id",method="GET",status="200"} 2',
      'bazar_http_requests_total{route="/wares/:item_id",method="GET",status="400"} 1',
      'bazar_http_requests_total{route="/wares/:item_id",method="GET",status="404"} 1',
    ]);
    t.match(body, /process_cpu_seconds_total/);
    t.equal(
      (await app.inject('/metrics')).body.match(/status="405"\} 1$/gm)?.length,
      1,
      'counted once',
    );
  });
  await t.test('and its API document shows the open routes', async (t) => {
    const document = (await app.inject('/docs/json')).json();
    t.match(document, { openapi: '3.1.0', info: { title: 'Bazar: stall' } });
    t.same(Object.keys(document.paths).sort(), [
      '/',
      '/fail/{how}',
      '/forget',
      '/health/live',
      '/health/ready',
      '/kinds/{kind}',
      '/metrics',
      '/wares',
      '/wares/{item_id}',
      '/wares/{item_id}/buy',
    ]);
    const { post } = document.paths['/wares'];
    const input = post.requestBody.content['application/json'].schema;
    t.match(input.properties.price, { type: 'number', format: 'money' });
    const { responses } = document.paths['/wares/{item_id}'].get;
    t.match(responses['200'].content['application/json'].schema.properties, { id: {}, kind: {} });
    t.match(responses['200'].headers, { ETag: { schema: { type: 'string' } } });
    t.ok(responses['404'].content['application/problem+json']);
    const named = (operation: { parameters?: { $ref?: string }[] }) =>
      operation.parameters?.flatMap(({ $ref = '' }) => $ref.split('/').at(-1) || []);
    for (const path of ['/wares', '/wares/{item_id}', '/health/live', '/metrics']) {
      const [operation] = Object.values<object>(document.paths[path]);
      t.same(named(operation ?? {}), ['requestId', 'timeoutMs', 'traceparent'], path);
    }
    t.match(document.components.parameters.timeoutMs, { name: 'x-timeout-ms', in: 'header' });
    const page = await app.inject('/docs/');
    t.match(page, { statusCode: 200, body: /swagger-ui/ });
  });
});

t.test(
  'when a service is built, then its routes are its contracts and the named plugins',
  async (t) => {
    const routesOf = (...contracts: Contract[]) =>
      contracts.flatMap((contract) =>
        Object.values(contract).flatMap(({ method, url }) =>
          method === 'GET' ? [`GET ${url}`, `HEAD ${url}`] : [`${method} ${url}`],
        ),
      );
    const registered = async (extra: (app: FastifyInstance) => void) => {
      const app = open(t);
      const routes: string[] = [];
      app.addHook('onRoute', ({ method, url }) => {
        for (const one of [method].flat()) routes.push(`${one} ${url}`);
      });
      extra(app);
      await app.ready();
      const ofPlugins = /^(GET|HEAD) \/(docs(\/.*)?|metrics)$/;
      return routes.filter((route) => !ofPlugins.test(route)).sort();
    };
    const expected = routesOf(stall, secret, health).sort();
    t.same(await registered(() => {}), expected);
    t.notSame(
      await registered((app) => app.post('/back-door', async () => 'come in')),
      expected,
      'and one that stands in no contract is noticed',
    );
  },
);

t.test('when handlers do not fit their contract, then the start fails', async (t) => {
  const app = open(t);
  const { page, ...missing } = stallHandlers();
  const invented = { ...stallHandlers(), steal: page };
  t.throws(() => mount(app, stall, invented), /no route "steal"/);
  const other = createService({ name: 'other', config: { LOG_LEVEL: 'silent' } });
  // @ts-expect-error: a handler is missing
  t.throws(() => mount(other, stall, missing), /Nothing handles the route "page"/);
  await other.close();
});

t.test('when a body arrives in pieces or is expected, then it is waited for', async (t) => {
  const port = await listen(open(t));
  const lines = ['Host: a', 'Connection: close', 'Content-Type: application/json'];
  const body = '{"title":"Pen","quantity":1,"price":1}';
  await t.test('and "100-continue" is answered first', async (t) => {
    const { socket, until, closed } = dial(port);
    const more = [`Content-Length: ${body.length}`, 'Expect: 100-continue'];
    socket.write(`POST /wares HTTP/1.1\r\n${[...lines, ...more].join('\r\n')}\r\n\r\n`);
    await until('HTTP/1.1 100 Continue\r\n\r\n');
    socket.write(body);
    t.match(await closed(), /HTTP\/1\.1 201 Created.*\{"title":"Pen"\}$/s);
  });
  await t.test('and chunks make a body, also no chunks at all', async (t) => {
    const { socket, closed } = dial(port);
    const chunked = [...lines, 'Transfer-Encoding: chunked'].join('\r\n');
    socket.write(`POST /wares HTTP/1.1\r\n${chunked}\r\n\r\n`);
    for (const piece of [body.slice(0, 10), body.slice(10)]) {
      socket.write(`${piece.length.toString(16)}\r\n${piece}\r\n`);
    }
    socket.write('0\r\n\r\n');
    t.match(await closed(), /HTTP\/1\.1 201 Created/);
    const empty = dial(port);
    const form = chunked.replace('application/json', 'text/plain');
    empty.socket.write(`POST /wares/2/buy HTTP/1.1\r\n${form}\r\n\r\n0\r\n\r\n`);
    t.match(await empty.closed(), /HTTP\/1\.1 200 OK.*\{"bought":2\}$/s);
  });
});

t.test('when a client half-closes behind its request, then it gets its answer', async (t) => {
  const { wait, reached, open: openGate } = gate();
  const app = open(t, { wait });
  const halfClosed = new Promise((resolve) =>
    app.server.once('connection', (accepted) => accepted.once('end', resolve)),
  );
  const port = await listen(app);
  const { socket, closed } = dial(port);
  const buy = 'POST /wares/2/buy HTTP/1.1\r\nHost: a\r\n\r\n';
  socket.end(`GET /wares/3 HTTP/1.1\r\nHost: a\r\n\r\n${buy}`);
  await Promise.all([reached, halfClosed]);
  openGate();
  const answers = await closed();
  t.match(answers, /200 OK.*"id":3.*200 OK.*\{"bought":2\}$/s, 'and the connection is closed');
  const mute = dial(port);
  mute.socket.end();
  t.equal(await mute.closed(), '', 'without a request it is closed at once');
  const half = dial(port);
  const announced = 'Content-Type: application/json\r\nContent-Length: 5';
  half.socket.end(`POST /wares HTTP/1.1\r\nHost: a\r\n${announced}\r\n\r\n{`);
  t.match(await half.closed(), /^HTTP\/1\.1 400 /, 'half a request is no request');
  const connections = () =>
    new Promise((resolve) => app.server.getConnections((_error, count) => resolve(count)));
  while ((await connections()) !== 0) await new Promise(setImmediate);
  t.pass('no half-open connection is left');
});

t.test('when a client half-closes and is refused, then the connection is closed', async (t) => {
  const { wait, reached, open: openGate } = gate();
  const app = open(t, {
    async wait() {
      await wait();
      throw new Failure('overloaded', 'too many are waiting');
    },
    keepAliveTimeoutMs: 600_000,
  });
  const halfClosed = new Promise((resolve) =>
    app.server.once('connection', (accepted) => accepted.once('end', resolve)),
  );
  const { socket, closed } = dial(await listen(app));
  socket.end('POST /wares/2/buy HTTP/1.1\r\nHost: a\r\n\r\n');
  await Promise.all([reached, halfClosed]);
  openGate();
  t.match(await closed(), /^HTTP\/1\.1 503 .*too many are waiting/s);
});

t.test('when a client sends and never reads, then nobody else has to wait for it', async (t) => {
  let working = 0;
  let most = 0;
  const { wait, open: openGate } = gate();
  const app = open(t, {
    wait: async () => {
      working += 1;
      most = Math.max(most, working);
      await wait();
      working -= 1;
    },
  });
  const sockets: Socket[] = [];
  app.server.on('connection', (socket) => sockets.push(socket));
  const port = await listen(app);
  const { socket, closed } = dial(port);
  const total = 20_000;
  const buy = 'POST /wares/2/buy HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n';
  const json = 'Content-Type: application/json\r\n\r\n{}';
  socket.pause();
  socket.write((buy + json).repeat(total));
  for (let asked = 0; asked < 20; asked += 1) {
    const response = await fetch(`http://127.0.0.1:${port}/wares/2`);
    t.equal(response.status, 200);
    await response.arrayBuffer();
  }
  const bytesRead = sockets[0]?.bytesRead ?? 0;
  t.equal(most, 64, 'of its requests 64 are worked on');
  t.ok(bytesRead < 1_000_000, `and no more is read: ${bytesRead} bytes`);
  openGate();
  socket.resume();
  socket.write('GET /wares/7 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n');
  const answers = await closed();
  t.match(answers, /"id":7/);
  t.equal(answers.match(/"bought":2/g)?.length, total, 'once it reads, all are answered in order');
  t.equal(most, 64);
});

t.test('when a body comes behind requests that wait, then it waits with them', async (t) => {
  const { wait, reached, open: openGate } = gate();
  const app = open(t, { wait });
  const sockets: Socket[] = [];
  app.server.on('connection', (socket) => sockets.push(socket));
  const port = await listen(app);
  const { socket } = dial(port);
  const length = 32_000_000;
  const head = ['Host: a', 'Content-Type: application/json', `Content-Length: ${length}`];
  // In one piece, so that the first of those that wait is paused while the body is being read.
  socket.write(
    `${'POST /wares/2/buy HTTP/1.1\r\nHost: a\r\n\r\n'.repeat(66)}POST /wares HTTP/1.1\r\n${head.join('\r\n')}\r\n\r\n{`,
  );
  await reached;
  socket.write(Buffer.alloc(length - 1, ' '));
  for (let asked = 0; asked < 50; asked += 1) {
    const response = await fetch(`http://127.0.0.1:${port}/wares/2`);
    await response.arrayBuffer();
  }
  const bytesRead = sockets[0]?.bytesRead ?? 0;
  t.ok(bytesRead < 1_000_000, `${bytesRead} bytes were read`);
  socket.destroy();
  openGate();
});

t.test('when a client with requests on their way is gone, then they are not begun', async (t) => {
  let begun = 0;
  const { wait, reached, open: openGate } = gate();
  const app = open(t, {
    wait: () => {
      begun += 1;
      return wait();
    },
  });
  const { socket } = dial(await listen(app));
  const closed = new Promise((resolve) =>
    app.server.on('connection', (accepted) => accepted.once('close', resolve)),
  );
  socket.write('POST /wares/2/buy HTTP/1.1\r\nHost: a\r\n\r\n'.repeat(100));
  await reached;
  socket.destroy();
  // What was held back is paused, so the end of the connection shows only in the answers.
  openGate();
  await closed;
  t.ok(begun < 100, `${begun} were begun`);
});

t.test('when a body is refused while it is sent, then the caller can read why', async (t) => {
  await t.test('and the connection serves on', async (t) => {
    const port = await listen(open(t));
    const body = 'x'.repeat(3_000_000);
    const refused = await fetch(`http://127.0.0.1:${port}/wares`, {
      method: 'POST',
      body,
      headers: { 'content-type': 'application/json' },
    });
    t.equal(refused.status, 413);
    t.match(await refused.json(), { code: 'body_too_large' });
    const { socket, until, closed } = dial(port);
    const head = ['Host: a', 'Content-Type: application/json', `Content-Length: ${body.length}`];
    socket.write(`POST /wares HTTP/1.1\r\n${head.join('\r\n')}\r\n\r\n${body}`);
    await until('body_too_large');
    socket.write('GET /wares/2 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n');
    t.match(await closed(), /HTTP\/1\.1 413 .*HTTP\/1\.1 200 OK/s);
  });
  await t.test('and a rest that never comes gets no second answer', async (t) => {
    const app = open(t, { requestTimeoutMs: 150, connectionsCheckingIntervalMs: 50 });
    const { socket, closed } = dial(await listen(app));
    const head = ['Host: a', 'Content-Type: application/json', 'Content-Length: 100000'];
    socket.write(`POST /wares HTTP/1.1\r\n${head.join('\r\n')}\r\n\r\n{`);
    t.equal((await closed()).match(/HTTP\/1\.1 /g)?.length, 1);
  });
});

t.test(
  'when garbage follows a request that is being answered, then it is not its answer',
  async (t) => {
    for (const garbage of ['garbage\r\n\r\n', 'CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n']) {
      const { wait, reached, open: openGate } = gate();
      const port = await listen(open(t, { wait }));
      const { socket, closed } = dial(port);
      socket.write('POST /wares/2/buy HTTP/1.1\r\nHost: a\r\n\r\n');
      await reached;
      socket.write(garbage);
      t.equal(await closed(), '', 'no answer says what is true: unknown');
      openGate();
    }
  },
);

t.test(
  'when a service closes, then what has arrived is answered and the rest let go',
  async (t) => {
    const { wait, reached, open: openGate } = gate();
    const app = openStall({ wait });
    const port = await listen(app);
    const request = 'POST /wares/2/buy HTTP/1.1\r\nHost: a\r\n\r\n';
    const idle = dial(port);
    idle.socket.write('GET /wares/2 HTTP/1.1\r\nHost: a\r\n\r\n');
    await idle.until('"pen"');
    const mute = dial(port);
    const half = dial(port);
    half.socket.write('POST /wares HTTP/1.1\r\nHost: a\r\nContent-Len');
    const halfBody = dial(port);
    halfBody.socket.write(
      'POST /wares HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{',
    );
    const busy = dial(port);
    busy.socket.write(request);
    await reached;
    let isClosed = false;
    const closing = app.close().then(() => {
      isClosed = true;
    });
    t.notMatch(await mute.closed(), /./);
    await idle.closed();
    t.notMatch(await half.closed(), /./);
    t.notMatch(await halfBody.closed(), /HTTP\/1\.1 2/, 'a body is not waited for without end');
    t.notOk(isClosed, 'the request that has arrived is waited for');
    openGate();
    t.match(await busy.closed(), /200 OK.*\{"bought":2\}$/s);
    await closing;
    await t.rejects(fetch(`http://127.0.0.1:${port}/`), 'nobody listens any more');
  },
);

t.test(
  'when a service closes, then a slow reader is waited for, and a deaf one is not',
  async (t) => {
    const bytes = 16_000_000;
    const app = createService({ name: 'slow', config: { LOG_LEVEL: 'silent' } });
    app.get('/large', () => Buffer.alloc(bytes, 'x'));
    app.get('/small', () => 'small');
    const port = await listen(app);
    const idle = dial(port);
    const [slow, deaf] = [dial(port), dial(port)];
    for (const { socket } of [slow, deaf]) {
      socket.write('GET /large HTTP/1.1\r\nHost: a\r\n\r\n');
      await once(socket, 'data');
      socket.pause();
    }
    idle.socket.write('GET /small HTTP/1.1\r\nHost: a\r\n\r\n');
    await idle.until('small');
    const closing = app.close();
    await idle.closed();
    slow.socket.resume();
    const [headers = '', body] = (await slow.closed()).split('\r\n\r\n');
    t.match(headers, /200 OK/);
    t.equal(body?.length, bytes, 'to the last byte');
    await closing;
    deaf.socket.resume();
    t.ok((await deaf.closed()).length < bytes);
  },
);

/** Never called: `tsc` reads it, and an error that does not come is an error. */
export function typesOf(app: FastifyInstance, options: ServiceOptions): void {
  const good = stallHandlers();
  const { page, ...missing } = good;
  // @ts-expect-error: a missing handler
  mount(app, stall, missing);
  // @ts-expect-error: an invented handler
  mount(app, stall, { ...good, steal: page } satisfies Handlers<typeof stall>);
  // @ts-expect-error: the id is a number in code
  mount(app, stall, { ...good, buy: ({ params }) => ({ bought: params.item_id.length }) });
  // @ts-expect-error: a parameter that is not declared
  mount(app, stall, { ...good, buy: ({ params }) => ({ bought: params.id }) });
  // @ts-expect-error: a wrong body
  mount(app, stall, { ...good, buy: () => ({ bought: 'yes' }) });
  // @ts-expect-error: ready-made bytes of another body
  mount(app, stall, { ...good, buy: () => ready({ bought: 'yes' }) });
  // @ts-expect-error: no answer at all
  mount(app, stall, { ...good, buy: () => {} });
  // @ts-expect-error: text that nobody branded as the body
  mount(app, stall, { ...good, buy: () => '{"bought":1}' });
  mount(app, stall, {
    ...good,
    // @ts-expect-error: a parameter may be absent
    kind: ({ query }) => ({ kind: 'a', types: query.limit.toFixed() }),
  });
  mount(app, stall, {
    ...good,
    ware(_request, reply) {
      reply.header('Link', '</>; rel="next"');
      // @ts-expect-error: a header that is not declared
      reply.header('X-Other', 'a');
      // @ts-expect-error: a header of another type
      reply.header('Link', 7);
      // @ts-expect-error: the status is the contract's
      reply.code(404);
      return ready(pen);
    },
  });
  // @ts-expect-error: a level is needed
  createService({ ...options, config: {} });
}
