import { once } from 'node:events';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { Worker } from 'node:worker_threads';
import t from 'tap';
import { type Backpressure, createBackpressure } from '../src/backpressure.js';
import { createService } from '../src/create.js';
import { readyAnswer } from '../src/shortcut.js';
import { isReadFrom } from './until.js';

class Line {
  isRead = true;
  /** Whether somebody else does not want it to be read. */
  isHeld = false;
  destroyed = false;
}

/** A loop whose turns are ended by hand, and take as long as it is told. */
function openLoop() {
  const clock = { now: 0 };
  const backed = { up: false };
  let deferred: (() => void)[] = [];
  let timers: { readonly at: number; readonly run: () => void }[] = [];
  const pressure: Backpressure<Line> = createBackpressure<Line>({
    now: () => clock.now,
    defer: (run) => deferred.push(run),
    after(ms, run) {
      timers.push({ at: clock.now + ms, run });
      return () => undefined;
    },
    isBackedUp: () => backed.up,
    stopReading(line) {
      if (line.destroyed) throw new Error('what has ended is left alone');
      line.isRead = false;
    },
    readOn(line) {
      if (line.isHeld) return false;
      line.isRead = true;
      return true;
    },
  });
  return {
    pressure,
    backed,
    /** So many connections that begin to rest. */
    rest(count: number): Line[] {
      const lines = linesOf(count);
      for (const line of lines) pressure.rest(line);
      return lines;
    },
    waitFor(ms: number) {
      clock.now += ms;
      const due = timers.filter(({ at }) => at <= clock.now);
      timers = timers.filter((timer) => !due.includes(timer));
      for (const { run } of due) run();
    },
    turn(ms: number) {
      clock.now += ms;
      const due = deferred;
      deferred = [];
      for (const run of due) run();
    },
    isWaiting: () => deferred.length > 0,
  };
}

const readOf = (lines: readonly Line[]) => lines.filter(({ isRead }) => isRead).length;
const linesOf = (count: number) => Array.from({ length: count }, () => new Line());

t.test('when turns are short, then nobody rests', (t) => {
  const { pressure, turn, isWaiting } = openLoop();
  for (let round = 0; round < 3; round += 1) {
    pressure.arrived();
    pressure.arrived();
    turn(20);
    t.notOk(pressure.isHigh());
    t.notOk(isWaiting(), 'and an idle loop stays idle');
  }
  t.end();
});

t.test('when a turn was long, then who is served rests, and is read from in turn', (t) => {
  const { pressure, rest, turn, isWaiting } = openLoop();
  pressure.arrived();
  turn(21);
  t.ok(pressure.isHigh());
  const lines = rest(1000);
  t.equal(readOf(lines), 1000, 'as soon as the turn is over');
  turn(10);
  t.equal(readOf(lines), 320, 'but for as many as there is time for');
  t.ok(
    lines.slice(0, 320).every(({ isRead }) => isRead),
    'those who rested the longest',
  );
  turn(21);
  t.equal(readOf(lines), 480, 'fewer after a turn that was long');
  turn(10);
  turn(10);
  t.equal(readOf(lines), 480 + 200 + 250, 'more after short ones');
  t.ok(pressure.isHigh());
  turn(10);
  t.equal(readOf(lines), 1000);
  t.notOk(pressure.isHigh());
  turn(0);
  t.notOk(isWaiting(), 'it is over');
  t.end();
});

t.test('when a turn gets long, then whoever was served rests at once', (t) => {
  const { pressure, rest, turn, waitFor } = openLoop();
  pressure.arrived();
  waitFor(20);
  t.notOk(pressure.isHigh());
  const early = rest(1);
  t.equal(readOf(early), 1);
  waitFor(1);
  t.ok(pressure.isHigh());
  const late = rest(300);
  t.equal(readOf([...early, ...late]), 0, 'or what they ask meanwhile is read in the same turn');
  t.equal(pressure.resting(), 301);
  turn(0);
  t.equal(pressure.resting(), 301 - 128, 'and it was a long one when it ends');
  t.equal(readOf(early), 1, 'and who was served first is read from first');
  t.end();
});

t.test('when every turn is long, then still nobody is forgotten', (t) => {
  const { pressure, rest, turn } = openLoop();
  pressure.arrived();
  turn(1000);
  const lines = rest(300);
  for (let turns = 0; turns < 10; turns += 1) turn(1000);
  t.equal(readOf(lines), 300);
  t.end();
});

t.test('when a connection ends while it rests, then it is left alone', (t) => {
  const { pressure, rest, turn } = openLoop();
  pressure.arrived();
  turn(21);
  const [gone, other] = [new Line(), new Line()];
  rest(1000);
  for (const line of [gone, other]) pressure.rest(line);
  turn(1);
  t.ok(pressure.isResting(other));
  gone.destroyed = true;
  turn(1);
  turn(1);
  t.notOk(pressure.isResting(other));
  t.same(
    [gone, other].map(({ isRead }) => isRead),
    [false, true],
  );
  pressure.rest(gone);
  turn(1);
  t.notOk(pressure.isHigh());
  t.end();
});

t.test('when enough was read already, then few are read from, and at a leisurely pace', (t) => {
  const { pressure, rest, backed, turn, waitFor, isWaiting } = openLoop();
  backed.up = true;
  pressure.arrived();
  t.ok(pressure.isHigh(), 'nobody need have had a long turn');
  const lines = rest(100);
  turn(1);
  t.equal(readOf(lines), 32);
  turn(0);
  t.notOk(isWaiting(), 'the loop is left to others');
  for (let count = 0; count < 32; count += 1) pressure.arrived();
  turn(1);
  t.equal(readOf(lines), 32, 'whatever comes of them');
  waitFor(18);
  t.notOk(isWaiting());
  waitFor(1);
  turn(1);
  t.equal(readOf(lines), 64);
  backed.up = false;
  waitFor(20);
  turn(1);
  t.equal(readOf(lines), 100);
  const more = rest(600);
  turn(1);
  t.equal(readOf(more), 320, 'such turns do not show that there is time for more');
  t.end();
});

t.test('when few rest, then their turns do not show that there is time for more', (t) => {
  const { pressure, rest, turn } = openLoop();
  pressure.arrived();
  turn(21);
  for (let turns = 0; turns < 10; turns += 1) {
    rest(1);
    turn(1);
  }
  const lines = rest(1000);
  turn(1);
  t.equal(readOf(lines), 320);
  t.end();
});

t.test('when a newcomer comes in a turn that is long, then it counts all the same', (t) => {
  const { pressure, rest, turn } = openLoop();
  pressure.arrived();
  turn(21);
  const lines = rest(1000);
  turn(1);
  t.equal(readOf(lines), 320);
  pressure.accepted();
  turn(21);
  turn(1);
  t.equal(readOf(lines), 320, 'newcomers are taken first');
  turn(1);
  t.equal(readOf(lines), 480);
  t.end();
});

t.test('when somebody else does not want one to be read, then it takes no turn', (t) => {
  const { pressure, rest, turn, waitFor } = openLoop();
  pressure.arrived();
  turn(21);
  const lines = rest(200);
  for (const line of lines.slice(0, 100)) line.isHeld = true;
  turn(0);
  t.equal(readOf(lines), 100);
  t.equal(pressure.resting(), 0);
  const more = rest(1000);
  const [held = new Line()] = more;
  held.isHeld = true;
  turn(1000);
  waitFor(1000);
  turn(0);
  t.notOk(held.isRead);
  t.equal(pressure.restOf(held), undefined, 'nor has it been seen to have rested');
  t.end();
});

t.test('when there is no room, then who waits for longer than clients do can be taken', (t) => {
  const { pressure, rest, turn, waitFor } = openLoop();
  pressure.arrived();
  turn(21);
  const take = () => pressure.takeOverdue(({ destroyed }) => !destroyed);
  t.equal(take(), undefined);
  const lines = rest(600);
  turn(1000);
  const [first, second, third] = lines.filter(({ isRead }) => !isRead);
  waitFor(501);
  t.equal(take(), undefined, 'clients are patient unless they are seen not to be');
  observed(pressure, 100, 650, true);
  if (second !== undefined) second.destroyed = true;
  t.equal(take(), first);
  t.equal(first && pressure.isResting(first), false);
  t.equal(take(), third, 'but not whoever does not fit');
  t.end();
});

/** So many connections that rested for so long, each with a client that is there or not. */
function observed(pressure: Backpressure<Line>, count: number, ms: number, hasLeft: boolean): void {
  for (let one = 0; one < count; one += 1) pressure.observe({ ms, isObserved: false }, hasLeft);
}

/** A loop in a turn in which some have rested for somewhat more than so long, and others just began. */
function restLateAndInTime(ms: number) {
  const loop = openLoop();
  const { pressure, rest, turn, waitFor } = loop;
  pressure.arrived();
  turn(21);
  const late = rest(400);
  turn(21);
  waitFor(ms + 1);
  return { ...loop, late, inTime: rest(300) };
}

t.test('when clients have left after some time, then those go first who are in time', (t) => {
  const { pressure, turn, late, inTime } = restLateAndInTime(1200);
  observed(pressure, 100, 1450, true);
  turn(0);
  const readBefore = readOf(late);
  t.equal(readOf(inTime), 64, 'a quota that has shrunk in two long turns');
  turn(0);
  turn(0);
  turn(0);
  t.equal(readOf(inTime), 300);
  t.ok(readOf(late) > readBefore, 'and the others when there is time left');
  t.end();
});

t.test('when all have stayed, then whoever has waited for the longest goes first', (t) => {
  const { pressure, turn, late, inTime } = restLateAndInTime(2400);
  observed(pressure, 100, 1450, false);
  turn(0);
  t.equal(readOf(inTime), 0);
  t.not(readOf(late), 0);
  t.end();
});

t.test('when a connection has rested, then it is known for how long in the turn after', (t) => {
  const { pressure, rest, turn, waitFor } = openLoop();
  pressure.arrived();
  turn(21);
  const others = rest(1000);
  const line = new Line();
  pressure.rest(line);
  turn(0);
  t.notOk(line.isRead);
  waitFor(250);
  const isResting = others.map(({ isRead }) => !isRead);
  turn(0);
  const readNow = others.find(({ isRead }, place) => isRead && isResting[place]);
  t.equal(pressure.restOf(readNow ?? line), undefined, 'that was a moment');
  waitFor(1);
  for (let turns = 0; !line.isRead && turns < 9; turns += 1) {
    t.equal(pressure.restOf(line), undefined);
    turn(0);
  }
  t.ok(line.isRead);
  t.equal(pressure.restOf(line)?.ms, 251);
  turn(0);
  t.equal(pressure.restOf(line), undefined, 'what it sends later has not waited');
  t.end();
});

t.test('when one that has rested sends many requests, then it counts once', (t) => {
  const { pressure, turn, late, inTime } = restLateAndInTime(1200);
  const one = { ms: 1450, isObserved: false };
  for (let count = 0; count < 100; count += 1) pressure.observe(one, true);
  turn(0);
  t.equal(readOf(inTime), 0, 'nobody is passed over for it');
  t.not(readOf(late), 0);
  t.end();
});

t.test('when newcomers come, then turns are theirs, but not for ever', (t) => {
  const { pressure, rest, turn } = openLoop();
  pressure.arrived();
  turn(21);
  const lines = rest(1000);
  turn(1);
  t.equal(readOf(lines), 320);
  pressure.accepted();
  t.notOk(pressure.isAccepting(), 'this turn is as long as it is');
  turn(25);
  for (let turns = 0; turns < 20; turns += 1) {
    t.ok(pressure.isAccepting(), 'there may be more');
    pressure.accepted();
    turn(1);
  }
  t.notOk(pressure.isAccepting(), 'they had as much time as the others have');
  t.equal(readOf(lines), 320, 'nobody else was served');
  pressure.accepted();
  turn(1);
  t.notOk(pressure.isAccepting(), 'whoever else comes');
  t.not(readOf(lines), 320, 'the others have their turn');
  pressure.accepted();
  turn(1);
  t.ok(pressure.isAccepting());
  turn(0);
  t.notOk(pressure.isAccepting(), 'nobody came any more');
  t.end();
});

t.test('when it ends, then all are read from, and nobody rests any more', (t) => {
  const { pressure, rest, turn, waitFor } = openLoop();
  pressure.arrived();
  turn(21);
  const lines = rest(1000);
  turn(1);
  t.equal(readOf(lines), 320);
  const answered = rest(1);
  let isDone = false;
  pressure.end(() => {
    isDone = true;
  });
  t.equal(readOf(lines), 1000);
  waitFor(21);
  const late = new Line();
  pressure.rest(late);
  t.ok(late.isRead, 'however long the turn is');
  turn(0);
  t.notOk(isDone, 'what was sent is still to be read');
  turn(1);
  t.ok(isDone);
  t.equal(readOf(answered), 1, 'nor who was to rest from now on');
  t.notOk(pressure.isHigh());
  t.end();
});

/** Does nothing else meanwhile, as a process that has too much to do. */
function block(ms: number): void {
  const end = performance.now() + ms;
  while (performance.now() < end);
}

t.test('when a service is busy, then everybody on every connection is answered', async (t) => {
  const app = createService({
    name: 'busy',
    config: { LOG_LEVEL: 'silent' },
  });
  const sockets = new Set<Socket>();
  app.server.on('connection', (socket) => sockets.add(socket));
  let mostResting = 0;
  app.get('/work', () => {
    block(3);
    const resting = [...sockets].filter((socket) => !isReadFrom(socket)).length;
    mostResting = Math.max(mostResting, resting);
    return 'done';
  });
  await app.listen({ host: '127.0.0.1', port: 0 });
  t.teardown(() => app.close());
  const { port } = app.server.address() as AddressInfo;
  const [connections, each] = [40, 10];
  let healthy = 0;
  const seen = await Promise.all(
    Array.from({ length: connections }, async () => {
      const socket = connect(port, '127.0.0.1');
      socket.setEncoding('latin1');
      t.teardown(() => socket.destroy());
      let answers = 0;
      const request = 'GET /work HTTP/1.1\r\nhost: shop\r\n\r\n';
      socket.write(request);
      while (answers < each) {
        const [text] = await once(socket, 'data');
        if (!String(text).includes('HTTP/1.1 200')) continue;
        answers += 1;
        if (answers === each / 2) {
          const health = await fetch(`http://127.0.0.1:${port}/health/live`);
          if (health.status === 200) healthy += 1;
        }
        if (answers < each) socket.write(request);
      }
      return answers;
    }),
  );
  t.same(seen, Array(connections).fill(each));
  t.equal(healthy, connections, 'and so is who asks for the health');
  t.ok(mostResting > 0, 'while others rest');
  t.equal([...sockets].filter((socket) => !isReadFrom(socket)).length, 0, 'and nobody at the end');
});

t.test(
  'when a client hangs up while its connection rests for a while, then nothing is done',
  async (t) => {
    const clock = { ms: 0 };
    const app = createService({
      name: 'busy',
      config: { LOG_LEVEL: 'silent' },
      now: () => clock.ms,
    });
    /** By the client's port: the connection, since when it rests, and how long it did the last time. */
    const lines = new Map<
      number,
      { socket: Socket; since: number | undefined; restedMs: number }
    >();
    app.server.on('connection', (socket) => {
      const line = { socket, since: undefined as number | undefined, restedMs: 0 };
      lines.set(socket.remotePort ?? 0, line);
      const handle: { readStop(): void; readStart(): number } = Reflect.get(socket, '_handle');
      const { readStop, readStart } = handle;
      handle.readStop = () => {
        line.since ??= clock.ms;
        return Reflect.apply(readStop, handle, []);
      };
      handle.readStart = () => {
        if (line.since !== undefined) line.restedMs = clock.ms - line.since;
        line.since = undefined;
        return Reflect.apply(readStart, handle, []);
      };
    });
    app.get('/work', () => {
      clock.ms += 4;
      return 'done';
    });
    /** Whose last request was served, and for how long each had rested before it. */
    const served = new Map<number, number>();
    app.get('/last', ({ socket: { remotePort = 0 } }) => {
      served.set(remotePort, lines.get(remotePort)?.restedMs ?? 0);
      return 'done';
    });
    await app.listen({ host: '127.0.0.1', port: 0 });
    t.teardown(() => app.close());
    const { port } = app.server.address() as AddressInfo;
    const request = 'GET /work HTTP/1.1\r\nhost: shop\r\n\r\n';
    const gone: number[] = [];
    let closed = 0;
    await Promise.all(
      Array.from({ length: 160 }, async (_, index) => {
        const socket = connect(port, '127.0.0.1');
        socket.setEncoding('latin1');
        t.teardown(() => socket.destroy());
        await once(socket, 'connect');
        const { localPort = 0 } = socket;
        for (let answers = 0; closed < 8 && answers < 100; answers += 1) {
          socket.write(request);
          await once(socket, 'data');
          const line = lines.get(localPort);
          if (index % 8 > 0 || answers < 3 || !line || isReadFrom(line.socket)) continue;
          socket.end(request.replace('/work', '/last'));
          gone.push(localPort);
          await once(line.socket, 'close');
          closed += 1;
          return;
        }
      }),
    );
    t.ok(gone.length > served.size, 'some were not served');
    t.same(
      [...served].filter(([, restedMs]) => restedMs > 250),
      [],
      'nobody was who had rested for longer than a moment',
    );
  },
);

/** Clients on a thread of their own, who ask again as soon as they are answered. */
const eagerClients = `
  const { connect } = require('node:net');
  const { workerData: { port, connections, each } } = require('node:worker_threads');
  const request = 'GET /ready HTTP/1.1\\r\\nhost: shop\\r\\n\\r\\n';
  const all = [];
  function open() {
    const socket = connect(port, '127.0.0.1', () => {
      if (all.length < connections) open();
      else for (const one of all) one.write(request);
    });
    all.push(socket);
    let answers = 0;
    socket.on('data', () => {
      answers += 1;
      if (answers === each) socket.destroy();
      else socket.write(request);
    });
  }
  open();
`;

t.test('when many ask again as soon as they are answered, then a turn has an end', async (t) => {
  // libuv goes on reading, up to 48 times, as long as 1,024 connections at once have something to read.
  const [connections, each] = [2000, 20];
  const [longMs, msEach] = [20, 0.05];
  const clock = { ms: 0 };
  let inTurn = 0;
  let mostInTurn = 0;
  let all = 0;
  const answer = readyAnswer('/ready', [], 'ready');
  const app = createService({
    name: 'busy',
    config: { LOG_LEVEL: 'silent' },
    now: () => clock.ms,
    shortcut() {
      all += 1;
      clock.ms += msEach;
      if (inTurn === 0) {
        setImmediate(() => {
          mostInTurn = Math.max(mostInTurn, inTurn);
          inTurn = 0;
        });
      }
      inTurn += 1;
      return answer;
    },
  });
  await app.listen({ host: '127.0.0.1', port: 0 });
  t.teardown(() => app.close());
  const { port } = app.server.address() as AddressInfo;
  const worker = new Worker(eagerClients, { eval: true, workerData: { port, connections, each } });
  t.teardown(() => worker.terminate());
  await once(worker, 'exit');
  t.equal(all, connections * each);
  const most = connections + Math.ceil(longMs / msEach);
  t.ok(mostInTurn <= most, `${mostInTurn} requests were read in one turn`);
});
