import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import t, { type Test } from 'tap';
import { boundPipelines } from '../src/pipeline.js';
import { keepStopped, readOn, stopReading } from '../src/reading.js';
import { isReadFrom, until } from './until.js';

const get = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n';

/** A server with one connection, and what it does with each request. */
async function open(t: Test, handle: Parameters<typeof createServer>[1]) {
  const server = createServer(handle);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const taken = once(server, 'connection');
  const client = connect((server.address() as AddressInfo).port, '127.0.0.1');
  const [socket] = (await taken) as [Socket];
  t.teardown(() => {
    client.destroy();
    socket.destroy();
    server.close();
  });
  return { client, socket };
}

/** Whatever has arrived by now was read. */
async function turns(): Promise<void> {
  for (let turn = 0; turn < 20; turn += 1) await new Promise(setImmediate);
}

t.test('when reading is stopped, then Node does not go on behind a request', async (t) => {
  let requests = 0;
  const { client, socket } = await open(t, (_request, response) => {
    requests += 1;
    stopReading(socket);
    response.end('ok');
  });
  client.write(get);
  await once(client, 'data');
  t.notOk(isReadFrom(socket));
  client.write(get);
  await turns();
  t.equal(requests, 1);
  readOn(socket);
  t.ok(isReadFrom(socket));
  await once(client, 'data');
  t.equal(requests, 2);
});

t.test('when the stream above is paused, then reading waits for it, too', async (t) => {
  const { socket } = await open(t, () => {});
  socket.pause();
  stopReading(socket);
  readOn(socket);
  t.notOk(isReadFrom(socket));
  socket.resume();
  await once(socket, 'resume');
  t.ok(isReadFrom(socket));
});

t.test(
  'when Node goes on by itself, then it is stopped for as long as somebody wants',
  async (t) => {
    const { socket } = await open(t, () => {});
    let isWanted = true;
    keepStopped(socket, () => isWanted);
    for (const expected of [false, true]) {
      socket.pause();
      socket.resume();
      await once(socket, 'resume');
      t.equal(isReadFrom(socket), expected);
      isWanted = false;
    }
  },
);

t.test('when a connection is closed, then there is nothing to stop', async (t) => {
  const { socket } = await open(t, () => {});
  socket.destroy();
  stopReading(socket);
  readOn(socket);
  t.ok(socket.destroyed);
});

t.test(
  'when a connection holds requests back, then it is read on when it holds none',
  async (t) => {
    const unanswered: ServerResponse[] = [];
    let readOnAsked = 0;
    const pipelines = boundPipelines((_request, response) => unanswered.push(response), {
      isClosing: () => false,
      readOn() {
        readOnAsked += 1;
      },
    });
    let received = 0;
    const { client, socket } = await open(t, (request, response) => {
      received += 1;
      pipelines.take(request, response);
    });
    client.resume();
    client.write(get.repeat(65));
    await until('all have arrived', () => received === 65);
    t.ok(pipelines.isHolding(socket));
    t.notOk(isReadFrom(socket));
    t.equal(readOnAsked, 0);
    unanswered.shift()?.end('ok');
    await until('the last one was begun', () => unanswered.length === 64);
    t.notOk(pipelines.isHolding(socket));
    t.equal(readOnAsked, 1);
    t.notOk(isReadFrom(socket), 'unless somebody else does not want it');
  },
);
