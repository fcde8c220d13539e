import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type Book, catalog, catalogAdmin, Failure, gateway, order } from '@bazar/contracts';
import { catalogInternal } from '@bazar/contracts/internal';
import fc from 'fast-check';
import fastify from 'fastify';
import t, { type Test } from 'tap';
import { checkResponses } from '../../src/caller/check.js';
import {
  type Answer,
  createCaller,
  type Transport,
  type TransportRequest,
} from '../../src/caller/index.js';
import { injectTransport } from '../../src/caller/inject.js';
import { undiciTransport } from '../../src/caller/undici.js';
import { failureOf } from './failure-of.js';

const seed = Number(process.env['SEED'] ?? Date.now() % 2 ** 31);
t.comment(`SEED=${seed}`);

const book: Book = {
  id: 2,
  title: 'RPCs for Noobs',
  topic: 'distributed',
  quantity: 2,
  price: 50,
};

interface Heard {
  readonly method: string | undefined;
  readonly url: string | undefined;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}
interface Reply {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string | string[]>>;
  readonly body?: string;
}

const asJson = { 'content-type': 'application/json; charset=utf-8' };
const asProblem = { 'content-type': 'application/problem+json' };
const reply = (body: unknown, status = 200, headers: Reply['headers'] = asJson): Reply => ({
  status,
  headers,
  body: JSON.stringify(body),
});
const problem = (status: number, code: string, headers = {}): Reply =>
  reply({ status, code, detail: `told: ${code}` }, status, { ...asProblem, ...headers });

/** A service that answers as it is told, and remembers what it was asked. */
interface Stub {
  readonly transport: Transport;
  readonly heard: Heard[];
  next: Reply;
}

async function overHttp(t: Test): Promise<Stub> {
  const heard: Heard[] = [];
  const server = createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request.setEncoding('utf8')) body += chunk;
    heard.push({ method: request.method, url: request.url, headers: request.headers, body });
    const { status = 200, headers = {}, body: answer = '' } = stub.next;
    response.writeHead(status, headers).end(answer);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const transport = undiciTransport(`http://127.0.0.1:${port}`, {
    connections: 2,
    maxPending: 64,
    keepAliveTimeoutMs: 5000,
    maxResponseBytes: 1_000_000,
  });
  t.teardown(async () => {
    await transport.close();
    server.close();
  });
  const stub: Stub = { transport, heard, next: {} };
  return stub;
}

async function inProcess(t: Test): Promise<Stub> {
  const heard: Heard[] = [];
  const app = fastify({ routerOptions: { maxParamLength: 10_000 } });
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', { parseAs: 'string' }, (_request, body, done) => done(null, body));
  app.all('*', async ({ method, raw, headers, body }, response) => {
    heard.push({ method, url: raw.url, headers, body: typeof body === 'string' ? body : '' });
    const { status = 200, headers: named = {}, body: answer = '' } = stub.next;
    return response.code(status).headers(named).send(answer);
  });
  t.teardown(() => app.close());
  const stub: Stub = { transport: injectTransport(app), heard, next: {} };
  return stub;
}

const stubs = { 'over HTTP': overHttp, 'in process': inProcess };

for (const [where, stubOf] of Object.entries(stubs)) {
  t.test(`when a route is called ${where}, then its parts go where they belong`, async (t) => {
    const stub = await stubOf(t);
    const headers = { authorization: 'Bearer abc' };
    const admin = createCaller(catalogAdmin, stub.transport, { headers, timeoutMs: 2500.7 });
    stub.next = reply({ message: 'Updated successfully', book }, 200, {
      ...asJson,
      'Idempotency-Replayed': 'true',
      'X-Twice': ['a', 'b'],
    });
    const answer = await admin.update(
      {
        params: { item_id: 2 },
        headers: { 'idempotency-key': '"d5b5c1a0-5d5c-4f0e-9a5e-3c7cb3a4d2b1"' },
        body: { price: 45.5 },
      },
      { requestId: 'r-1', headers: { traceparent: '00-1-2-01' } },
    );
    t.equal(answer.status, 200);
    t.same(answer.body, { message: 'Updated successfully', book });
    t.equal(answer.headers['idempotency-replayed'], 'true');
    t.equal(answer.headers['x-twice'], 'a, b');
    t.match(stub.heard, [
      {
        method: 'POST',
        url: '/update/2',
        headers: {
          authorization: 'Bearer abc',
          'content-type': 'application/json',
          'idempotency-key': '"d5b5c1a0-5d5c-4f0e-9a5e-3c7cb3a4d2b1"',
          traceparent: '00-1-2-01',
          'x-request-id': 'r-1',
          'x-timeout-ms': '2500',
        },
        body: '{"price":45.5}',
      },
    ]);
  });

  t.test(`when parts are left out ${where}, then nothing is sent for them`, async (t) => {
    const stub = await stubOf(t);
    stub.next = reply({ message: 'Out of stock' });
    const { body } = await createCaller(order, stub.transport).purchase({
      params: { item_id: 999_999_999_999_999 },
    });
    t.same(body, { message: 'Out of stock' });
    stub.next = reply([]);
    const shop = createCaller(gateway, stub.transport);
    await shop.topics();
    await shop.topics({ query: {} });
    await shop.topics({ query: { after: 'a&b=c', limit: 5 } }, { timeoutMs: 1e12 });
    t.strictSame(
      stub.heard.map(({ method, url, body }) => [method, url, body]),
      [
        ['POST', '/purchase/999999999999999', ''],
        ['GET', '/topics', ''],
        ['GET', '/topics', ''],
        ['GET', '/topics?after=a%26b%3Dc&limit=5', ''],
      ],
    );
    const [purchase, , , bounded] = stub.heard;
    t.notOk(purchase?.headers['content-type'], 'no body, no type');
    t.notOk(purchase?.headers['x-request-id']);
    t.equal(purchase?.headers['x-timeout-ms'], '10000');
    t.equal(bounded?.headers['x-timeout-ms'], '2147483647', 'a timer takes no more');
  });

  t.test(`when a page of text is asked for ${where}, then it is the body`, async (t) => {
    const stub = await stubOf(t);
    stub.next = { headers: { 'content-type': 'text/html; charset=utf-8' }, body: '<h1>Bazar</h1>' };
    const { body } = await createCaller(gateway, stub.transport).home();
    t.equal(body, '<h1>Bazar</h1>');
  });

  t.test(`when a route has no body ${where}, then none is the answer`, async (t) => {
    const stub = await stubOf(t);
    const contract = {
      forget: {
        method: 'POST',
        url: '/forget',
        schema: { summary: 'Forgets', response: { 204: { description: 'Forgotten' } } },
      },
    } as const;
    const caller = createCaller(contract, stub.transport);
    stub.next = { status: 204 };
    const answer = await caller.forget();
    t.equal(answer.status, 204);
    t.equal(answer.body, undefined);
    stub.next = { status: 200 };
    t.equal((await failureOf(caller.forget())).code, 'unavailable');
  });

  t.test(`when a service declares its failure ${where}, then the caller hears it`, async (t) => {
    const stub = await stubOf(t);
    const { info } = createCaller(catalog, stub.transport);
    const call = () => failureOf(info({ params: { item_id: 2 } }));
    for (const [status, code] of [
      [400, 'malformed_request'],
      [404, 'book_not_found'],
      [500, 'internal'],
      [504, 'deadline_exceeded'],
    ] as const) {
      stub.next = problem(status, code);
      t.match(await call(), { code, message: `told: ${code}`, status, foreign: true });
    }
    stub.next = problem(503, 'overloaded', { 'Retry-After': '7' });
    t.match(await call(), { code: 'overloaded', retryAfterSeconds: 7 });
    stub.next = problem(503, 'overloaded', { 'Retry-After': 'Wed, 21 Oct 2026 07:28:00 GMT' });
    t.match(await call(), { code: 'overloaded', retryAfterSeconds: 1 }, 'the default of a 503');
  });

  t.test(`when an answer breaks the contract ${where}, then it is no answer`, async (t) => {
    const stub = await stubOf(t);
    const check = checkResponses(catalog);
    const { info } = createCaller(catalog, stub.transport, { check });
    const breaches: Readonly<Record<string, readonly [Reply, RegExp]>> = {
      'an undeclared status': [problem(409, 'stock_below_zero'), /status 409 is not declared/],
      'an unknown code': [problem(404, 'gone_fishing'), /status 404 with an unknown problem/],
      'a code of another status': [problem(404, 'internal'), /unknown problem/],
      'a problem without a detail': [
        reply({ code: 'internal' }, 500, asProblem),
        /status 500 with an unknown problem/,
      ],
      'a problem that is null': [reply(null, 500, asProblem), /unknown problem/],
      'a problem cut in two': [{ status: 500, headers: asProblem, body: '{"co' }, /not JSON/],
      'a problem of another type': [
        reply({ status: 404, code: 'book_not_found', detail: 'x' }, 404),
        /status 404 without a problem document/,
      ],
      'a page of a proxy': [
        { status: 502, headers: { 'content-type': 'text/html' }, body: '<h1>Bad</h1>' },
        /status 502 without a problem document/,
      ],
      'a success that is another': [reply(book, 201), /status 201/],
      'a redirect': [{ status: 302, headers: { location: '/info/3' } }, /status 302/],
      'a problem that is none': [problem(200, 'internal'), /should be application\/json/],
      'a problem below 400': [problem(302, 'internal'), /status 302 without a problem document/],
      'no media type': [{ body: JSON.stringify(book) }, /should be application\/json/],
      'another media type': [
        { headers: { 'content-type': 'text/plain' }, body: JSON.stringify(book) },
        /should be application\/json/,
      ],
      'half a body': [{ headers: asJson, body: '{"id":2,' }, /not JSON/],
      'no body': [{ headers: asJson, body: '' }, /not JSON/],
      'a wrong body': [reply({ ...book, price: '50' }), /in the body, \/price: Expected number/],
      'a missing field': [reply({ id: 2 }), /in the body, \/title: /],
      'a body of another shape': [reply([]), /in the body, \/: Expected object/],
    };
    for (const [breach, [answer, detail]] of Object.entries(breaches)) {
      stub.next = answer;
      const failure = await failureOf(info({ params: { item_id: 2 } }));
      t.match(failure, { code: 'unavailable', foreign: false, message: detail }, breach);
      t.match(failure.message, /^GET \/info\/:item_id was answered against its contract: /);
    }
    t.equal(stub.heard.length, Object.keys(breaches).length, 'nothing was sent twice');
    stub.next = problem(403, 'forbidden');
    const { cause } = await failureOf(info({ params: { item_id: 2 } }));
    t.match(cause, { code: 'forbidden', foreign: true }, 'what was said is kept as the cause');
    stub.next = reply({ ...book, published: 1984 });
    t.match(await info({ params: { item_id: 2 } }), { body: book }, 'a newer service may say more');
  });

  t.test(`when any text goes into a path or a query ${where}, then it arrives`, async (t) => {
    const stub = await stubOf(t);
    stub.next = reply([]);
    const shop = createCaller(gateway, stub.transport);
    const text = fc.oneof(fc.string({ minLength: 1, unit: 'binary', maxLength: 30 }), fc.webUrl());
    await fc.assert(
      // A dot segment is resolved by URL parsers (RFC 3986, section 5.2.4) on the way, not by us.
      fc.asyncProperty(
        text.filter((topic) => !/^\.\.?$/.test(topic)),
        text,
        async (topic, after) => {
          await shop.search({ params: { topic } });
          await shop.topics({ query: { after } });
          const [search, topics] = stub.heard.splice(0);
          const path = search?.url?.slice('/search/'.length) ?? '';
          if (decodeURIComponent(path) !== topic || path.includes('/')) throw new Error(path);
          const query = new URL(topics?.url ?? '', 'http://x').searchParams.get('after');
          if (query !== after) throw new Error(String(topics?.url));
        },
      ),
      { seed, numRuns: 100 },
    );
    t.pass('all arrived');
  });
}

t.test('when an input cannot be written as HTTP, then nothing is sent', async (t) => {
  const sent: TransportRequest[] = [];
  const transport: Transport = async (request) => {
    sent.push(request);
    return { status: 200, headers: asJson, body: '[]' };
  };
  const { search, info, topics } = createCaller(catalog, transport);
  const admin = createCaller(catalogAdmin, transport);
  const inputs = {
    'an empty path part': search({ params: { topic: '' } }),
    'half a surrogate pair': search({ params: { topic: 'a\ud800' } }),
    'one dot, which is another path': search({ params: { topic: '.' } }),
    'two dots': search({ params: { topic: '..' } }),
    'no decimal': info({ params: { item_id: 1e21 } }),
    'no number': info({ params: { item_id: Number.NaN } }),
    'an endless number': topics({ query: { limit: Number.POSITIVE_INFINITY } }),
    'a second header': admin.addBook({
      headers: { 'idempotency-key': 'a\r\nauthorization: b' },
      body: { title: 'T', topic: 't', quantity: 1, price: 1 },
    }),
    'a second header in an option': topics({}, { requestId: 'a\nb' }),
  };
  for (const [what, call] of Object.entries(inputs)) {
    t.match(await failureOf(call), { code: 'malformed_request', foreign: false }, what);
  }
  for (const timeoutMs of [0, 0.9, -5, Number.NaN]) {
    const failure = await failureOf(topics({}, { timeoutMs }));
    t.equal(failure.code, 'deadline_exceeded', `${timeoutMs} ms left`);
  }
  const gone = new Error('gone');
  await t.rejects(topics({}, { signal: AbortSignal.abort(gone) }), gone);
  t.strictSame(sent, []);
});

t.test('when a transport fails in its own way, then the cause is kept', async (t) => {
  const broken = new Error('the wire is cut');
  const call = (error: unknown) =>
    failureOf(createCaller(catalog, () => Promise.reject(error)).topics());
  t.match(await call(broken), {
    code: 'unavailable',
    message: 'GET /topics: no whole answer came back',
    cause: broken,
  });
  const late = new Failure('deadline_exceeded', 'no answer within 5 ms');
  t.match(await call(late), {
    code: 'deadline_exceeded',
    message: 'GET /topics: no answer within 5 ms',
    cause: late,
  });
});

t.test('when a handler in process never answers, then the call ends all the same', async (t) => {
  const app = fastify();
  app.get('/topics', () => new Promise(() => undefined));
  const { topics } = createCaller(catalog, injectTransport(app));
  t.equal((await failureOf(topics({}, { timeoutMs: 20 }))).code, 'deadline_exceeded');
  const controller = new AbortController();
  const gone = new Error('gone');
  const call = topics({}, { signal: controller.signal });
  controller.abort(gone);
  await t.rejects(call, gone);
  const closed = new Error('closed');
  const refusals = [
    () => Promise.reject(closed),
    () => {
      throw closed;
    },
  ];
  for (const inject of refusals) {
    const failure = await failureOf(createCaller(catalog, injectTransport({ inject })).topics());
    t.match(failure, { code: 'unavailable', cause: closed });
  }
});

t.test('when a contract is compiled to checks, then they tell right from wrong', async (t) => {
  const contracts = { ...gateway, ...catalogAdmin, ...catalogInternal };
  const check = checkResponses(contracts);
  const operation_id = 'd5b5c1a0-5d5c-4f0e-9a5e-3c7cb3a4d2b1';
  const failed = (code: string) => ({
    outcomes: [{ operation_id, result: 'failed', problem: { code, detail: 'x' } }],
  });
  t.equal(check('updates', failed('book_not_found')), undefined, 'a code of the table');
  t.match(check('updates', failed('gone_fishing')), /^\/outcomes\/0/, 'no code of the table');
  t.equal(check('home', '<h1>'), undefined);
  t.match(check('home', 1), /^\/: Expected string/);
  t.equal(check('search', [{ id: 1, title: 'x' }]), undefined);
  t.match(check('search', [{ id: 1.5, title: 'x' }]), /^\/0\/id: /);
  t.match(check('no such route', 1), /no route no such route/);
});

t.test('when a contract has no single success, then there is no caller', async (t) => {
  const schema = { summary: 'Nothing', response: {} };
  const contract = { nothing: { method: 'GET', url: '/', schema } } as const;
  t.throws(() => createCaller(contract, async () => ({ status: 200, headers: {}, body: '' })), {
    message: 'GET / must declare exactly one success status',
  });
});

/** Never called: it compiles only as long as the types refuse what they should. */
export async function types(transport: Transport) {
  const shop = createCaller(gateway, transport);
  const admin = createCaller(catalogAdmin, transport);
  const info: Answer<typeof gateway.info> = await shop.info({ params: { item_id: 2 } });
  const price: number = info.body.price;
  const etag: string | undefined = info.headers.etag;
  // @ts-expect-error A declared header may be missing.
  const surely: string = info.headers.etag;
  const page: string = (await shop.home()).body;
  const { body } = await shop.purchase({ params: { item_id: 2 } });
  const sold = 'order' in body ? body.order.order_id : body.message;
  await shop.purchase({ params: { item_id: 2 }, headers: { 'idempotency-key': 'x' }, body: {} });
  // @ts-expect-error The id of a book is a number in code.
  await shop.info({ params: { item_id: '2' } });
  // @ts-expect-error A parameter is missing.
  await shop.info({ params: {} });
  // @ts-expect-error All parameters are missing.
  await shop.info();
  // @ts-expect-error There is no such parameter.
  await shop.info({ params: { item_id: 2, colour: 'red' } });
  // @ts-expect-error There is no such part.
  await shop.info({ params: { item_id: 2 }, body: {} });
  // @ts-expect-error A route without parts takes none.
  await shop.home({ query: {} });
  // @ts-expect-error There is no such query.
  await shop.topics({ query: { colour: 'red' } });
  // @ts-expect-error There is no such route.
  await shop.buy({ params: { item_id: 2 } });
  // @ts-expect-error There is no such key in the body.
  await admin.update({ params: { item_id: 2 }, body: { colour: 'red' } });
  // @ts-expect-error A price is a number.
  await admin.update({ params: { item_id: 2 }, body: { price: '1' } });
  // @ts-expect-error The body is missing.
  await admin.addBook({});
  // @ts-expect-error A book has no author.
  const author = info.body.author;
  // @ts-expect-error There is no such option.
  await shop.topics({}, { retries: 3 });
  return { price, etag, surely, page, sold, author };
}
