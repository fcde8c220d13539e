import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import t, { type Test } from 'tap';
import { isRead, keepStopped, readOn, stopReading } from '../src/pause.js';
import { boundPipelines } from '../src/pipeline.js';

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
  t.notOk(isRead(socket));
  client.write(get);
  await turns();
  t.equal(requests, 1);
  readOn(socket);
  t.ok(isRead(socket));
  await once(client, 'data');
  t.equal(requests, 2);
});

t.test('when the stream above is paused, then reading waits for it, too', async (t) => {
  const { socket } = await open(t, () => {});
  socket.pause();
  stopReading(socket);
  readOn(socket);
  t.notOk(isRead(socket));
  socket.resume();
  await once(socket, 'resume');
  t.ok(isRead(socket));
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
      t.equal(isRead(socket), expected);
      isWanted = false;
    }
  },
);

t.test('when what is below a stream is not to be seen, then the stream is paused', (t) => {
  let isPaused = false;
  const connection = {
    isPaused: () => isPaused,
    pause() {
      isPaused = true;
    },
    resume() {
      isPaused = false;
    },
    on: () => {},
  };
  stopReading(connection);
  t.notOk(isRead(connection));
  readOn(connection);
  t.ok(isRead(connection));
  t.end();
});

t.test(
  'when a connection rests, then it is not read for what it held being answered',
  async (t) => {
    let isResting = true;
    const unanswered: ServerResponse[] = [];
    const pipelines = boundPipelines((_request, response) => unanswered.push(response), {
      isClosing: () => false,
      isResting: () => isResting,
    });
    let received = 0;
    const { client, socket } = await open(t, (request, response) => {
      received += 1;
      pipelines.take(request, response);
    });
    client.resume();
    for (const expected of [false, true]) {
      client.write(get.repeat(65));
      while (received % 65 > 0 || received === 0) await turns();
      t.notOk(isRead(socket), 'while it holds some');
      while (pipelines.unanswered(socket) > 0) {
        unanswered.shift()?.end('ok');
        await turns();
      }
      t.equal(isRead(socket), expected);
      isResting = false;
      readOn(socket);
      received = 0;
    }
  },
);
