import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import { type AddressInfo, createServer as createSocketServer, type Socket } from 'node:net';
import { catalog } from '@bazar/contracts';
import t, { type Test } from 'tap';
import { createCaller } from '../../src/caller/index.js';
import { type UndiciOptions, undiciTransport } from '../../src/caller/undici.js';
import { failureOf } from './failure-of.js';

const options: UndiciOptions = {
  connections: 1,
  maxPending: 64,
  keepAliveTimeoutMs: 30_000,
  maxResponseBytes: 10_000,
};
const topics = '[{"topic":"distributed","titles":2}]';
const whole =
  'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n' +
  `content-length: ${topics.length}\r\n\r\n${topics}`;
/** Long enough to be never reached, so that a call which waits for it fails the test by hanging. */
const patient = { timeoutMs: 600_000 };

async function addressOf(server: ReturnType<typeof createSocketServer>): Promise<string> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function callerOf(t: Test, address: string, changed: Partial<UndiciOptions> = {}) {
  const transport = undiciTransport(address, { ...options, ...changed });
  t.teardown(() => transport.close());
  return { transport, ...createCaller(catalog, transport, patient) };
}

/** A raw service: it counts the requests and answers each with whatever bytes it likes. */
async function rawService(t: Test, answer: (socket: Socket, request: number) => void) {
  const sockets: Socket[] = [];
  const counted = { requests: 0, sockets, onData: (_bytes: Buffer): void => undefined };
  const server = createSocketServer((socket) => {
    sockets.push(socket);
    socket.on('error', () => undefined);
    socket.on('data', (bytes) => {
      counted.onData(bytes);
      answer(socket, ++counted.requests);
    });
  });
  const address = await addressOf(server);
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { address, counted };
}

/** Unlike `once`, it takes an error (the peer may reset) for a way to close. */
async function closeOf(socket: Socket | undefined): Promise<void> {
  if (socket === undefined || socket.closed) return;
  await new Promise((resolve) => socket.once('close', resolve));
}

async function httpService(t: Test, listener: RequestListener) {
  const server = createServer(listener);
  const address = await addressOf(server);
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  return { address, server };
}

t.test('when nobody listens, then the service is unavailable', async (t) => {
  const server = createSocketServer();
  const address = await addressOf(server);
  server.close();
  await once(server, 'close');
  const failure = await failureOf(callerOf(t, address).topics());
  t.match(failure, { code: 'unavailable', foreign: false, nothingDone: true });
  t.match(failure, { cause: { cause: { code: 'ECONNREFUSED' } } });
  t.equal(failure.message, 'GET /topics: nothing could be sent', 'it tells no address');
});

t.test('when a service breaks its answer, then the call fails and is not repeated', async (t) => {
  const head = 'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n';
  const answers: Readonly<Record<string, (socket: Socket) => void>> = {
    'a reset': (socket) => socket.resetAndDestroy(),
    'an end before the answer': (socket) => socket.end(),
    'a body cut short': (socket) => socket.end(`${head}content-length: 100\r\n\r\n[{"topic"`),
    'a last chunk that never comes': (socket) =>
      socket.end(`${head}transfer-encoding: chunked\r\n\r\n5\r\n[{"to\r\n`),
    'half a status line': (socket) => socket.end('HTTP/1.1 20'),
    'another protocol': (socket) => socket.end('SSH-2.0-OpenSSH_9.2\r\n'),
    'a contradiction of lengths': (socket) =>
      socket.end(`${head}content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n[]`),
    'headers without an end': (socket) => socket.end(`${head}x: ${'y'.repeat(100_000)}`),
    'a protocol we did not ask for': (socket) =>
      socket.end('HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n'),
  };
  for (const [what, answer] of Object.entries(answers)) {
    const { address, counted } = await rawService(t, answer);
    const failure = await failureOf(callerOf(t, address).topics());
    t.match(failure, { code: 'unavailable', cause: Error, nothingDone: false }, what);
    t.equal(counted.requests, 1);
  }
});

t.test('when an answer is larger than the bound, then it is not read to its end', async (t) => {
  const huge = `[${' '.repeat(20_000)}]`;
  const { address } = await httpService(t, (request, response) => {
    response.setHeader('content-type', 'application/json');
    if (request.url === '/topics?limit=1') response.setHeader('content-length', huge.length);
    if (request.url === '/topics?limit=3') response.end(`[${' '.repeat(9998)}]`);
    else response.end(huge);
  });
  const caller = callerOf(t, address);
  for (const limit of [1, 2]) {
    const failure = await failureOf(caller.topics({ query: { limit } }));
    t.match(failure, { code: 'unavailable', cause: { code: 'UND_ERR_RES_EXCEEDED_MAX_SIZE' } });
  }
  t.same((await caller.topics({ query: { limit: 3 } })).body, [], 'as large as the bound is fine');
});

t.test('when the deadline passes, then the call ends and lets go of the connection', async (t) => {
  const head = 'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n';
  const silences: Readonly<Record<string, (socket: Socket) => void>> = {
    'no answer': () => undefined,
    'no body': (socket) => socket.write(`${head}content-length: 2\r\n\r\n`),
    'a body that drips': (socket) => {
      socket.write(`${head}content-length: 9000\r\n\r\n`);
      const drip = setInterval(() => socket.write(' '), 1);
      socket.on('close', () => clearInterval(drip));
    },
  };
  for (const [what, answer] of Object.entries(silences)) {
    const { address, counted } = await rawService(t, answer);
    const failure = await failureOf(callerOf(t, address).topics({}, { timeoutMs: 30 }));
    t.match(failure, { code: 'deadline_exceeded', foreign: false }, what);
    t.equal(failure.message, 'GET /topics: no answer within 30 ms');
    const [socket] = counted.sockets;
    await closeOf(socket);
    t.equal(counted.requests, 1);
  }
});

t.test('when no connection is free in time, then the call is never sent', async (t) => {
  const waiting: Socket[] = [];
  const { address, counted } = await rawService(t, (socket) => waiting.push(socket));
  const caller = callerOf(t, address);
  const first = caller.topics();
  const late = await failureOf(caller.topics({}, { timeoutMs: 30 }));
  t.equal(late.code, 'deadline_exceeded');
  const controller = new AbortController();
  const gone = new Error('gone');
  const second = caller.topics({}, { signal: controller.signal });
  controller.abort(gone);
  await t.rejects(second, gone);
  while (waiting.length === 0) await new Promise((resolve) => setImmediate(resolve));
  waiting[0]?.write(whole);
  t.same((await first).body, JSON.parse(topics));
  const third = caller.topics();
  while (waiting.length === 1) await new Promise((resolve) => setImmediate(resolve));
  waiting[1]?.write(whole);
  t.same((await third).body, JSON.parse(topics));
  t.equal(counted.requests, 2, 'only the calls that somebody waited for');
});

t.test('when the caller gives up, then the call rejects with the reason', async (t) => {
  const controller = new AbortController();
  const gone = new Error('gone');
  const { address, counted } = await rawService(t, () => controller.abort(gone));
  const call = callerOf(t, address).topics({}, { signal: controller.signal });
  await t.rejects(call, gone);
  const [socket] = counted.sockets;
  await closeOf(socket);
  t.pass('the service notices');
});

t.test('when calls end, then nothing is left on their signal', async (t) => {
  const { address } = await httpService(t, (_request, response) => {
    response.setHeader('content-type', 'application/json').end(topics);
  });
  const { signal } = new AbortController();
  let listeners = 0;
  const { addEventListener, removeEventListener } = signal;
  signal.addEventListener = (...listener: Parameters<typeof addEventListener>) => {
    listeners++;
    addEventListener.apply(signal, listener);
  };
  signal.removeEventListener = (...listener: Parameters<typeof removeEventListener>) => {
    listeners--;
    removeEventListener.apply(signal, listener);
  };
  const caller = callerOf(t, address);
  await Promise.all([caller.topics({}, { signal }), caller.topics({}, { signal })]);
  t.equal(listeners, 0);
});

t.test('when a service redirects or hints, then only its answer counts', async (t) => {
  const asked: (string | undefined)[] = [];
  const { address } = await httpService(t, (request, response) => {
    asked.push(request.url);
    if (request.url === '/topics') {
      response.writeHead(307, { location: '/topics?limit=1' }).end();
    } else {
      response.writeEarlyHints({ link: '</style.css>; rel=preload' });
      response.setHeader('content-type', 'application/json').end(topics);
    }
  });
  const caller = callerOf(t, address);
  const failure = await failureOf(caller.topics());
  t.match(failure, { code: 'unavailable', message: /against its contract: status 307/ });
  t.strictSame(asked, ['/topics']);
  const { status, body, headers } = await caller.topics({ query: { limit: 1 } });
  t.same([status, body], [200, JSON.parse(topics)]);
  t.notOk(headers.link, 'a hint is no part of the answer');
});

t.test('when an answer comes in many pieces, then it is put together', async (t) => {
  const title = 'Größe – 書 📚';
  const bytes = Buffer.from(JSON.stringify([{ id: 1, title }]));
  const { address } = await httpService(t, async (_request, response) => {
    response.setHeader('content-type', 'application/json');
    for (const byte of bytes) {
      response.write(Buffer.of(byte));
      await new Promise((resolve) => setImmediate(resolve));
    }
    response.end();
  });
  const { body } = await callerOf(t, address).search({ params: { topic: 'x' } });
  t.same(body, [{ id: 1, title }]);
});

t.test('when a connection is idle, then we close it before the service does', async (t) => {
  const { address, server } = await httpService(t, (_request, response) => {
    response.setHeader('content-type', 'application/json');
    response.setHeader('keep-alive', 'timeout=72').end(topics);
  });
  server.keepAliveTimeout = 0;
  const closed = new Promise<void>((resolve) => {
    server.once('connection', (socket) => socket.once('close', resolve));
  });
  await callerOf(t, address, { keepAliveTimeoutMs: 100 }).topics();
  await closed;
  t.pass('although the service offered 72 s');
});

t.test('when the transport is closed, then calls in flight are answered first', async (t) => {
  const { address } = await httpService(t, (_request, response) => {
    setImmediate(() => response.setHeader('content-type', 'application/json').end(topics));
  });
  const transport = undiciTransport(address, options);
  const caller = createCaller(catalog, transport, patient);
  const calls = [caller.topics(), caller.topics()];
  await transport.close();
  t.same(
    (await Promise.all(calls)).map(({ body }) => body),
    [JSON.parse(topics), JSON.parse(topics)],
  );
  t.match(await failureOf(caller.topics()), { code: 'unavailable', nothingDone: true });
});

t.test('when a header cannot be sent, then the call fails at once', async (t) => {
  const caller = callerOf(t, 'http://127.0.0.1:1');
  const headers = { 'no such name': 'x' };
  t.match(await failureOf(caller.topics({}, { headers })), {
    code: 'unavailable',
    nothingDone: true,
  });
});

t.test('when there is no such address, then there is no transport', async (t) => {
  t.throws(() => undiciTransport('127.0.0.1:5001', options));
  t.throws(() => undiciTransport('http://127.0.0.1:5001', { ...options, connections: -1 }));
});

t.test('when too many calls are under way, then more are refused at once', async (t) => {
  const { address } = await rawService(t, () => undefined);
  const { topics } = callerOf(t, address, { maxPending: 2 });
  const stop = new AbortController();
  const call = { ...patient, signal: stop.signal };
  const held = Promise.allSettled([topics({}, call), topics({}, call)]);
  await t.rejects(topics({}, call), { code: 'overloaded' });
  stop.abort();
  await held;
  await t.rejects(
    topics({}, { timeoutMs: 1 }),
    { code: /deadline_exceeded|unavailable/ },
    'those that ended make room again',
  );
});

t.test('when a name is pinned to an address, then it stays the name that is asked', async (t) => {
  const hosts: unknown[] = [];
  const { address } = await httpService(t, (request, response) => {
    hosts.push(request.headers.host);
    response.setHeader('content-type', 'application/json').end(topics);
  });
  const { port } = new URL(address);
  const pinned = { address: '127.0.0.1' };
  const caller = callerOf(t, `http://catalog.test:${port}`, pinned);
  t.match(await caller.topics(), { body: [{ topic: 'distributed' }] });
  t.same(hosts, [`catalog.test:${port}`]);
  let hello = '';
  const raw = await rawService(t, () => undefined);
  const greeted = new Promise<void>((resolve) => {
    raw.counted.onData = (bytes) => {
      hello += bytes.toString('latin1');
      resolve();
    };
  });
  const secure = callerOf(t, raw.address.replace(/^http:.*:/, 'https://catalog.test:'), pinned);
  const given = new AbortController();
  const call = t.rejects(secure.topics({}, { signal: given.signal }), { name: 'AbortError' });
  await greeted;
  t.match(hello, /catalog\.test/, 'and whose certificate is asked for');
  given.abort();
  await call;
});
