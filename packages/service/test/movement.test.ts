import { once } from 'node:events';
import { type AddressInfo, connect, type Socket } from 'node:net';
import t, { type Test } from 'tap';
import { type Exchange, sentBytes } from '../src/exchange.js';
import { createService } from '../src/index.js';
import { endStill, watchMovement } from '../src/movement.js';

const bytes = 64_000_000;
const [idleMs, quietMs] = [72_000, 60_000];

/** A service whose connections are looked at by hand. */
async function listening(t: Test, connectionsCheckingIntervalMs = 600_000) {
  const clock = { now: 0 };
  const now = () => clock.now;
  const app = createService({
    name: 'movement',
    config: { LOG_LEVEL: 'silent' },
    connectionsCheckingIntervalMs,
    now,
  });
  const never = new Promise<never>(() => {});
  let reached = () => {};
  app.get('/large', () => Buffer.alloc(bytes, 'x'));
  app.get('/never', () => {
    reached();
    return never;
  });
  app.post('/body', () => 'ok');
  const accepted = new Set<Socket>();
  app.server.on('connection', (socket) => accepted.add(socket));
  await app.listen({ host: '127.0.0.1', port: 0 });
  t.teardown(async () => {
    for (const socket of accepted) socket.destroy();
    await app.close();
  });
  const { port } = app.server.address() as AddressInfo;
  const movement = watchMovement(accepted, now);
  return {
    clock,
    ...movement,
    end: () => endStill(movement.look(), { idleMs, quietMs, now }),
    untilNever: () =>
      new Promise<void>((resolve) => {
        reached = resolve;
      }),
    async dial() {
      const taken = once(app.server, 'connection');
      const client = connect(port, '127.0.0.1');
      client.on('error', () => {});
      t.teardown(() => client.destroy());
      const [socket] = await taken;
      return { client, socket: socket as Socket };
    },
  };
}

const get = (path: string) => `GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`;

t.test('when nothing moves on a connection for too long, then it is ended', async (t) => {
  const { clock, look, end, dial, untilNever } = await listening(t);
  const idle = await dial();
  idle.client.write(get('/health/live'));
  await once(idle.client, 'data');
  const receiving = await dial();
  const length = 'Content-Type: application/json\r\nContent-Length: 9';
  receiving.client.write(
    `POST /body HTTP/1.1\r\nHost: a\r\n${length}\r\nExpect: 100-continue\r\n\r\n{`,
  );
  await once(receiving.client, 'data');
  const answering = await dial();
  const atWork = untilNever();
  answering.client.write(get('/never'));
  await atWork;
  const sending = await dial();
  sending.client.write(get('/large'));
  await once(sending.client, 'data');
  sending.client.pause();
  // The system goes on to take what its buffers have room for.
  for (let before = -1; before !== sentBytes(sending.socket); ) {
    before = sentBytes(sending.socket);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  const all = { idle, receiving, answering, sending };
  const seen = new Map(look().map(({ socket, exchange }) => [socket, exchange]));
  for (const [exchange, { socket }] of Object.entries(all)) {
    t.equal(seen.get(socket), exchange as Exchange);
  }
  const ended = () =>
    Object.entries(all)
      .filter(([, { socket }]) => socket.destroyed)
      .map(([exchange]) => exchange);
  const at = (ms: number) => {
    clock.now = ms;
    end();
    return ended();
  };
  t.same(at(quietMs), []);
  t.same(at(quietMs + 1), ['receiving', 'answering', 'sending']);
  t.same(at(idleMs), ['receiving', 'answering', 'sending']);
  t.same(at(idleMs + 1), ['idle', 'receiving', 'answering', 'sending']);
});

t.test('when something moves on a connection, then its time begins again', async (t) => {
  const { clock, end, dial } = await listening(t);
  const [used, slow] = [await dial(), await dial()];
  slow.client.write(get('/large'));
  await once(slow.client, 'data');
  slow.client.pause();
  for (let step = 1; step <= 5; step += 1) {
    used.client.write(get('/health/live'));
    await once(used.client, 'data');
    const before = sentBytes(slow.socket);
    slow.client.resume();
    while (sentBytes(slow.socket) === before) await new Promise(setImmediate);
    slow.client.pause();
    t.ok(sentBytes(slow.socket) > 0 && sentBytes(slow.socket) < bytes, 'bit by bit');
    end();
    clock.now += quietMs;
    end();
    t.notOk(slow.socket.destroyed, 'though Node counts nothing of that piece as sent yet');
    t.notOk(used.socket.destroyed);
  }
});

t.test('when a service is at work, then it looks itself, and sets no timers', async (t) => {
  const { clock, dial } = await listening(t, 5);
  const { client, socket } = await dial();
  client.write(get('/health/live'));
  const [answer] = await once(client, 'data');
  t.match(String(answer), /^keep-alive: timeout=72\r$/im);
  t.notOk(socket.timeout);
  let told = () => {};
  const timeout = new Promise<void>((resolve) => {
    told = resolve;
  });
  const other = await dial();
  other.socket.setTimeout(1, () => told());
  await timeout;
  t.pass('but that of somebody who wants to be called');
  const closed = once(client, 'close');
  const steps = setInterval(() => {
    clock.now += idleMs;
  }, 10);
  t.teardown(() => clearInterval(steps));
  await closed;
});
