import { createServer, type Server } from 'node:http';
import { type AddressInfo, connect, createServer as createTcpServer } from 'node:net';
import t, { type Test } from 'tap';
import { createFront } from '../src/index.js';

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
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, server };
}

async function openFront(t: Test, urls: readonly string[]) {
  const lines: string[] = [];
  const front = createFront({
    addresses: { current: () => urls.map((url) => ({ url })) },
    log: (_level, sentence) => lines.push(sentence),
    lookAgainMs: 20,
  });
  const port = await front.listen('127.0.0.1', 0);
  t.teardown(() => front.close(0));
  return { url: `http://127.0.0.1:${port}`, port, front, lines };
}

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

t.test('when a gateway breaks a connection, then its end is no clean one', async (t) => {
  const server = createTcpServer((socket) => {
    socket.once('data', () => {
      socket.write('half');
      socket.once('data', () => socket.resetAndDestroy());
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => server.close());
  const { port } = await openFront(t, [
    `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
  ]);
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

t.test(
  'when it stops, then who waits for an answer gets it, and nobody else is waited for',
  async (t) => {
    const server = createServer((_request, response) => {
      setTimeout(() => response.end('late'), 600);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    t.teardown(() => server.close());
    const { url, port, front } = await openFront(t, [
      `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    ]);
    const idle = connect(port, '127.0.0.1');
    await new Promise((resolve) => idle.once('connect', resolve));
    const ended = new Promise((resolve) => idle.once('end', resolve));
    idle.resume();
    const waiting = read(url);
    await new Promise((resolve) => server.once('request', resolve));
    // Without an end of its own the first connection would be waited for until the test is too late.
    await front.close(600_000);
    await ended;
    t.equal(await waiting, 'late');
  },
);
