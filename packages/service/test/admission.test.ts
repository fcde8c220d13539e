import { EventEmitter, once } from 'node:events';
import { IncomingMessage, ServerResponse } from 'node:http';
import { type AddressInfo, connect, Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import t, { type Test } from 'tap';
import { createAdmission } from '../src/admission.js';
import { createService } from '../src/create.js';

const [most, mostPerTurn, mostWaiting] = [2048, 256, 20_000];

/** A door whose clock and turns are moved by hand. */
function openDoor() {
  const clock = { now: 0 };
  const state = { isHeldUp: false, looks: 0 };
  const begun: (readonly [IncomingMessage, ServerResponse])[] = [];
  const refused: string[] = [];
  let deferred: (() => void)[] = [];
  let look: (() => void) | undefined;
  const admission = createAdmission({
    handle: (request, response) => begun.push([request, response]),
    refuse: ({ code, nothingDone }, request) =>
      refused.push(`${request.url} ${code} ${nothingDone === true}`),
    isHeldUp: () => state.isHeldUp,
    now: () => clock.now,
    defer: (run) => deferred.push(run),
    after(_ms, run) {
      look = run;
      return () => undefined;
    },
  });
  let last = 0;
  return {
    ...{ admission, begun, refused, state, clock },
    ask(headers: IncomingMessage['headers'] = {}, method = 'POST', restedMs = 0, state = {}) {
      const request = new IncomingMessage(new Socket());
      last += 1;
      request.method = method;
      request.url = `/${last}`;
      Object.assign(request.headers, headers);
      for (const [name, value] of Object.entries(state)) {
        Object.defineProperty(request.socket, name, { value });
      }
      admission.take(request, new ServerResponse(request), restedMs);
      return request;
    },
    turn() {
      const due = deferred;
      deferred = [];
      for (const run of due) run();
    },
    look() {
      const due = look;
      look = undefined;
      due?.();
    },
    isLooking: () => look !== undefined,
    isWaiting: () => deferred.length > 0,
    /** The answers to so many of those that were begun first are there. */
    answer(count: number) {
      for (const [, response] of begun.splice(0, count)) admission.answered(response);
    },
  };
}

t.test('when too many come, then the others wait, and are let in in their order', (t) => {
  const { admission, begun, ask, answer, turn, isWaiting } = openDoor();
  for (let count = 0; count < most + 1000; count += 1) ask();
  t.equal(begun.length, most);
  t.equal(admission.underWay(), most);
  t.equal(admission.waiting(), 1000);
  t.ok(admission.isBackedUp());
  answer(500);
  t.equal(begun.length, most - 500, 'nothing is begun in the middle of other work');
  turn();
  t.equal(begun.length, most - 500 + mostPerTurn, 'nor everything in one turn');
  turn();
  t.equal(admission.underWay(), most);
  t.notOk(admission.isBackedUp());
  t.notOk(isWaiting(), 'then it rests until there is another answer');
  t.equal(begun[most - 500]?.[0].url, `/${most + 1}`);
  t.equal(begun.at(-1)?.[0].url, `/${most + 500}`);
  t.end();
});

t.test('when an answer is there twice, then it counts once', (t) => {
  const { admission, begun, ask } = openDoor();
  ask();
  ask();
  const [first] = begun;
  if (first === undefined) throw new Error('Nothing was begun.');
  const [, response] = first;
  admission.answered(response);
  admission.answered(response);
  response.emit('close');
  t.equal(admission.underWay(), 1);
  begun[1]?.[1].emit('close');
  t.equal(admission.underWay(), 0, 'a client that hung up is not waited for');
  t.end();
});

t.test('when a request has a body, then it is let in whoever waits', (t) => {
  const { admission, begun, ask } = openDoor();
  for (let count = 0; count < most + 1; count += 1) ask();
  const withBody = ask({ 'content-length': '2' });
  t.equal(begun.at(-1)?.[0], withBody);
  ask({ 'content-length': '0' });
  ask({ 'content-length': '2' }, 'GET');
  t.equal(admission.underWay(), most, 'and takes nobody a place');
  t.equal(admission.waiting(), 3, 'but nobody reads the body of a GET');
  t.end();
});

t.test('when others come first, then nobody is let in meanwhile', (t) => {
  const { admission, state, begun, ask, turn } = openDoor();
  state.isHeldUp = true;
  ask();
  turn();
  t.equal(begun.length, 0);
  state.isHeldUp = false;
  turn();
  t.equal(begun.length, 1);
  t.equal(admission.waiting(), 0);
  t.end();
});

t.test('when a client has hung up before its turn, then nothing is begun for it', (t) => {
  const { admission, begun, refused, clock, ask, answer, turn } = openDoor();
  for (let count = 0; count < most; count += 1) ask();
  const gone = ask();
  gone.socket.destroy();
  const ended = ask();
  Object.defineProperty(ended.socket, 'readableEnded', { value: true });
  const patient = ask({ 'x-timeout-ms': '1000' });
  const impatient = ask({ 'x-timeout-ms': '300' });
  clock.now += 400;
  answer(4);
  turn();
  t.same(refused, [`${ended.url} overloaded true`]);
  t.same(
    begun.slice(most - 4).map(([{ headers }]) => headers['x-timeout-ms']),
    ['600', '0'],
    'what is left of their time',
  );
  t.same(
    begun.slice(most - 4).map(([request]) => request),
    [patient, impatient],
  );
  t.equal(admission.underWay(), most - 2);
  t.end();
});

t.test('when a client hung up while its connection rested, then nothing is begun for it', (t) => {
  const { begun, refused, ask, turn } = openDoor();
  const ended = { readableEnded: true };
  const gone = ask({}, 'POST', 251, ended);
  const quick = ask({}, 'POST', 250, ended);
  const patient = ask({ 'x-timeout-ms': '1100' }, 'POST', 6000);
  turn();
  t.same(
    begun.map(([request]) => request),
    [quick, patient],
  );
  t.equal(patient.headers['x-timeout-ms'], '1100', 'when it was sent is not known');
  t.same(refused, [`${gone.url} overloaded true`]);
  t.end();
});

t.test('when many have hung up, then the first who has not is begun in their place', (t) => {
  const { begun, ask, answer, turn } = openDoor();
  for (let count = 0; count < most; count += 1) ask();
  for (let count = 0; count < 300; count += 1) ask().socket.destroy();
  const patient = ask();
  answer(1);
  turn();
  t.equal(begun.length, most - 1, 'but not all of them are looked at in one turn');
  turn();
  t.equal(begun.at(-1)?.[0], patient);
  t.end();
});

t.test('when some have waited for too long, then those go first who are in time', (t) => {
  const { begun, clock, ask, answer, turn } = openDoor();
  for (let count = 0; count < most; count += 1) ask();
  const late = ask();
  clock.now += 1501;
  const inTime = ask();
  answer(1);
  turn();
  answer(1);
  turn();
  t.same(
    begun.slice(-2).map(([request]) => request),
    [inTime, late],
  );
  t.end();
});

t.test('when a client has ended its side and need not wait, then it is let in', (t) => {
  const { begun, refused, state, ask, turn } = openDoor();
  state.isHeldUp = true;
  const ended = ask();
  Object.defineProperty(ended.socket, 'readableEnded', { value: true });
  state.isHeldUp = false;
  turn();
  t.equal(begun[0]?.[0], ended);
  t.same(refused, []);
  t.end();
});

t.test('when a page on another origin has waited in vain, then it can read why', (t) => {
  const { begun, refused, clock, ask, look } = openDoor();
  for (let count = 0; count < most; count += 1) ask();
  const page = ask({ origin: 'https://shop.example' });
  clock.now += 5001;
  look();
  t.same(refused, [], 'a refusal here has no header that lets it');
  t.equal(begun.at(-1)?.[0], page);
  t.equal(page.headers['x-timeout-ms'], '0', 'and nothing is begun for it');
  t.end();
});

t.test('when many have waited in vain, then they are not told so in one turn', (t) => {
  const { refused, clock, ask, look, turn, isLooking, isWaiting } = openDoor();
  for (let count = 0; count < most + 600; count += 1) ask();
  clock.now += 5001;
  look();
  t.equal(refused.length, mostPerTurn);
  turn();
  t.equal(refused.length, 2 * mostPerTurn);
  turn();
  t.equal(refused.length, 600);
  t.notOk(isLooking() || isWaiting());
  t.end();
});

t.test('when nothing is answered any more, then those who wait are told so', (t) => {
  const { admission, refused, clock, ask, look, isLooking } = openDoor();
  for (let count = 0; count < most; count += 1) ask();
  t.notOk(isLooking());
  ask();
  clock.now += 3000;
  ask();
  t.ok(isLooking());
  clock.now += 2001;
  look();
  t.same(refused, [`/${most + 1} overloaded true`]);
  clock.now += 3000;
  look();
  t.equal(refused.length, 2);
  t.equal(admission.waiting(), 0);
  t.notOk(isLooking());
  t.end();
});

t.test('when more wait than there is room for, then who comes is refused', (t) => {
  const { admission, refused, ask } = openDoor();
  for (let count = 0; count < most + mostWaiting; count += 1) ask();
  t.equal(refused.length, 0);
  ask();
  t.same(refused, [`/${most + mostWaiting + 1} overloaded true`]);
  t.equal(admission.waiting(), mostWaiting);
  t.end();
});

/** A service whose slow answers are all under way, on a clock that is set by hand. */
async function openBusy(t: Test) {
  const time = { now: 0 };
  const config = { LOG_LEVEL: 'silent' };
  const app = createService({ name: 'stall', config, now: () => time.now });
  const gate = new EventEmitter();
  const open = once(gate, 'open');
  app.get('/slow', () => open.then(() => 'well'));
  app.post('/body', () => open.then(() => 'done'));
  app.post('/none', () => 'begun');
  await app.listen({ host: '127.0.0.1', port: 0 });
  t.teardown(() => app.close());
  const { port } = app.server.address() as AddressInfo;
  const figures = async () => {
    const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
    return [...text.matchAll(/^bazar_requests\{.*\} (\d+)$/gm)].map(([, value]) => Number(value));
  };
  const dial = () => {
    const socket = connect(port, '127.0.0.1');
    t.teardown(() => socket.destroy());
    return socket;
  };
  for (let count = 0; count < most / 64; count += 1) {
    dial().resume().write('GET /slow HTTP/1.1\r\nhost: stall\r\n\r\n'.repeat(64));
  }
  let [underWay] = await figures();
  while (underWay !== most) [underWay] = await figures();
  return { app, dial, time, figures, letGo: () => gate.emit('open') };
}

t.test('when a client is refused that has more under way, then it hears of all', async (t) => {
  const { app, dial, time, figures, letGo } = await openBusy(t);
  const connection = once(app.server, 'connection');
  const socket = dial();
  const heard = text(socket);
  const [accepted] = await connection;
  const ended = once(accepted, 'end');
  const request = 'POST /none HTTP/1.1\r\nhost: stall\r\n';
  socket.end(
    `${request}content-length: 0\r\n\r\n` +
      'POST /body HTTP/1.1\r\nhost: stall\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}',
  );
  await ended;
  t.same(await figures(), [most, 1], 'what has a body does not wait');
  time.now += 251;
  letGo();
  t.match(await heard, /^HTTP\/1\.1 503 .*HTTP\/1\.1 200 .*done$/s);
});

t.test('when a service has its hands full, then it says so, and forgets nobody', async (t) => {
  const connections = 34;
  const perConnection = 64;
  const all = connections * perConnection;
  let open: (() => void) | undefined;
  const gate = new Promise<void>((resolve) => {
    open = resolve;
  });
  const app = createService({ name: 'stall', config: { LOG_LEVEL: 'silent' } });
  app.get('/slow', async () => {
    await gate;
    return 'well';
  });
  await app.listen({ host: '127.0.0.1', port: 0 });
  t.teardown(() => app.close());
  const { port } = app.server.address() as AddressInfo;
  const sockets = Array.from({ length: connections }, () => connect(port, '127.0.0.1'));
  const answers = sockets.map(async (socket) => {
    t.teardown(() => socket.destroy());
    await once(socket, 'connect');
    socket.write('GET /slow HTTP/1.1\r\nhost: stall\r\n\r\n'.repeat(perConnection));
    let text = '';
    for await (const chunk of socket) {
      text += chunk;
      const count = text.split('HTTP/1.1 200 ').length - 1;
      if (count === perConnection) return count;
    }
    return 0;
  });
  const url = `http://127.0.0.1:${port}`;
  async function figures() {
    const text = await (await fetch(`${url}/metrics`)).text();
    return [...text.matchAll(/^bazar_requests\{.*\} (\d+)$/gm)].map(([, value]) => Number(value));
  }
  let [underWay = 0, waiting = 0] = await figures();
  // They are let in in turns.
  while (underWay + waiting < all || underWay < most) {
    [underWay = 0, waiting = 0] = await figures();
  }
  t.equal(underWay, most);
  t.equal(waiting, all - most);
  t.equal((await fetch(`${url}/health/live`)).status, 200, 'the health does not wait');
  open?.();
  t.same(
    await Promise.all(answers),
    answers.map(() => perConnection),
  );
  t.same(await figures(), [0, 0]);
});
