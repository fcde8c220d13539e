import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import { type AddressInfo, connect, Socket } from 'node:net';
import t, { type Test } from 'tap';
import { createEntrance } from '../src/entrance.js';
import { readyAnswer } from '../src/shortcut.js';
import { isReadFrom, until } from './until.js';

/** More than the system takes on its way. */
const large = readyAnswer('/large', [], 'x'.repeat(50_000_000));

const get = (path: string) => `GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`;

/** A server behind an entrance, on which a quick request makes a turn long, and a slow one waits. */
async function open(t: Test) {
  const clock = { ms: 0 };
  let areNewcomersComing = false;
  let isToRest = false;

  function letOthersWait(): void {
    areNewcomersComing = isToRest;
    letNewcomersCome();
  }

  const entrance = createEntrance({
    shortcut(url) {
      if (url !== '/large') return undefined;
      letOthersWait();
      return large;
    },
    shed: () => undefined,
    urgent: [],
    requestId: () => 'a',
    logFailure: Object.assign(() => {}, { flush: () => {} }),
    count: () => {},
    countEarly: () => {},
    keepAliveTimeoutMs: 72_000,
    now: () => clock.ms,
  });
  const slow: ServerResponse[] = [];

  /** As long as newcomers come, nobody who rests is read from. */
  function letNewcomersCome(): void {
    if (!areNewcomersComing) return;
    entrance.accepted(new Socket());
    setImmediate(letNewcomersCome);
  }

  const server = createServer(
    entrance.before((request, response) => {
      response.once('finish', () => entrance.answered(response));
      if (request.url === '/slow') {
        slow.push(response);
        return;
      }
      clock.ms += 30;
      letOthersWait();
      response.end('ok');
    }),
  );
  server.on('connection', entrance.accepted);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    areNewcomersComing = false;
    server.close();
  });

  async function dial() {
    const taken = once(server, 'connection');
    const client = connect((server.address() as AddressInfo).port, '127.0.0.1');
    t.teardown(() => client.destroy());
    const [socket] = (await taken) as [Socket];
    client.resume();
    return { client, socket };
  }

  /** A connection that rests, and does so for as long as newcomers come. */
  async function rest(requests: string, prepare: (client: Socket) => void = () => {}) {
    const { client, socket } = await dial();
    const answered = once(client, 'data');
    client.write(get('/quick'));
    await answered;
    isToRest = true;
    prepare(client);
    client.write(requests);
    await until('it rests', () => entrance.resting() > 0);
    return { client, socket };
  }

  return {
    ...{ clock, entrance, slow, rest },
    serveOthers() {
      isToRest = false;
      areNewcomersComing = false;
    },
  };
}

t.test('when a connection has rested for too long, then it can be taken to be ended', async (t) => {
  const { clock, entrance, rest, serveOthers } = await open(t);
  const { socket } = await rest(get('/quick'));
  clock.ms += 5000;
  t.equal(entrance.takeOverdue(), undefined, 'clients may wait for so long');
  clock.ms += 1;
  t.equal(entrance.takeOverdue(), socket);
  t.equal(entrance.resting(), 0);
  serveOthers();
});

t.test('when an answer is being made on a connection that rests, then it is let be', async (t) => {
  const { clock, entrance, slow, rest, serveOthers } = await open(t);
  const { client } = await rest(get('/quick') + get('/slow'));
  await until('the slow one was begun', () => slow.length === 1);
  clock.ms += 60_000;
  t.equal(entrance.takeOverdue(), undefined);
  serveOthers();
  const answered = once(client, 'data');
  slow[0]?.end('done');
  await answered;
});

t.test('when a client that rests has not read its answer, then it is let be, too', async (t) => {
  const { clock, entrance, rest, serveOthers } = await open(t);
  const { client } = await rest(get('/large'), (client) => client.pause());
  clock.ms += 60_000;
  t.equal(entrance.takeOverdue(), undefined);
  serveOthers();
  client.destroy();
});

t.test('when one that rests holds requests back, then it is not read in its turn', async (t) => {
  const { entrance, slow, rest, serveOthers } = await open(t);
  const { socket } = await rest(get('/quick') + get('/slow').repeat(70));
  await until('those were begun that may be', () => slow.length === 63);
  serveOthers();
  await until('its turn has come', () => entrance.resting() === 0);
  t.notOk(isReadFrom(socket));
  for (let left = 70; left > 0; left -= 1) {
    await until('the next was begun', () => slow.length > 0);
    slow.shift()?.end('done');
  }
  await until('it is read', () => isReadFrom(socket));
});

t.test('when Node goes on reading from one that rests, then it is stopped again', async (t) => {
  const { entrance, rest, serveOthers } = await open(t);
  const { socket } = await rest(get('/quick'));
  socket.pause();
  socket.resume();
  await once(socket, 'resume');
  t.notOk(isReadFrom(socket));
  serveOthers();
  await until('its turn has come', () => entrance.resting() === 0);
  t.ok(isReadFrom(socket));
});
