import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import { type AddressInfo, connect, Socket } from 'node:net';
import t, { type Test } from 'tap';
import { OnePieceResponse } from '../src/one-piece.js';
import { readyAnswer, takeShortcut } from '../src/shortcut.js';

const title = 'Grüße aus 東京 📚';

/** What a server with these responses sends to what is written to it, until it closes. */
async function listening(t: Test, listener: RequestListener) {
  const server = createServer({ ServerResponse: OnePieceResponse }, listener);
  /** How often the system was handed a list of pieces. */
  const lists = { count: 0 };
  server.on('connection', (socket: Socket) => {
    socket._writev = (...given) => {
      lists.count += 1;
      Socket.prototype._writev?.apply(socket, given);
    };
  });
  t.teardown(() => server.close());
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    lists,
    async ask(requests: string) {
      const socket = connect(port, '127.0.0.1');
      const pieces: Buffer[] = [];
      socket.on('data', (piece) => pieces.push(piece));
      socket.write(requests);
      await once(socket, 'close');
      return Buffer.concat(pieces).toString();
    },
  };
}

const isHead = (kept: unknown) => String(kept).endsWith('\r\n\r\n');

const get = (path: string, headers = '', method = 'GET') =>
  `${method} ${path} HTTP/1.1\r\nHost: a\r\n${headers}\r\n`;
const last = 'Connection: close\r\n';

t.test('when a text is the answer, then it leaves in one piece with its head', async (t) => {
  const text = JSON.stringify({ title });
  const long = 'é'.repeat(1_000_000);
  const heads: unknown[] = [];
  const answerText: RequestListener = ({ url }, response) => {
    const body = url === '/long' ? long : text;
    response.writeHead(200, { 'content-length': Buffer.byteLength(body) });
    response.end(body);
    heads.push(Reflect.get(response, '_header'));
  };
  const { lists, ask } = await listening(t, answerText);
  const answers = await ask(get('/a') + get('/a', '', 'HEAD') + get('/long') + get('/a', last));
  t.equal(answers.match(/HTTP\/1\.1 200 OK\r\ncontent-length: \d+\r\n/g)?.length, 4);
  t.equal(heads.length, 4);
  t.ok(heads.every(isHead), 'nobody keeps the bodies until they are sent');
  const bodies = answers.split(/HTTP\/1\.1 200 OK\r\n.*?\r\n\r\n/s).slice(1);
  t.strictSame(bodies, [text, '', long, text], 'to the last byte');
  t.equal(lists.count, 0);
});

t.test('when more is said of an answer, then Node answers as ever', async (t) => {
  const order: string[] = [];
  const { ask } = await listening(t, ({ url }, response) => {
    if (url === '/bytes') response.writeHead(200, { 'content-length': 2 }).end('6162', 'hex');
    else if (url === '/chunks') {
      response.write(title);
      response.end(title);
    } else if (url === '/buffer') response.end(Buffer.from(title));
    else if (url === '/bare') response.end(title);
    else if (url === '/flushed') {
      response.writeHead(200, { 'content-length': 2 }).flushHeaders();
      response.end('ab');
    } else if (url === '/none') response.writeHead(204).end('ab');
    else if (url === '/told') {
      response.writeHead(200, { 'content-length': 2 });
      response.end('ab', () => order.push('text'));
    } else response.writeHead(200, { 'content-length': 0 }).end(() => order.push('nothing'));
  });
  const paths = ['/bytes', '/chunks', '/buffer', '/bare', '/flushed', '/none', '/told', '/nothing'];
  const answers = await ask(paths.map((path) => get(path)).join('') + get('/bare', last));
  const bodies = answers.split(/HTTP\/1\.1 20[04] [\w ]+\r\n.*?\r\n\r\n/s).slice(1);
  const size = Buffer.byteLength(title).toString(16);
  const chunks = `${size}\r\n${title}\r\n${size}\r\n${title}\r\n0\r\n\r\n`;
  t.strictSame(bodies, ['ab', chunks, title, title, 'ab', '', 'ab', '', title]);
  t.strictSame(order, ['text', 'nothing']);
});

t.test('when an answer is at hand, then it is sent as Node would send it', async (t) => {
  const body = JSON.stringify({ title });
  const headers: readonly [string, string][] = [
    ['content-type', 'application/json; charset=utf-8'],
    ['etag', '"a"'],
  ];
  const answer = readyAnswer('/info/:id', headers, body);
  const time = { now: Date.UTC(2026, 0, 2, 3, 4, 5, 678) };
  const counted: string[] = [];
  const isRead = takeShortcut({
    shortcut: (url) => (url === '/kept' ? answer : undefined),
    requestId: () => `id-${counted.length}`,
    count: (route, status) => counted.push(`${route} ${status}`),
    keepAliveTimeoutMs: 5_000,
    wallClock: () => time.now,
  });
  const { lists, ask } = await listening(t, (request, response) => {
    if (isRead(request, response)) {
      t.ok(isHead(Reflect.get(response, '_header')), 'nobody keeps the body until it is sent');
      time.now += 1000;
      return;
    }
    response.sendDate = false;
    const length = String(Buffer.byteLength(body));
    response.writeHead(200, [...headers.flat(), 'content-length', length, 'x-request-id', 'long']);
    response.end(body);
  });
  const lines = headers.map(([name, value]) => `${name}: ${value}\r\n`);
  const given = `${lines.join('')}content-length: ${Buffer.byteLength(body)}\r\n`;
  const expected = (id: string, rest: string) =>
    `HTTP/1.1 200 OK\r\n${given}x-request-id: ${id}\r\n${rest}\r\n\r\n${body}`;
  const alive = 'Connection: keep-alive\r\nKeep-Alive: timeout=5';
  const closed = 'Connection: close';
  t.equal(
    await ask(get('/kept') + get('/kept') + get('/other') + get('/kept', last)),
    [
      expected('id-0', `Date: Fri, 02 Jan 2026 03:04:05 GMT\r\n${alive}`),
      expected('id-1', `Date: Fri, 02 Jan 2026 03:04:06 GMT\r\n${alive}`),
      expected('long', alive),
      expected('id-2', `Date: Fri, 02 Jan 2026 03:04:07 GMT\r\n${closed}`),
    ].join(''),
  );
  t.equal(
    await ask('GET /kept HTTP/1.0\r\n\r\n'),
    expected('id-3', `Date: Fri, 02 Jan 2026 03:04:08 GMT\r\n${closed}`),
  );
  t.equal(counted.length, 4);
  t.equal(lists.count, 0);
});

t.test('when a header cannot stand in a head, then the answer is not kept', (t) => {
  t.throws(() => readyAnswer('/', [['etag', '"a"\r\nset-cookie: b']], ''), /Invalid character/);
  t.throws(() => readyAnswer('/', [['e tag', '"a"']], ''), /valid HTTP token/);
  t.end();
});
