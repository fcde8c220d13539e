import { once } from 'node:events';
import { type AddressInfo, connect, type Socket } from 'node:net';
import t, { type Test } from 'tap';
import { sentBytes } from '../src/exchange.js';
import { createService } from '../src/index.js';

const bytes = 64_000_000;
const stepMs = 10_000;

/** A service whose clock goes forward by ten seconds when it is told so. */
async function listening(t: Test) {
  const clock = { now: 0 };
  const app = createService({
    name: 'movement',
    config: { LOG_LEVEL: 'silent' },
    connectionsCheckingIntervalMs: 5,
    now: () => clock.now,
  });
  app.get('/large', () => Buffer.alloc(bytes, 'x'));
  t.teardown(() => app.close());
  await app.listen({ host: '127.0.0.1', port: 0 });
  const { port } = app.server.address() as AddressInfo;
  return {
    clock,
    async dial() {
      const taken = once(app.server, 'connection');
      const socket = connect(port, '127.0.0.1');
      socket.on('error', () => {});
      t.teardown(() => socket.destroy());
      const [accepted] = await taken;
      return { socket, accepted: accepted as Socket };
    },
  };
}

const get = (path: string) => `GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`;

t.test('when a connection is idle for longer than is announced, then it is ended', async (t) => {
  const { clock, dial } = await listening(t);
  const [used, idle] = [await dial(), await dial()];
  for (const { socket } of [used, idle]) {
    socket.write(get('/health/live'));
    const [answer] = await once(socket, 'data');
    t.match(String(answer), /^keep-alive: timeout=72\r$/im);
  }
  while (!idle.socket.destroyed) {
    used.socket.write(get('/health/live'));
    await once(used.socket, 'data');
    clock.now += stepMs;
  }
  t.ok(clock.now > 72_000, `after ${clock.now} ms`);
  t.notOk(used.accepted.destroyed, 'one that is used is not');
  t.notOk(used.accepted.timeout, 'and no timer is set for each of its requests');
});

t.test('when an answer is taken bit by bit, then it is waited for; else not', async (t) => {
  const { clock, dial } = await listening(t);
  const slow = await dial();
  slow.socket.write(get('/large'));
  let received = 0;
  slow.socket.on('data', ({ length }) => {
    received += length;
  });
  while (clock.now < 100_000) {
    const before = sentBytes(slow.accepted);
    slow.socket.resume();
    while (sentBytes(slow.accepted) === before) await new Promise(setImmediate);
    slow.socket.pause();
    clock.now += stepMs;
  }
  t.notOk(slow.accepted.destroyed, 'though Node counts nothing of it as sent yet');
  t.ok(received < bytes, `after ${received} bytes`);
  const deaf = await dial();
  deaf.socket.write(get('/large'));
  await once(deaf.socket, 'data');
  deaf.socket.pause();
  const from = clock.now;
  while (!deaf.accepted.destroyed) {
    await new Promise((resolve) => setTimeout(resolve, 5));
    clock.now += stepMs;
  }
  t.ok(clock.now - from > 60_000, `after ${clock.now - from} ms`);
});
