import { EventEmitter, once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { type AddressInfo, connect, Socket } from 'node:net';
import { Readable } from 'node:stream';
import t, { type Test } from 'tap';
import { createService } from '../src/index.js';
import { boundPipelines } from '../src/pipeline.js';

async function open(t: Test) {
  const app = createService({ name: 'pipelines', config: { LOG_LEVEL: 'silent' } });
  t.teardown(() => app.close());
  return {
    app,
    async dial() {
      if (!app.server.listening) await app.listen({ host: '127.0.0.1', port: 0 });
      const { port } = app.server.address() as AddressInfo;
      const socket = connect(port, '127.0.0.1');
      socket.on('error', () => {});
      t.teardown(() => socket.destroy());
      await once(socket, 'connect');
      return socket;
    },
  };
}

const get = (path: string) => `GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`;

t.test('when a caller asks for a tunnel and hangs up, then the service lives on', async (t) => {
  const { app, dial } = await open(t);
  const connectRequest = 'CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n';
  const leave = {
    'by a reset': (socket: Socket) => socket.resetAndDestroy(),
    'without reading': (socket: Socket) => socket.destroy(),
  };
  for (const [how, go] of Object.entries(leave)) {
    const socket = await dial();
    const refused = once(app.server, 'connect');
    socket.pause();
    socket.write(connectRequest);
    const [, accepted] = await refused;
    const closed = new Promise((resolve) => accepted.on('close', resolve));
    go(socket);
    await closed;
    t.equal((await app.inject('/health/live')).statusCode, 200, how);
  }
});

t.test('when a caller is gone, then whatever feeds its answers is let go of', async (t) => {
  const { app, dial } = await open(t);
  const feeds: Readable[] = [];
  const fed = new EventEmitter();
  app.get('/endless', (_request, reply) => {
    const feed = new Readable({ read() {} });
    feeds.push(feed);
    fed.emit('feed');
    return reply.send(feed);
  });
  const socket = await dial();
  socket.write(get('/endless').repeat(5));
  while (feeds.length < 5) await once(fed, 'feed');
  const closed = feeds.map((feed) => once(feed, 'close').catch(() => {}));
  socket.resetAndDestroy();
  await Promise.all(closed);
  t.ok(
    feeds.every(({ destroyed }) => destroyed),
    'also of those that stood behind others',
  );
});

t.test('when a service closes, then nothing is begun behind the last answer', async (t) => {
  const { app, dial } = await open(t);
  const begun: string[] = [];
  let release = () => {};
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  app.get<{ Params: { name: string } }>('/work/:name', async ({ params }) => {
    begun.push(params.name);
    await released;
    return params.name;
  });
  const accepted: Socket[] = [];
  app.server.on('connection', (socket) => accepted.push(socket));
  const [early, late] = [await dial(), await dial()];
  const received = new Map([early, late].map((socket) => [socket, '']));
  for (const socket of [early, late]) {
    socket.on('data', (data) => received.set(socket, `${received.get(socket)}${data}`));
  }
  const read = () => accepted.reduce((sum, { bytesRead }) => sum + bytesRead, 0);
  const before = get('/work/a') + get('/work/b');
  const during = get('/work/d') + get('/work/e');
  early.write(before);
  late.write(get('/work/c'));
  while (begun.length < 3) await new Promise(setImmediate);
  const closing = app.close();
  late.write(during);
  const ends = Promise.all([once(early, 'close'), once(late, 'close')]);
  const all = before.length + get('/work/c').length + during.length;
  while (read() < all) await new Promise(setImmediate);
  release();
  await Promise.all([closing, ends]);
  const answersOf = (socket: Socket) =>
    [...(received.get(socket) ?? '').matchAll(/\r\n\r\n(\w)/g)].map(([, name]) => name);
  const answered = [...answersOf(early), ...answersOf(late)].toSorted();
  t.same(answered, begun.toSorted(), 'whatever was begun was answered');
  t.match(answersOf(early), ['a', 'b'], 'and what had arrived before was');
});

t.test('when a connection sends too much, then no more is made of what has arrived', async (t) => {
  const { app, dial } = await open(t);
  let release = () => {};
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  app.get('/slow', () => released);
  const counts = new Map<Socket, number>();
  app.server.on('request', ({ socket }) => counts.set(socket, (counts.get(socket) ?? 0) + 1));
  const clients = await Promise.all(Array.from({ length: 20 }, dial));
  const closed = clients.map((socket) => once(socket, 'close'));
  for (const socket of clients) socket.write(get('/slow').repeat(2000));
  await Promise.race(closed);
  while (counts.size < clients.length) await new Promise(setImmediate);
  const ended = [...counts].filter(([socket]) => socket.destroyed).map(([, count]) => count);
  t.not(ended.length, 0);
  t.ok(Math.max(...ended) < 2000, `of those that were ended: ${ended}`);
  for (const socket of clients) socket.destroy();
  release();
});

t.test('when a client hangs up, then only the errors about that have no stack', async (t) => {
  const { app, dial } = await open(t);
  const asked = new EventEmitter();
  let release = () => {};
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  app.get('/slow', ({ raw }) => {
    asked.emit('request', raw);
    return released;
  });
  const socket = await dial();
  const reached = once(asked, 'request');
  socket.write(get('/slow'));
  const [request] = (await reached) as [IncomingMessage];
  const closed = new Promise((resolve) => request.socket.once('close', resolve));
  socket.resetAndDestroy();
  await closed;
  t.equal(request.errored?.stack, 'Error: aborted');
  t.match(new Error('ours').stack, /\n {4}at /);
  release();
});

/** A connection and its requests, without a server: what is held is looked at, not waited for. */
function openLines() {
  const begun: ServerResponse[] = [];
  let deferred: (() => void)[] = [];
  const { take, unanswered } = boundPipelines((_request, response) => begun.push(response), {
    isClosing: () => false,
    readOn: () => {},
    defer: (run) => deferred.push(run),
  });
  return {
    begun,
    turn() {
      const due = deferred;
      deferred = [];
      for (const run of due) run();
    },
    line() {
      const socket = new Socket();
      return {
        socket,
        unanswered: () => unanswered(socket),
        send(count: number) {
          for (let sent = 0; sent < count; sent += 1) {
            const response = Object.assign(new EventEmitter(), { socket: null });
            take({ socket } as IncomingMessage, response as unknown as ServerResponse);
          }
        },
      };
    },
  };
}

t.test('when it is asked how many are unanswered, then those held back count too', (t) => {
  const { begun, line } = openLines();
  const { send, unanswered } = line();
  t.equal(unanswered(), 0);
  send(70);
  t.equal(begun.length, 64);
  t.equal(unanswered(), 70);
  begun[0]?.emit('close');
  t.equal(unanswered(), 69);
  t.end();
});

t.test('when one sends many at once, then the others have their turn in between', (t) => {
  const { begun, turn, line } = openLines();
  const { send } = line();
  send(200);
  t.equal(begun.length, 64);
  for (const response of begun.slice()) response.emit('close');
  t.equal(begun.length, 64, 'whatever is answered in this turn');
  turn();
  t.equal(begun.length, 128);
  const other = line();
  other.send(1);
  t.equal(begun.length, 129, 'another connection need not wait');
  t.end();
});

t.test('when all together send too much, then who sends more is ended', async (t) => {
  const { begun, line } = openLines();
  const lines = Array.from({ length: 11 }, line);
  for (const { send } of lines) send(64 + 2000);
  const ended = () => lines.map(({ socket }) => socket.destroyed);
  t.same(ended(), [...Array(10).fill(false), true], 'the one that came when the room was full');
  t.equal(begun.length, 11 * 64);
  const [first] = lines;
  first?.socket.destroy();
  await new Promise(setImmediate);
  const next = line();
  next.send(64 + 2000);
  t.notOk(next.socket.destroyed, 'the room of one that is gone is given to others');
});
