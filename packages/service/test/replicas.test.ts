import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { checkResponses } from '@bazar/client/check';
import { undiciTransport } from '@bazar/client/undici';
import { Failure, type FailureCode, problemMediaType, problemOf } from '@bazar/contracts';
import { orderInternal } from '@bazar/contracts/internal';
import t, { type Test } from 'tap';
import {
  type Addresses,
  connectReplicas,
  createReplicas,
  type Found,
  watchAddresses,
} from '../src/replicas.js';

const key = '0190a6f0-0000-7abc-8def-0123456789ab';
const purchases = [{ order_id: key, item_id: 2, request_id: 'r' }];
const answer = JSON.stringify({
  outcomes: [{ order_id: key, result: 'sold_out', replayed: false }],
});
const options = {
  connections: 64,
  maxPending: 1000,
  keepAliveTimeoutMs: 30_000,
  maxResponseBytes: 100_000,
};
const check = checkResponses(orderInternal);
/** Long enough to be never reached, so that a call which waits for it fails the test by hanging. */
const patient = { timeoutMs: 600_000, attemptTimeoutMs: 500_000 };

type Behaviour = (response: ServerResponse, request: IncomingMessage) => void;

const answers: Behaviour = (response) => {
  response.setHeader('content-type', 'application/json').end(answer);
};
const hangs: Behaviour = () => {};
const breaks: Behaviour = (response) => response.destroy();
const babbles: Behaviour = (response) => response.end('<html>hm</html>');
const redirects: Behaviour = (response) => {
  response.writeHead(302, { location: 'http://127.0.0.1:1/' }).end();
};
const says =
  (code: FailureCode): Behaviour =>
  (response) => {
    const problem = problemOf(new Failure(code, 'it says so'), 'r');
    response.writeHead(problem.status, { 'content-type': problemMediaType });
    response.end(JSON.stringify(problem));
  };

/** A real HTTP server, which counts what it is asked and answers as it is told. */
async function openReplica(t: Test, behaviour: Behaviour = answers) {
  const replica = { behaviour, asked: 0, patience: [] as number[], held: [] as (() => void)[] };
  const server = createServer((request, response) => {
    replica.asked += 1;
    replica.patience.push(Number(request.headers['x-timeout-ms']));
    request.resume();
    request.on('end', () => replica.behaviour(response, request));
  });
  // Idle connections are the other side's to close, or a test could not tell who closed them.
  server.keepAliveTimeout = 0;
  async function listen(port = 0): Promise<number> {
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
    return (server.address() as AddressInfo).port;
  }
  const port = await listen();
  async function die(): Promise<void> {
    if (!server.listening) return;
    const closed = once(server, 'close');
    server.close();
    server.closeAllConnections();
    await closed;
  }
  t.teardown(die);
  return Object.assign(replica, {
    url: `http://127.0.0.1:${port}`,
    server,
    die,
    revive: () => listen(port),
    /** From now on it answers only when it is told to. */
    hold() {
      replica.behaviour = (...call) => replica.held.push(() => answers(...call));
    },
    release(count: number) {
      for (const run of replica.held.splice(0, count)) run();
    },
  });
}

type TestReplica = Awaited<ReturnType<typeof openReplica>>;

/** Real connections to the replicas; only the clock is the test's. */
function openAll(t: Test, replicas: readonly TestReplica[], addresses?: Addresses) {
  const clock = { now: 0 };
  const lines: string[] = [];
  const log = (_level: string, sentence: string) => lines.push(sentence);
  const byAddress = new Map(replicas.map(({ url }, index) => [`10.0.0.${index + 1}`, url]));
  const all = createReplicas(orderInternal, {
    addresses:
      addresses ??
      watchAddresses(
        replicas.map(({ url }) => url),
        { log },
      ),
    connect: ({ url, address }) =>
      undiciTransport(byAddress.get(address ?? '') ?? url, {
        ...options,
        connectTimeoutMs: 10_000,
      }),
    check,
    log,
    now: () => clock.now,
  });
  t.teardown(async () => {
    for (const { server } of replicas) server.closeAllConnections();
    await all.close();
  });
  const buy = (limits = patient) =>
    all.ask(
      async (replica, { timeoutMs }) =>
        (await replica.purchases({ body: { purchases } }, { timeoutMs })).body.outcomes,
      limits,
    );
  return { ...all, clock, lines, buy };
}

const countsOf = (replicas: readonly TestReplica[]) => replicas.map(({ asked }) => asked);
const sum = (numbers: readonly number[]) => numbers.reduce((total, one) => total + one, 0);

/** Waits for a state that is bound to come; a test that waits in vain hangs, and fails. */
async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await new Promise((resolve) => setImmediate(resolve));
}

/** The failure with which a call rejects; fails the test when it does anything else. */
async function failureOf(call: Promise<unknown>): Promise<Failure> {
  const outcome = await call.then(
    () => 'it resolved',
    (error: unknown) => error,
  );
  if (outcome instanceof Failure) return outcome;
  throw new Error(`No failure: ${outcome}`);
}

/** Kills a replica for all who call it: it is found out by one call. */
async function openWithDead(t: Test) {
  const replicas = [await openReplica(t), await openReplica(t)] as const;
  const [dead] = replicas;
  await dead.die();
  const shop = openAll(t, replicas);
  while (shop.live() === 2) await shop.buy();
  return { ...shop, replicas, dead, other: replicas[1] };
}

t.test('when some replicas are slower, then the least busy one is asked', async (t) => {
  const replicas = await Promise.all([openReplica(t), openReplica(t), openReplica(t)]);
  const { buy } = openAll(t, replicas);
  for (const replica of replicas) replica.hold();
  const calls: Promise<unknown>[] = [];
  const askAll = async (count: number) => {
    const before = sum(countsOf(replicas));
    for (let call = 0; call < count; call += 1) calls.push(buy());
    await until(() => sum(countsOf(replicas)) === before + count);
  };
  await askAll(6);
  t.same(countsOf(replicas), [2, 2, 2], 'of equally busy ones each in its turn');
  const [, second] = replicas;
  second?.release(2);
  await Promise.all([1, 4].map((index) => calls[index]));
  await askAll(2);
  t.same(countsOf(replicas), [2, 4, 2], 'those that answer get more');
  await askAll(3);
  t.same(countsOf(replicas), [3, 5, 3]);
  for (const replica of replicas) replica.release(9);
  await Promise.all(calls);
});

t.test(
  'when a replica is dead, then it is left out, and asked again when it is back',
  async (t) => {
    const { buy, live, clock, lines, dead, other } = await openWithDead(t);
    t.same(lines, [`the replica ${dead.url} is left out until it answers`]);
    const before = other.asked;
    for (let call = 0; call < 10; call += 1) await buy();
    t.equal(other.asked, before + 10, 'nobody is kept waiting by it');
    await dead.revive();
    dead.behaviour = breaks;
    // The trial fails, and each pause is twice as long as the last one.
    for (const pauseMs of [250, 500, 1000, 2000, 4000, 8000, 10_000, 10_000]) {
      const asked = dead.asked;
      clock.now += pauseMs - 1;
      await buy();
      t.equal(dead.asked, asked, `it is left alone for ${pauseMs} ms`);
      clock.now += 1;
      await Promise.all([buy(), buy(), buy()]);
      t.equal(dead.asked, asked + 1, 'one call tries it');
    }
    dead.behaviour = answers;
    clock.now += 10_000;
    await buy();
    t.equal(live(), 2);
    t.equal(lines.at(-1), `the replica ${dead.url} answers again`);
    const [mine, others] = [dead.asked, other.asked];
    for (let call = 0; call < 10; call += 1) await buy();
    t.same([dead.asked - mine, other.asked - others], [5, 5]);
  },
);

t.test('when nobody takes part, then their pauses are for better times', async (t) => {
  const replicas = [await openReplica(t), await openReplica(t)] as const;
  const { buy, live, clock } = openAll(t, replicas);
  for (const replica of replicas) replica.behaviour = breaks;
  for (let call = 0; call < 50; call += 1) {
    await t.rejects(buy());
    clock.now += 10;
  }
  t.equal(live(), 1, 'one is named whatever happens');
  for (const replica of replicas) replica.behaviour = answers;
  // Half a second of nobody is a trial or two of each, and not fifty.
  for (let call = 0; call < 100 && live() < 2; call += 1) {
    await buy();
    clock.now += 10;
  }
  t.equal(live(), 2);
});

t.test('when many calls break at one moment, then that is one failure', async (t) => {
  const replicas = [await openReplica(t), await openReplica(t)] as const;
  const [broken] = replicas;
  const { buy, live, clock } = openAll(t, replicas);
  for (const replica of replicas) replica.hold();
  const calls = Array.from({ length: 12 }, () => buy());
  await until(() => sum(countsOf(replicas)) === 12);
  broken.behaviour = answers;
  replicas[1].behaviour = answers;
  broken.server.closeAllConnections();
  replicas[1].release(6);
  await Promise.all(calls);
  t.same([...countsOf(replicas), live()], [6, 12, 1]);
  clock.now += 250;
  await buy();
  t.same([...countsOf(replicas), live()], [7, 12, 2], 'it is tried after the first pause');
});

t.test('when a replica does not answer as it should, then another one is asked', async (t) => {
  const cases: Readonly<Record<string, Behaviour>> = {
    'it breaks the connection': breaks,
    'it says nothing': hangs,
    'it answers something else': babbles,
    'it sends us elsewhere': redirects,
    'it is overloaded': says('overloaded'),
    'it is stopping': says('unavailable'),
    'it has not its own time': says('deadline_exceeded'),
    'it has no such route': says('route_not_found'),
  };
  for (const [what, behaviour] of Object.entries(cases)) {
    const bad = await openReplica(t, behaviour);
    const replicas = [bad, await openReplica(t)];
    const { buy } = openAll(t, replicas);
    const limits = behaviour === hangs ? { ...patient, attemptTimeoutMs: 300 } : patient;
    for (let call = 0; call < 2; call += 1) {
      t.same(await buy(limits), JSON.parse(answer).outcomes, what);
    }
    t.same(countsOf(replicas), [1, 2], 'and each was asked once a call');
  }
});

t.test('when an answer stands, then nobody else is asked', async (t) => {
  const codes = ['internal', 'storage_full', 'unauthorized', 'too_many_requests'] as const;
  for (const code of codes) {
    const replicas = [await openReplica(t, says(code)), await openReplica(t, says(code))];
    const { buy, live } = openAll(t, replicas);
    for (let call = 0; call < 8; call += 1) t.match(await failureOf(buy()), { code });
    t.same(countsOf(replicas), [4, 4], code);
    t.equal(live(), 2, 'it is there, and says so');
  }
});

t.test('when there is a single replica, then nothing is ever sent twice', async (t) => {
  for (const behaviour of [breaks, hangs, babbles, redirects, says('overloaded')]) {
    const replica = await openReplica(t, behaviour);
    const { buy, lines } = openAll(t, [replica]);
    const timeoutMs = behaviour === hangs ? 200 : 600_000;
    for (let call = 1; call <= 5; call += 1) {
      t.match(await failureOf(buy({ timeoutMs, attemptTimeoutMs: 5 })), { nothingDone: false });
      t.equal(replica.asked, call, 'and it is asked whatever it did before');
    }
    t.same(replica.patience, Array(5).fill(timeoutMs), 'it gets all the time that there is');
    t.same(lines, []);
  }
});

t.test('when one failed after it may have sold, then the outcome is unknown', async (t) => {
  const rows = [
    ['nobody was reached', 'dead', true],
    ['the first may have sold', breaks, false],
  ] as const;
  for (const [what, first, nothingDone] of rows) {
    const replicas = [await openReplica(t), await openReplica(t)] as const;
    const { buy } = openAll(t, replicas);
    if (first === 'dead') await replicas[0].die();
    else replicas[0].behaviour = first;
    await replicas[1].die();
    t.match(await failureOf(buy()), { code: 'unavailable', nothingDone }, what);
  }
  const replicas = [await openReplica(t, breaks), await openReplica(t)];
  const { ask } = openAll(t, replicas);
  const told: boolean[] = [];
  const note = ask(async (replica, { mayBeDone, timeoutMs }) => {
    told.push(mayBeDone);
    await replica.purchases({ body: { purchases } }, { timeoutMs });
  }, patient);
  await note;
  t.same(told, [false, true], 'who asks again is told that something may have been done');
});

t.test('when nobody answers, then all are asked once, and the deadline is kept', async (t) => {
  const replicas = await Promise.all([1, 2, 3, 4].map(() => openReplica(t, hangs)));
  const urls = replicas.map(({ url }) => url);
  const log = () => {};
  const all = connectReplicas(orderInternal, {
    addresses: watchAddresses(urls, { log }),
    log,
    ...options,
  });
  const buy = (limits: typeof patient) =>
    all.ask(
      (replica, { timeoutMs }) => replica.purchases({ body: { purchases } }, { timeoutMs }),
      limits,
    );
  const late = await failureOf(buy({ timeoutMs: 1000, attemptTimeoutMs: 300 }));
  t.match(late, { code: 'deadline_exceeded', nothingDone: false });
  t.same(countsOf(replicas).sort(), [0, 1, 1, 1], 'three are asked at most');
  const patience = replicas.flatMap((replica) => replica.patience);
  t.ok(patience.filter((timeoutMs) => timeoutMs === 300).length >= 2, 'a silent one is given up');
  t.ok(sum(patience) <= 1000, 'the last one gets what is left, and no more');
  for (const { server } of replicas) server.closeAllConnections();
  await all.close();
});

t.test('when callers have little patience, then no replica suffers for it', async (t) => {
  const replicas = [await openReplica(t, hangs), await openReplica(t, hangs)];
  const { buy, live } = openAll(t, replicas);
  for (let call = 0; call < 10; call += 1) {
    t.match(await failureOf(buy({ timeoutMs: 5, attemptTimeoutMs: 1000 })), {
      code: 'deadline_exceeded',
    });
  }
  t.equal(live(), 2);
  t.ok(sum(countsOf(replicas)) <= 10, 'and nothing is sent twice');
});

t.test('when all replicas are dead, then the one out for longest is tried', async (t) => {
  const { buy, dead, other, live, clock } = await openWithDead(t);
  await other.die();
  clock.now += 1;
  t.match(await failureOf(buy()), { code: 'unavailable' });
  t.equal(live(), 1, 'one is counted on, whatever happens');
  await dead.revive();
  const asked = dead.asked;
  t.same(await buy(), JSON.parse(answer).outcomes);
  t.equal(dead.asked, asked + 1, 'there is no pause to be waited for');
});

t.test('when everybody fails, then repeats are few', async (t) => {
  const replicas = await Promise.all([1, 2, 3].map(() => openReplica(t, breaks)));
  const { buy } = openAll(t, replicas);
  const calls = 300;
  for (let call = 0; call < calls; call += 1) await failureOf(buy());
  const sent = sum(countsOf(replicas));
  t.ok(sent <= 1.2 * calls + 20, `${sent} requests for ${calls} calls`);
  t.ok(sent >= 1.2 * calls, 'the budget is used');
});

t.test('when somebody waits in a long poll, then its replica is no busier', async (t) => {
  const replicas = [await openReplica(t), await openReplica(t)];
  const { ask, buy, live } = openAll(t, replicas);
  for (const replica of replicas) replica.hold();
  const poll = { ...patient, isLongPoll: true };
  const gone = new AbortController();
  const startPoll = () =>
    ask(
      (replica, { timeoutMs }) =>
        replica.purchases({ body: { purchases } }, { timeoutMs, signal: gone.signal }),
      poll,
    );
  const polls = [startPoll()];
  await until(() => sum(countsOf(replicas)) === 1);
  const calls = [buy()];
  await until(() => sum(countsOf(replicas)) === 2);
  polls.push(startPoll(), startPoll(), startPoll());
  await until(() => sum(countsOf(replicas)) === 5);
  t.same(countsOf(replicas), [4, 1], 'whoever only waits is idle');
  calls.push(buy(), buy());
  await until(() => sum(countsOf(replicas)) === 7);
  t.same(countsOf(replicas), [5, 2], 'and is asked first');
  gone.abort();
  for (const given of polls) await t.rejects(given, { name: 'AbortError' });
  t.same([...countsOf(replicas), live()], [5, 2, 2], 'what is given up is not repeated');
  for (const replica of replicas) replica.release(9);
  await Promise.all(calls);
});

/** A name server whose answers the test gives, and a clock that goes on when it says so. */
function openNames() {
  const names = { found: [] as Found[], isDown: false, asked: 0, lines: [] as string[] };
  let next = () => {};
  const lookup = async () => {
    names.asked += 1;
    if (names.isDown) throw new Error('EAI_AGAIN');
    return names.found;
  };
  const open = (urls: readonly string[]) =>
    watchAddresses(urls, {
      lookup,
      after: (_ms, run) => {
        next = run;
        return () => {
          next = () => {};
        };
      },
      log: (_level, sentence) => names.lines.push(sentence),
    });
  async function pass(): Promise<void> {
    next();
    await new Promise((resolve) => setImmediate(resolve));
  }
  return { names, open, pass };
}

const ip = (...hosts: number[]): Found[] =>
  hosts.map((host) => ({ address: `10.0.0.${host}`, family: 4 }));

t.test('when the addresses of a name change, then so do the replicas', async (t) => {
  const replicas = await Promise.all([openReplica(t), openReplica(t), openReplica(t)]);
  const [first, second, third] = replicas;
  const { names, open, pass } = openNames();
  names.found = ip(2, 1);
  const addresses = open(['http://order.test:5002']);
  const { buy, each } = openAll(t, replicas, addresses);
  await pass();
  t.equal(each().length, 2);
  for (let call = 0; call < 4; call += 1) await buy();
  t.same(countsOf(replicas), [2, 2, 0]);
  let opened = 0;
  first?.server.on('connection', () => {
    opened += 1;
  });
  first?.hold();
  const held = [buy(), buy()];
  await until(() => first?.held.length === 1);
  const connections = () =>
    new Promise<number>((resolve) => {
      first?.server.getConnections((_error, count) => resolve(count));
    });
  t.ok((await connections()) > 0);
  names.found = ip(2, 3);
  await pass();
  for (let call = 0; call < 4; call += 1) await buy();
  t.equal(first?.asked, 3, 'nothing new goes to an address that is gone');
  t.equal(third?.asked, 2);
  first?.release(1);
  t.equal((await Promise.all(held)).length, 2, 'what is under way there is answered');
  while ((await connections()) > 0) await new Promise((resolve) => setImmediate(resolve));
  t.equal(opened, 0, 'its connections are closed, and none is opened');
  t.equal(second?.asked, 2 + 1 + 2);
  addresses.close();
});

t.test('when a name cannot be looked up, then what is known of it stays', async (t) => {
  const { names, open, pass } = openNames();
  names.isDown = true;
  const addresses = open(['http://order.test:5002']);
  let changes = 0;
  addresses.onChange(() => {
    changes += 1;
  });
  await pass();
  t.same(addresses.current(), [{ url: 'http://order.test:5002' }], 'connecting may find it');
  names.isDown = false;
  names.found = ip(1, 2);
  await pass();
  const both = ip(1, 2).map(({ address }) => ({ url: 'http://order.test:5002', address }));
  t.same(addresses.current(), both);
  names.isDown = true;
  for (let time = 0; time < 3; time += 1) await pass();
  names.isDown = false;
  names.found = [];
  await pass();
  t.same(addresses.current(), both);
  t.equal(changes, 1);
  t.match(names.lines, [
    /^the name order\.test cannot be looked up/,
    /^the name order\.test can be looked up again/,
    /^the name order\.test cannot be looked up/,
  ]);
  t.equal(names.lines.length, 3, 'one line, however long it lasts');
  addresses.close();
  const asked = names.asked;
  await pass();
  t.equal(names.asked, asked, 'a closed one asks no more');
});

t.test('when a name has addresses of both kinds, then machines are counted, not ways', (t) => {
  const six = (...hosts: number[]): Found[] =>
    hosts.map((host) => ({ address: `fd00::${host}`, family: 6 }));
  const cases: readonly (readonly [Found[], (string | undefined)[]])[] = [
    [ip(1), ['10.0.0.1']],
    [six(1), ['fd00::1']],
    [[...six(1), ...ip(1)], [undefined]],
    [
      [...six(1, 2), ...ip(2, 1)],
      ['10.0.0.1', '10.0.0.2'],
    ],
    [
      [...six(1, 2), ...ip(1)],
      ['fd00::1', 'fd00::2'],
    ],
    [ip(1, 1), ['10.0.0.1']],
  ];
  return Promise.all(
    cases.map(async ([found, expected]) => {
      const { names, open, pass } = openNames();
      names.found = found;
      const addresses = open(['http://order.test:5002']);
      await pass();
      t.same(
        addresses.current().map(({ address }) => address),
        expected,
      );
      addresses.close();
    }),
  );
});

t.test('when the URLs hold addresses, then no name is looked up', async (t) => {
  const { names, open, pass } = openNames();
  const urls = ['http://127.0.0.1:5001', 'http://[::1]:5001'];
  const addresses = open(urls);
  await pass();
  t.equal(names.asked, 0);
  t.same(
    addresses.current(),
    urls.map((url) => ({ url })),
  );
});

const seed = Number(process.env['SEED'] ?? Date.now() % 2 ** 31);
t.comment(`SEED=${seed}`);

/** Mulberry32: numbers from 0 to 1 that a seed tells again. */
function createNumbers(start: number): () => number {
  let state = start | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const moods = ['answers', 'is dead', 'breaks', 'is overloaded', 'babbles', 'refuses'] as const;
type Mood = (typeof moods)[number];

/** What became of one call: whom it was sent to, what they did, and what its caller was told. */
interface Told {
  readonly sent: { readonly replica: number; readonly mood: Mood }[];
  end: 'answered' | 'refused' | 'nothing done' | 'unknown';
}

/** The laws that hold of any calls to so many replicas; those that are broken, by name. */
function brokenLaws(calls: readonly Told[], replicas: number): string[] {
  const broken = new Set<string>();
  const law = (name: string, holds: boolean) => holds || broken.add(name);
  let budget = 20;
  for (const { sent, end } of calls) {
    const last = sent.at(-1)?.mood;
    law('somebody is asked', sent.length > 0);
    law('three at most', sent.length <= Math.min(3, replicas));
    law('nobody twice', new Set(sent.map(({ replica }) => replica)).size === sent.length);
    law(
      'an answer ends it',
      sent.slice(0, -1).every(({ mood }) => !/answers|refuses/.test(mood)),
    );
    law('the answer is told', (last === 'answers') === (end === 'answered'));
    law('the refusal is told', (last === 'refuses') === (end === 'refused'));
    const isUndone = sent.every(({ mood }) => mood === 'is dead');
    law('unknown stays unknown', (end === 'nothing done') === isUndone);
    budget += 0.2 - (sent.length - 1);
  }
  law('repeats are few', budget >= 0);
  return [...broken];
}

const oneSent = (mood: Mood) => [{ replica: 0, mood }];

/** Replicas in changing moods, on a clock that is set by hand, asked a few calls at a time. */
async function tell(
  number: () => number,
  replicas: number,
): Promise<{ calls: Told[]; live: number }> {
  const states = Array.from({ length: replicas }, (): Mood => 'answers');
  const clock = { now: 0 };
  const calls: Told[] = [];
  let current: Told | undefined;
  const all = createReplicas(orderInternal, {
    addresses: watchAddresses(
      states.map((_, index) => `http://127.0.0.1:${index + 1}`),
      { log: () => {} },
    ),
    connect({ url }) {
      const replica = Number(new URL(url).port) - 1;
      const transport = async () => {
        const mood = states[replica] ?? 'answers';
        current?.sent.push({ replica, mood });
        if (mood === 'is dead') throw new Failure('unavailable', 'unsent', { nothingDone: true });
        if (mood === 'breaks') throw new Error('read ECONNRESET');
        const headers = { 'content-type': 'application/json' };
        if (mood === 'answers') return { status: 200, headers, body: answer };
        if (mood === 'babbles') return { status: 200, headers, body: '{' };
        const problem = problemOf(
          new Failure(mood === 'refuses' ? 'storage_full' : 'overloaded', 'so'),
          'r',
        );
        const body = JSON.stringify(problem);
        return { status: problem.status, headers: { 'content-type': problemMediaType }, body };
      };
      return Object.assign(transport, { close: async () => undefined });
    },
    check,
    log: () => {},
    now: () => clock.now,
  });
  async function call(): Promise<void> {
    const told: Told = { sent: [], end: 'answered' };
    calls.push(told);
    try {
      await all.ask((replica, { timeoutMs }) => {
        current = told;
        return replica.purchases({ body: { purchases } }, { timeoutMs });
      }, patient);
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      const unknown = error.nothingDone ? 'nothing done' : 'unknown';
      told.end = error.code === 'storage_full' ? 'refused' : unknown;
    }
  }
  const steps = 20 + number() * 200;
  for (let step = 0; step < steps; step += 1) {
    if (number() < 0.2) {
      const mood = moods[Math.floor(number() * moods.length)] ?? 'answers';
      states[Math.floor(number() * replicas)] = number() < 0.3 ? 'answers' : mood;
    }
    clock.now += number() * 500;
    await Promise.all(Array.from({ length: 1 + number() * 4 }, call));
  }
  states.fill('answers');
  // Each of them is tried when its pause is over, and the budget for that is earned again.
  for (let step = 0; step < 40; step += 1) {
    clock.now += 10_000;
    await call();
  }
  return { calls, live: all.live() };
}

t.test('when replicas fail at random moments, then every law holds', async (t) => {
  const number = createNumbers(seed);
  let sent = 0;
  for (let story = 0; story < 200; story += 1) {
    const replicas = 1 + Math.floor(number() * 5);
    const { calls, live } = await tell(number, replicas);
    const broken = brokenLaws(calls, replicas);
    if (broken.length > 0) t.fail(`SEED=${seed}: story ${story} breaks ${broken}`);
    if (live !== replicas) t.fail(`SEED=${seed}: story ${story} leaves somebody out`);
    if (calls.slice(-10).some(({ end }) => end !== 'answered')) {
      t.fail(`SEED=${seed}: story ${story} ends badly`);
    }
    sent += sum(calls.map((call) => call.sent.length - 1));
  }
  t.ok(sent > 100, 'much was repeated');
});

t.test('when calls break a law, then the checker names it', (t) => {
  const twice: Told['sent'] = [...oneSent('breaks'), ...oneSent('answers')];
  const other = { replica: 1, mood: 'answers' } as const;
  const cases: Readonly<Record<string, Told[]>> = {
    'somebody is asked': [{ sent: [], end: 'answered' }],
    'three at most': [{ sent: [...oneSent('breaks'), other], end: 'answered' }],
    'nobody twice': [{ sent: twice, end: 'answered' }],
    'an answer ends it': [{ sent: [...oneSent('refuses'), other], end: 'answered' }],
    'the answer is told': [{ sent: oneSent('answers'), end: 'unknown' }],
    'the refusal is told': [{ sent: oneSent('refuses'), end: 'unknown' }],
    'unknown stays unknown': [{ sent: oneSent('breaks'), end: 'nothing done' }],
    'repeats are few': Array(100).fill({ sent: [...oneSent('breaks'), other], end: 'answered' }),
  };
  for (const [law, calls] of Object.entries(cases)) {
    const replicas = law === 'three at most' ? 1 : 4;
    t.ok(brokenLaws(calls, replicas).includes(law), law);
  }
  t.same(brokenLaws([{ sent: [...oneSent('breaks'), other], end: 'answered' }], 2), []);
  t.end();
});
