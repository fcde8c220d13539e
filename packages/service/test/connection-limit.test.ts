import { once } from 'node:events';
import { createServer } from 'node:http';
import { type AddressInfo, connect, Socket } from 'node:net';
import t, { type Test } from 'tap';
import { limitConnections } from '../src/connection-limit.js';
import type { ServiceOptions } from '../src/index.js';
import { watchMovement } from '../src/movement.js';
import { openStall } from './stall.js';
import { isReadFrom, until } from './until.js';

const health = 'GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n';
const purchase = 'POST /wares/2/buy HTTP/1.1\r\nHost: a\r\n\r\n';

interface Dialled {
  readonly socket: Socket;
  readonly isClosed: () => boolean;
  /** Resolves once this text was received; rejects when the connection ends before. */
  readonly until: (text: string) => Promise<void>;
}

async function listening(t: Test, options: Parameters<typeof openStall>[0] & object) {
  const lines: string[] = [];
  const app = openStall({
    config: { LOG_LEVEL: 'warn' },
    logStream: { write: (line) => lines.push(line) },
    ...options,
  });
  t.teardown(() => app.close());
  await app.listen({ host: '127.0.0.1', port: 0 });
  const { port } = app.server.address() as AddressInfo;

  /** Resolves when the service has taken the connection. */
  async function dial(): Promise<Dialled> {
    const taken = once(app.server, 'connection');
    const socket = connect(port, '127.0.0.1');
    t.teardown(() => socket.destroy());
    let received = '';
    let isClosed = false;
    socket.setEncoding('utf8').on('data', (text) => {
      received += text;
    });
    socket.on('error', () => {});
    socket.on('close', () => {
      isClosed = true;
    });
    await taken;
    const until = async (text: string) => {
      while (!received.includes(text)) {
        if (isClosed) throw new Error(`the connection ended before ${text}`);
        await Promise.race([once(socket, 'data'), once(socket, 'close')]);
      }
      received = '';
    };
    return { socket, isClosed: () => isClosed, until };
  }
  const figure = async (name: string) =>
    Number(new RegExp(`^${name} (\\d+)$`, 'm').exec((await app.inject('/metrics')).body)?.[1]);
  const told = () => lines.filter((line) => line.includes('too many connections'));
  return { app, dial, figure, told };
}

const destroyed = (one: { readonly socket: Socket } | undefined) => one?.socket.destroyed;

const clock = (): ServiceOptions => ({
  name: 'stall',
  config: { LOG_LEVEL: 'warn' },
  now: () => 0,
});

/** A server of its own with a clock, whose limit is told who is overdue. */
async function limited(t: Test, maxConnections: number) {
  const clock = { now: 0 };
  const now = () => clock.now;
  const connections = new Set<Socket>();
  // Whoever posts something has to send it all first.
  const server = createServer(({ method }, response) => {
    if (method === 'GET') response.end('ok');
  });
  const { look, isStill } = watchMovement(connections, now);
  let looks = 0;
  const movement = {
    look() {
      looks += 1;
      return look();
    },
    isStill,
  };
  server.on('connection', (socket) => {
    connections.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => connections.delete(socket));
  });
  const overdue: Socket[] = [];
  const waiting = new Set<Socket>();
  const pipelined = new Set<Socket>();
  const limit = limitConnections(server, connections, movement, {
    ...{ maxConnections, now },
    isWaiting: (socket) => waiting.has(socket),
    unanswered: (socket) => (pipelined.has(socket) ? 2 : 1),
    takeOverdue: () => overdue.shift(),
    warn: () => {},
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => server.close());
  const { port } = server.address() as AddressInfo;
  async function dial() {
    const taken = once(server, 'connection');
    const client = connect(port, '127.0.0.1');
    client.on('error', () => {});
    t.teardown(() => client.destroy());
    const [socket] = await taken;
    return { client, socket: socket as Socket };
  }
  async function dialAll(count: number) {
    const all: Awaited<ReturnType<typeof dial>>[] = [];
    while (all.length < count) all.push(await dial());
    return all;
  }
  /** Asks something, so that the connection has moved. */
  async function use({ client }: { readonly client: Socket }) {
    client.write(health);
    await once(client, 'data');
  }
  return {
    ...{ clock, limit, overdue, waiting, pipelined, connections },
    ...{ dial, dialAll, use, look, looks: () => looks },
  };
}

t.test('when all were used just now, then who is overdue to be read makes room', async (t) => {
  const { clock, limit, overdue, dial, dialAll, use, look, looks } = await limited(t, 2);
  const [first, second] = await dialAll(2);
  limit.saw(look());
  overdue.push(second?.socket as Socket);
  const third = await dial();
  t.same([first, second, third].map(destroyed), [false, true, false], 'though another is idle');
  t.equal(looks(), 0, 'nor has anybody to be looked at for it');
  await use(third);
  clock.now = 1000;
  overdue.push(third.socket);
  const fourth = await dial();
  t.same([first, third, fourth].map(destroyed), [true, false, false], 'or was so for a second');
  t.same([limit.ended(), limit.refused(), looks()], [2, 0, 0]);
});

t.test('when who is to make room is gone already, then somebody else makes room', async (t) => {
  const { limit, overdue, connections, dial, dialAll } = await limited(t, 2);
  const [first, second] = await dialAll(2);
  const gone = new Socket();
  overdue.push(gone);
  const third = await dial();
  t.same([first, second, third].map(destroyed), [true, false, false]);
  t.ok(gone.destroyed);
  t.same([limit.ended(), limit.refused(), connections.size], [1, 0, 2]);
});

t.test(
  'when one is stuck and others are idle, then who has been still for longer goes',
  async (t) => {
    const { clock, limit, overdue, pipelined, dial, dialAll, use, look } = await limited(t, 3);
    const [stuck, idle, other] = await dialAll(3);
    stuck?.client.write(
      'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n',
    );
    if (stuck !== undefined) await once(stuck.client, 'data');
    limit.saw(look());
    clock.now = 2000;
    if (idle !== undefined) await use(idle);
    if (other !== undefined) await use(other);
    pipelined.add(stuck?.socket as Socket);
    limit.saw(look());
    overdue.push(other?.socket as Socket);
    const fourth = await dial();
    t.same(
      [stuck, idle, other].map(destroyed),
      [false, false, true],
      'behind it somebody is at work',
    );
    pipelined.clear();
    limit.saw(look());
    const fifth = await dial();
    t.same([stuck, idle, fourth, fifth].map(destroyed), [true, false, false, false]);
  },
);

t.test('when a look comes where one has just left, then what it saw counts', async (t) => {
  const { limit, dial, dialAll, look, looks } = await limited(t, 20);
  const [first, left] = await dialAll(20);
  left?.client.destroy();
  if (left !== undefined) await once(left.socket, 'close');
  limit.saw(look());
  await dial();
  await dial();
  t.equal(first?.socket.destroyed, true);
  t.same([looks(), limit.refused()], [0, 0]);
});

t.test('when somebody rests whose turn may come, then the newcomer is turned away', async (t) => {
  const { clock, limit, waiting, dial, dialAll } = await limited(t, 2);
  const resting = await dialAll(2);
  for (const { socket } of resting) waiting.add(socket);
  clock.now = 5000;
  const newcomer = await dial();
  t.same([...resting, newcomer].map(destroyed), [false, false, true]);
  t.same([limit.ended(), limit.refused()], [0, 1]);
});

t.test('when one look has found many, then it serves all who come', async (t) => {
  const { limit, waiting, dial, dialAll, use, look, looks } = await limited(t, 6);
  const idle = await dialAll(6);
  const [, second, third] = idle;
  const first = await dial();
  t.equal(idle.filter(destroyed).length, 1);
  if (second !== undefined) await use(second);
  if (third !== undefined) waiting.add(third.socket);
  const others = await dialAll(3);
  t.equal(looks(), 1);
  t.same(
    [second, third].map(destroyed),
    [false, false],
    'but not who was used meanwhile, or rests',
  );
  t.same([first, ...others].map(destroyed), [false, false, false, false]);
  await dial();
  t.equal(looks(), 2, 'until there is nobody left');
  limit.saw(look().slice(0, 0));
  await dial();
  t.equal(looks(), 3, 'or a later one has found nobody');
});

t.test('when a look has made room for too few, then the next one waits', async (t) => {
  const { clock, limit, waiting, dial, dialAll, looks } = await limited(t, 300);
  const [idle, ...resting] = await dialAll(300);
  for (const { socket } of resting) waiting.add(socket);
  const newcomer = await dial();
  t.same([idle, newcomer].map(destroyed), [true, false]);
  waiting.add(newcomer.socket);
  clock.now = 99;
  await dial();
  t.same([looks(), limit.refused()], [1, 1]);
  clock.now = 100;
  await dial();
  t.same([looks(), limit.refused()], [2, 2]);
});

t.test('when idle connections fill a service, then they make room for who asks', async (t) => {
  const { dial, figure, told } = await listening(t, { ...clock(), maxConnections: 4 });
  const kept = await dial();
  kept.socket.write(health);
  await kept.until('"ok"');
  const mute = [await dial(), await dial(), await dial()];
  const newcomer = await dial();
  newcomer.socket.write(health);
  await newcomer.until('"ok"');
  if (!kept.isClosed()) await once(kept.socket, 'close');
  t.same(
    mute.map(({ isClosed }) => isClosed()),
    [false, false, false],
    'the one that came first made room',
  );
  const others = [await dial(), await dial()];
  for (const { socket, until } of others) {
    socket.write(health);
    await until('"ok"');
  }
  t.equal(await figure('bazar_connections{state="open"}'), 4);
  t.equal(await figure('bazar_connections{state="resting"}'), 0);
  t.equal(await figure('bazar_connections_ended_total'), 3);
  t.equal(await figure('bazar_connections_refused_total'), 0);
  t.equal(told().length, 1, 'in one line');
  t.match(JSON.parse(told()[0] ?? ''), { level: 40, ended: 1, refused: 0, open: 4 });
});

t.test('when a connection was used meanwhile, then one that was not is ended', async (t) => {
  const { dial } = await listening(t, { ...clock(), maxConnections: 3 });
  const [first, second, third] = [await dial(), await dial(), await dial()];
  const fourth = await dial();
  await once(first.socket, 'close');
  second.socket.write(health);
  await second.until('"ok"');
  const fifth = await dial();
  await once(third.socket, 'close');
  for (const { socket, until } of [second, fourth, fifth]) {
    socket.write(health);
    await until('"ok"');
  }
});

t.test('when bodies that were begun do not come, then they make room too', async (t) => {
  let time = 0;
  const { dial, figure } = await listening(t, { ...clock(), maxConnections: 3, now: () => time });
  const head = 'Host: a\r\nContent-Type: application/json\r\nContent-Length: 9';
  const stuck = [await dial(), await dial(), await dial()];
  for (const { socket, until } of stuck) {
    socket.write(`POST /wares HTTP/1.1\r\n${head}\r\nExpect: 100-continue\r\n\r\n`);
    await until('100 Continue');
  }
  // The first look finds that something has moved on each of them.
  const early = await dial();
  await once(early.socket, 'close');
  t.equal(await figure('bazar_connections_refused_total'), 1);
  time += 1000;
  const later = await dial();
  later.socket.write(health);
  await later.until('"ok"');
  const [first] = stuck;
  if (first && !first.isClosed()) await once(first.socket, 'close');
  t.equal(await figure('bazar_connections_ended_total'), 1);
});

t.test('when all connections are at work, then the newcomer is turned away', async (t) => {
  let open = () => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  let reached = 0;
  let onReached = () => {};
  let time = 0;
  const { dial, figure, told } = await listening(t, {
    maxConnections: 2,
    now: () => time,
    wait() {
      reached += 1;
      onReached();
      return opened;
    },
  });
  const busy = [await dial(), await dial()];
  await new Promise<void>((resolve) => {
    onReached = () => reached === busy.length && resolve();
    for (const { socket } of busy) socket.write(purchase);
  });
  const newcomer = await dial();
  if (!newcomer.isClosed()) await once(newcomer.socket, 'close');
  t.equal(await figure('bazar_connections_refused_total'), 1);
  t.equal(await figure('bazar_connections_ended_total'), 0);
  t.match(JSON.parse(told()[0] ?? ''), { ended: 0, refused: 1, open: 2 });
  open();
  for (const { until } of busy) await until('"bought":2');
  time += 1000;
  const later = await dial();
  later.socket.write(health);
  await later.until('"ok"');
});

t.test('when all of a service have waited for too long, then one of them makes room', async (t) => {
  const time = { now: 0 };
  const app = openStall({ now: () => time.now, maxConnections: 300 });
  const accepted: Socket[] = [];
  app.server.on('connection', (socket) => accepted.push(socket));
  const newcomer = new Socket();
  let resting: Socket[] = [];
  app.get('/work', () => {
    time.now += 1;
    if (resting.length > 0) return 'done';
    resting = accepted.filter((socket) => !isReadFrom(socket));
    if (resting.length === 0) return 'done';
    time.now += 6000;
    app.server.emit('connection', newcomer);
    return 'done';
  });
  await app.listen({ host: '127.0.0.1', port: 0 });
  t.teardown(() => app.close());
  const { port } = app.server.address() as AddressInfo;
  const clients = Array.from({ length: 300 }, () => {
    const client = connect(port, '127.0.0.1').on('error', () => {});
    client.on('data', () => client.write('GET /work HTTP/1.1\r\nHost: a\r\n\r\n'));
    t.teardown(() => client.destroy());
    return client;
  });
  for (const client of clients) client.write(health);
  await until('some rest', () => resting.length > 0);
  t.equal(resting.filter(({ destroyed: isDestroyed }) => isDestroyed).length, 1);
  t.notOk(newcomer.destroyed);
  for (const client of clients) client.destroy();
});
