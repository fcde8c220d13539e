import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import {
  type AddressInfo,
  connect,
  createServer as createTcpServer,
  type Socket,
  type Server as TcpServer,
} from 'node:net';
import { createService } from '@bazar/service';
import t, { type Test } from 'tap';
import { createFront, type FrontEffects } from '../src/index.js';
import { openPassage } from '../src/passage.js';

async function openGateway(t: Test, name: string): Promise<{ url: string; server: Server }> {
  const server = createServer((request, response) => {
    if (request.url === '/silence') return;
    response.end(name);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: urlOf(server), server };
}

/** A gateway that does with each connection what the test wants. */
async function openRawGateway(t: Test, onConnection: (socket: Socket) => void): Promise<string> {
  const sockets = new Set<Socket>();
  const server = createTcpServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    onConnection(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return urlOf(server);
}

/** A gateway with all bounds of a real one; `GET /held/:name` is answered when the test says so. */
async function openService(t: Test) {
  const app = createService({ name: 'gateway', config: { LOG_LEVEL: 'silent' } });
  const held = new Map<string, () => void>();
  app.get<{ Params: { name: string } }>('/held/:name', async ({ params: { name } }) => {
    await new Promise<void>((resolve) => held.set(name, resolve));
    return name;
  });
  app.get<{ Params: { name: string } }>('/now/:name', async ({ params: { name } }) => name);
  const url = await app.listen({ host: '127.0.0.1', port: 0 });
  t.teardown(async () => {
    for (const answer of held.values()) answer();
    await app.close();
  });
  return {
    url,
    app,
    arrived: (name: string) => until(`${name} has arrived`, () => held.has(name)),
    answer: (name: string) => held.get(name)?.(),
  };
}

const urlOf = (server: TcpServer) => `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

async function openFront(t: Test, urls: readonly string[], options: Partial<FrontEffects> = {}) {
  const lines: string[] = [];
  const front = createFront({
    addresses: { current: () => urls.map((url) => ({ url })) },
    log: (_level, sentence) => lines.push(sentence),
    lookAgainMs: 20,
    ...options,
  });
  const url = await front.listen({
    host: '127.0.0.1',
    port: 0,
    backlog: 511,
    listenTextResolver: (address) => address,
  });
  t.same(lines.splice(0), [url]);
  t.teardown(() => front.close(0));
  return { url, port: Number(new URL(url).port), front, lines };
}

async function until(what: string, isSo: () => boolean): Promise<void> {
  for (let round = 0; !isSo(); round += 1) {
    if (round === 3000) throw new Error(`it never happened that ${what}`);
    await new Promise((resolve) => setTimeout(resolve, Math.min(round, 10)));
  }
}

/** A client that sends what it is told, and never closes its side. */
function dial(port: number, text = ''): Client {
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
  if (text !== '') socket.write(text);
  const client = { socket, received: '', hasEnded: false, error: undefined as unknown };
  socket.on('data', (chunk) => {
    client.received += chunk;
  });
  socket.on('end', () => {
    client.hasEnded = true;
  });
  socket.on('error', (error) => {
    client.error = error;
  });
  return client;
}

interface Client {
  readonly socket: Socket;
  readonly received: string;
  readonly hasEnded: boolean;
  readonly error: unknown;
}

const get = (path: string) => `GET ${path} HTTP/1.1\r\nHost: shop\r\n\r\n`;

const read = async (url: string) => (await fetch(url, { headers: { connection: 'close' } })).text();

t.test('when connections come, then they are spread', async (t) => {
  const [a, b] = [await openGateway(t, 'a'), await openGateway(t, 'b')];
  const { url } = await openFront(t, [a.url, b.url]);
  const open = [1, 2, 3, 4].map(() => fetch(`${url}/silence`).catch(() => undefined));
  await new Promise<void>((resolve) => {
    const look = () => {
      a.server.getConnections((_e, inA) =>
        b.server.getConnections((_f, inB) => {
          if (inA === 2 && inB === 2) resolve();
          else setTimeout(look, 5);
        }),
      );
    };
    look();
  });
  t.pass('two each');
  a.server.closeAllConnections();
  b.server.closeAllConnections();
  t.strictSame(await Promise.all(open), [undefined, undefined, undefined, undefined]);
});

t.test('when a gateway is gone, then the other one is asked', async (t) => {
  const [a, b] = [await openGateway(t, 'a'), await openGateway(t, 'b')];
  const { url, lines } = await openFront(t, [a.url, b.url]);
  a.server.closeAllConnections();
  await new Promise((resolve) => a.server.close(resolve));
  for (let round = 0; round < 5; round += 1) t.equal(await read(url), 'b');
  t.equal(lines.length, 1, 'it is told once');
});

t.test('when a gateway is back, then it is asked again while the other one is there', async (t) => {
  const [a, b] = [await openGateway(t, 'a'), await openGateway(t, 'b')];
  const { url, lines } = await openFront(t, [a.url, b.url]);
  a.server.closeAllConnections();
  await new Promise((resolve) => a.server.close(resolve));
  t.equal(await read(url), 'b');
  await new Promise<void>((resolve) => {
    a.server.listen(Number(new URL(a.url).port), '127.0.0.1', resolve);
  });
  for (let round = 0; (await read(url)) !== 'a'; round += 1) {
    if (round === 1000) throw new Error('it is never asked again');
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  t.match(lines, [/takes no connections/, /takes connections again/]);
});

t.test('when many come at once, then they are spread, too', async (t) => {
  const counts = [0, 0];
  const urls = await Promise.all(
    counts.map((_, index) =>
      openRawGateway(t, () => {
        counts[index] = (counts[index] ?? 0) + 1;
      }),
    ),
  );
  // To look up a name takes a while, in which the others come.
  const names = urls.map((url) => url.replace('127.0.0.1', 'localhost'));
  const { port } = await openFront(t, names);
  const clients = Array.from({ length: 10 }, () => dial(port));
  await until('all are joined', () => counts.reduce((sum, count) => sum + count) === 10);
  t.same(counts, [5, 5]);
  for (const { socket } of clients) socket.destroy();
});

t.test('when a gateway has ended, then a client that never closes is let go', async (t) => {
  const url = await openRawGateway(t, (socket) => socket.resume().end('bye'));
  const { port, front } = await openFront(t, [url], { lingerMs: 20 });
  const clients = Array.from({ length: 20 }, () => dial(port, get('/half')));
  await until('all have heard', () => clients.every(({ hasEnded }) => hasEnded));
  await until('all are gone', () => front.figures().connections === 0);
  t.ok(clients.every(({ received }) => received === 'bye'));
  t.match(front.figures(), { ending: 0, full: { ended: 0, refused: 0 } });
  for (const { socket } of clients) socket.destroy();
});

/** A passage whose gateway has ended while its client, who reads nothing, has not got all of it. */
async function openStuck(t: Test, limits: Pick<FrontEffects, 'leftMs' | 'lingerMs'>) {
  const pair = async () => {
    const server = createTcpServer({ allowHalfOpen: true }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const socket = connect({ port: Number(new URL(urlOf(server)).port), allowHalfOpen: true });
    const [taken]: Socket[] = await once(server, 'connection');
    if (taken === undefined) throw new Error('there is no connection');
    t.teardown(() => {
      for (const one of [socket, taken]) one.destroy();
      server.close();
    });
    return { socket: socket.pause(), taken };
  };
  const { socket: client, taken: near } = await pair();
  const { socket: far, taken: gateway } = await pair();
  let isEnding = false;
  const onEnding = () => {
    isEnding = true;
  };
  openPassage(near, far, { onAsked() {}, onAnswered() {}, onEnding, ...limits });
  const piece = Buffer.alloc(8 * 1024);
  let sent = 0;
  // One piece that the system does not take is less than what would stop the gateway.
  while (near.writableLength === 0) {
    gateway.write(piece);
    sent += piece.length;
    await until('it is passed on', () => near.bytesWritten === sent);
  }
  gateway.end();
  await until('the front knows', () => isEnding);
  return { client, near, sent };
}

t.test('when a gateway has ended, then a slow client gets what is left', async (t) => {
  const { client, near, sent } = await openStuck(t, { lingerMs: 1 });
  // Longer than the front lingers.
  await new Promise((resolve) => setTimeout(resolve, 20));
  t.notOk(near.destroyed, 'it is waited for');
  client.on('data', () => {}).resume();
  await once(client, 'end');
  t.equal(client.bytesRead, sent);
  await until('it is let go', () => near.destroyed);
});

t.test('when a client does not take what is left in time, then it is let go', async (t) => {
  const { client, near, sent } = await openStuck(t, { leftMs: 20 });
  await until('it is let go', () => near.destroyed);
  t.ok(client.bytesRead < sent);
});

t.test('when a gateway answers early, then who goes on sending gets the answer', async (t) => {
  let isOver = false;
  const url = await openRawGateway(t, (socket) => {
    socket.once('data', () => {
      socket.end('too large');
      // What follows breaks a connection on which nobody listens any more.
      socket.on('data', () => socket.resetAndDestroy());
    });
    socket.once('close', () => {
      isOver = true;
    });
  });
  const { port } = await openFront(t, [url]);
  const client = dial(port, 'a body');
  client.socket.pause();
  const sending = setInterval(() => client.socket.write('more of it'), 1);
  t.teardown(() => clearInterval(sending));
  await until('the gateway is through with it', () => isOver);
  client.socket.resume();
  await until('it has ended', () => client.hasEnded || client.error !== undefined);
  clearInterval(sending);
  t.match(client, { received: 'too large', error: undefined });
  client.socket.destroy();
});

t.test('when nothing moves for too long, then the connection breaks', async (t) => {
  const url = await openRawGateway(t, (socket) => socket.resume());
  const { port, front } = await openFront(t, [url], { quietMs: 50 });
  const { socket } = dial(port, get('/hung'));
  const [error] = await once(socket, 'error');
  t.match(error, { code: 'ECONNRESET' });
  await until('it is gone', () => front.figures().connections === 0);
});

t.test('when a client is deaf, then its gateway waits, and both are given up', async (t) => {
  const bytes = 64 * 1024 * 1024;
  const piece = Buffer.alloc(64 * 1024);
  const sent: Socket[] = [];
  const url = await openRawGateway(t, (socket) => {
    sent.push(socket.resume());
    const write = () => {
      while (socket.bytesWritten < bytes) if (!socket.write(piece)) return;
      socket.end();
    };
    socket.on('drain', write);
    write();
  });
  const { port, front } = await openFront(t, [url], { quietMs: 2000 });
  const client = connect(port, '127.0.0.1').pause();
  client.on('error', () => {});
  await until('it is joined', () => sent.length > 0);
  await until('it is given up', () => front.figures().connections === 0);
  const [gateway] = sent;
  await until('the gateway knows', () => gateway?.destroyed ?? false);
  // The buffers of the system on both ways hold some of it.
  t.ok((gateway?.bytesWritten ?? bytes) < bytes / 2, `${gateway?.bytesWritten} bytes were sent`);
  client.destroy();
});

t.test('when there is no more room, then the quietest makes room', async (t) => {
  const gateway = await openService(t);
  const told: string[] = [];
  const { port, front } = await openFront(t, [gateway.url], {
    maxConnections: 2,
    leastQuietMs: 0,
    lingerMs: 20,
    onFull: (what) => told.push(what),
  });
  const answered = async (name: string) => {
    const client = dial(port, get(`/now/${name}`));
    await until(`${name} is answered`, () => client.received.endsWith(name));
    return client;
  };
  const [first, second] = [await answered('first'), await answered('second')];
  first.socket.write(get('/now/again'));
  await until('first is answered again', () => first.received.endsWith('again'));
  const third = await answered('third');
  await until('second is ended', () => second.hasEnded);
  t.same([first.hasEnded, third.hasEnded], [false, false], 'who moved last stays');
  t.same(told, ['ended']);
  await until('second is gone', () => front.figures().connections === 2);
  first.socket.write(get('/held/first'));
  third.socket.write(get('/held/third'));
  await Promise.all(['first', 'third'].map(gateway.arrived));
  const refused = dial(port, get('/now/refused'));
  await until('it is refused', () => refused.error !== undefined);
  t.match(refused.error, { code: 'ECONNRESET' });
  t.same(told, ['ended', 'refused'], 'nobody who waits for an answer makes room');
  t.same(front.figures().full, { ended: 1, refused: 1 });
  for (const name of ['first', 'third']) gateway.answer(name);
  await until(
    'both are answered',
    () => /first$/.test(first.received) && /third$/.test(third.received),
  );
  for (const { socket } of [first, second, third]) socket.destroy();
});

t.test('when most are busy and about to ask again, then they make no room', async (t) => {
  const gateway = await openService(t);
  const { port } = await openFront(t, [gateway.url], { maxConnections: 1, leastQuietMs: 60_000 });
  const client = dial(port, get('/now/first'));
  await until('it is answered', () => client.received.endsWith('first'));
  const refused = dial(port);
  await until('the other is refused', () => refused.error !== undefined);
  client.socket.write(get('/now/second'));
  await until('it is answered again', () => client.received.endsWith('second'));
  client.socket.destroy();
});

t.test('when a gateway breaks a connection, then its end is no clean one', async (t) => {
  const server = createTcpServer((socket) => {
    socket.once('data', () => {
      socket.write('half');
      socket.once('data', () => socket.resetAndDestroy());
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => server.close());
  const { port } = await openFront(t, [urlOf(server)]);
  const socket = connect(port, '127.0.0.1');
  socket.write('a request');
  socket.once('data', () => socket.write('go on'));
  const ended = new Promise((resolve, reject) => {
    socket.on('error', reject);
    socket.on('end', resolve);
  });
  await t.rejects(ended, { code: 'ECONNRESET' });
});

t.test('when no gateway is there, then the connection breaks', async (t) => {
  const { port } = await openFront(t, ['http://127.0.0.1:1']);
  const socket = connect(port, '127.0.0.1');
  await t.rejects(
    new Promise((resolve, reject) => {
      socket.on('error', reject);
      socket.on('close', resolve);
    }),
    { code: 'ECONNRESET' },
  );
});

t.test('when the front stops, then what is under way is ended in its time', async (t) => {
  const a = await openGateway(t, 'a');
  const { url, front } = await openFront(t, [a.url]);
  const waiting = fetch(`${url}/silence`).catch((error: unknown) => error);
  await new Promise<void>((resolve) => a.server.once('request', () => resolve()));
  await front.close(10);
  t.ok((await waiting) instanceof Error);
});

t.test('when it stops, then all who wait get their answers, and nobody else stays', async (t) => {
  const gateway = await openService(t);
  const { port, front } = await openFront(t, [gateway.url]);
  const idle = dial(port);
  const behind = dial(port, get('/now/idle'));
  await until('it is idle', () => behind.received.endsWith('idle'));
  const waiting = dial(port, get('/held/late'));
  // Behind the first answer the front cannot know that another one is under way.
  const pipelined = dial(port, `${get('/now/first')}${get('/held/bought')}`);
  await Promise.all(['late', 'bought'].map(gateway.arrived));
  await until('the first is answered', () => pipelined.received.endsWith('first'));
  // Without ends of their own these would be waited for until the test is too late.
  const closing = front.close(600_000);
  await until('the idle have ended', () => idle.hasEnded && behind.hasEnded);
  await until('nobody but who waits is asked for', () => front.figures().connections === 2);
  gateway.answer('bought');
  await until('what was pipelined has ended', () => pipelined.hasEnded);
  t.match(pipelined.received, /first.*HTTP.*200.*bought$/s);
  t.equal(waiting.received, '');
  gateway.answer('late');
  await closing;
  await until('it has ended', () => waiting.hasEnded);
  t.match(waiting.received, /^HTTP.*200.*late$/s);
  for (const { socket } of [idle, behind, waiting, pipelined]) socket.destroy();
});
