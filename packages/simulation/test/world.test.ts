import t from 'tap';
import { createEventQueue } from '../src/event-queue.js';
import {
  type Clock,
  createClock,
  createDisk,
  createNetwork,
  createRandom,
  NetworkError,
  type NetworkOptions,
  type Node,
  readMeasure,
} from '../src/index.js';

const seed = Number(process.env['SEED'] ?? Date.now() % 2 ** 31);
t.comment(`SEED=${seed}`);

const draws = 10_000;

t.test('when a stream is drawn from, then it is even, and its seed repeats it', async (t) => {
  const random = createRandom(seed);
  const counts = new Array<number>(10).fill(0);
  for (let draw = 0; draw < draws; draw += 1) {
    const digit = random.integer(10);
    counts[digit] = (counts[digit] ?? 0) + 1;
  }
  const expected = draws / counts.length;
  // Six standard deviations: one seed in a hundred million would fail.
  const tolerance = 6 * Math.sqrt(expected);
  t.ok(counts.every((count) => Math.abs(count - expected) < tolerance));

  const drawn = (from: number | string) => {
    const { next, uuid, shuffle, pick, chance } = createRandom(from);
    return [next(), uuid(), shuffle([1, 2, 3, 4, 5]), pick(['a', 'b', 'c']), chance(0.5)];
  };
  t.same(drawn(seed), drawn(seed));
  t.not(drawn(seed)[0], drawn(seed + 1)[0]);
  t.equal(createRandom(1).next(), 0.666632373817265, 'on every machine');
});

t.test('when a stream is forked, then neither shifts the other', async (t) => {
  const one = createRandom(seed);
  const before = one.fork('label').next();
  one.next();
  const fork = one.fork('label');
  t.equal(fork.next(), before);
  t.not(one.fork('other').next(), before);
  t.equal(createRandom(fork.seed).next(), before, 'a fork has a seed of its own');
});

t.test('when a draw is asked for the impossible, then it says so', async (t) => {
  const random = createRandom(seed);
  for (const below of [0, -1, 1.5, 2 ** 33, Number.NaN]) {
    t.throws(() => random.integer(below), RangeError);
  }
  t.throws(() => random.pick([]), RangeError);
  t.same(random.shuffle([]), []);
  t.same(random.shuffle([3, 1, 2]).sort(), [1, 2, 3]);
  t.match(random.uuid(), /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
});

t.test('when events are queued, then they come out in order', async (t) => {
  const random = createRandom(seed);
  const queue = createEventQueue<{ due: number; tie: number }>();
  const events = Array.from({ length: 1000 }, () => ({
    due: random.integer(50),
    tie: random.next(),
  }));
  for (const event of events) queue.push(event);
  const sorted = [...events].sort((a, b) => a.due - b.due || a.tie - b.tie);
  const popped = sorted.map(() => queue.pop());
  t.same(popped, sorted);
  t.equal(queue.pop(), undefined);
});

function start(label = '') {
  const random = createRandom(`${seed}/${label}`);
  return { random, clock: createClock({ random }) };
}

t.test('when time passes, then everything happens when it is due', async (t) => {
  const { clock } = start();
  const trace: string[] = [];
  const note = (what: string) => trace.push(`${clock.now()} ${what}`);
  clock.after(20, () => note('late'));
  clock.after(10, () => note('early'));
  const cancel = clock.after(15, () => note('cancelled'));
  clock.defer(() => note('deferred'));
  clock.after(-5, cancel);
  void (async () => {
    await clock.sleep(12);
    note('slept');
    await Promise.resolve();
    await clock.sleep(3600_000);
    note('slept long');
  })();
  t.same(trace, [], 'nothing happens by itself');
  await clock.run();
  const expected = ['0 deferred', '10 early', '12 slept', '20 late', '3600012 slept long'];
  t.same(trace, expected);
  t.equal(await clock.finish(clock.sleep(5).then(() => 'told')), 'told');
  await t.rejects(clock.finish(Promise.reject(new Error('its own'))), { message: 'its own' });
});

t.test('when events are due at once, then the seed decides their order', async (t) => {
  async function order(label: string): Promise<string> {
    const { clock } = start(label);
    const ran: number[] = [];
    for (let event = 0; event < 20; event += 1) clock.after(5, () => ran.push(event));
    await clock.run();
    return ran.join();
  }
  t.equal(await order('one'), await order('one'));
  t.not(await order('one'), await order('other'));
});

t.test('when a story cannot go on, or does not end, then the seed is named', async (t) => {
  const { clock } = start('stuck');
  const never = new Promise(() => undefined);
  const names = { name: 'SimulationError', message: new RegExp(`seed ${seed}/stuck`) };
  await t.rejects(clock.finish(never), { ...names, message: /nothing is due/ });
  await t.rejects(
    clock.run(() => false),
    names,
  );
  const again = () => clock.after(1, again);
  again();
  await t.rejects(clock.run(undefined, { maxEvents: 100 }), { message: /does not end/ });
  const running = clock.run();
  await t.rejects(clock.run(), names, 'one run at a time');
  await running;
  const failing = start('failing').clock;
  failing.after(1, () => {
    throw new Error('what an event throws');
  });
  await t.rejects(failing.run(), { message: 'what an event throws' });
});

t.test('when a clock drifts, then its times are its own', async (t) => {
  const { clock } = start();
  await clock.finish(clock.sleep(1000));
  const fast = clock.node('fast', { drift: 0.25 });
  const slow = clock.node('slow', { drift: -0.5 });
  const rang: string[] = [];
  fast.after(1000, () => rang.push(`fast ${clock.now()} ${fast.now()}`));
  slow.after(1000, () => rang.push(`slow ${clock.now()} ${slow.now()}`));
  await clock.run();
  t.same(rang, ['fast 1800 2000', 'slow 3000 2000']);
  t.throws(() => clock.node('backwards', { drift: -1 }), RangeError);
});

t.test('when a node is paused, then what is due for it waits', async (t) => {
  const { clock } = start();
  const node = clock.node('node');
  const rang: string[] = [];
  node.after(10, () => rang.push(`first ${clock.now()}`));
  node.after(20, () => rang.push(`second ${clock.now()}`));
  node.after(90, () => rang.push(`third ${clock.now()}`));
  node.pause();
  clock.after(50, node.resume);
  await clock.run();
  t.same(rang, ['first 50', 'second 50', 'third 90']);
});

t.test('when a node is killed, then nothing of it runs any more', async (t) => {
  const { clock } = start();
  const first = clock.node('node');
  const rang: string[] = [];
  first.after(10, () => rang.push('before'));
  first.after(30, () => rang.push('of a dead node'));
  void first.sleep(30).then(() => rang.push('of a dead node'));
  clock.after(20, () => {
    first.kill();
    clock.node('node').after(5, () => rang.push('of the next'));
  });
  await clock.run();
  t.same(rang, ['before', 'of the next']);
  t.notOk(first.alive);
});

interface World {
  readonly clock: Clock;
  readonly caller: Node;
  readonly server: Node;
  readonly network: ReturnType<typeof createNetwork<number, number>>;
  /** The requests in the order in which they were handled. */
  readonly handled: number[];
  /** Calls, lets time pass, and tells the answer or why there is none. */
  ask(request: number, timeoutMs?: number): Promise<number | string>;
}

function connect(label: string, options: Partial<NetworkOptions> = {}): World {
  const { random, clock } = start(label);
  const network = createNetwork<number, number>({ random, ...options });
  const caller = clock.node('caller');
  const server = clock.node('server');
  const handled: number[] = [];
  network.listen(server, async (request) => {
    handled.push(request);
    await server.sleep(5);
    if (request < 0) throw new RangeError('less than nothing');
    return request * 2;
  });
  return {
    clock,
    caller,
    server,
    network,
    handled,
    ask: (request, timeoutMs = 100) =>
      clock.finish(network.call(caller, 'server', request, timeoutMs).catch(reasonOf)),
  };
}

function reasonOf(error: unknown): string {
  if (error instanceof NetworkError) return error.reason;
  throw error;
}

t.test('when the network is sound, then each request is handled and answered once', async (t) => {
  const { ask, handled, network, caller, clock, server } = connect('sound');
  t.equal(await ask(21), 42);
  t.equal(await ask(-1), 'failed');
  const failure = clock.finish(network.call(caller, 'server', -1, 100));
  await t.rejects(failure, { message: 'server: less than nothing' });
  t.same(handled, [21, -1, -1]);
  t.throws(() => network.listen(server, async () => 1), /listens already/);
});

t.test('when things travel, then they are copies', async (t) => {
  const { random, clock } = start();
  const network = createNetwork<unknown, unknown>({ random });
  const caller = clock.node('caller');
  const kept: { list: number[] } = { list: [1] };
  network.listen(clock.node('server'), async (request, from) => {
    kept.list.push(2);
    return { request, kept, from, nothing: undefined };
  });
  const answer = clock.finish(network.call(caller, 'server', kept, 100));
  kept.list.push(3);
  t.strictSame(await answer, {
    request: { list: [1] },
    kept: { list: [1, 3, 2] },
    from: 'caller',
  });
});

/** What 300 calls over a bad network came to. */
async function census(label: string, options: Partial<NetworkOptions>) {
  const { ask, handled, clock } = connect(label, options);
  const counts = { answered: 0, lost: 0, handledAndUnknown: 0, twice: 0 };
  const unknown = new Set<number>();
  for (let request = 0; request < 300; request += 1) {
    const answer = await ask(request, 50);
    if (answer === 'timeout' || answer === 'broken') unknown.add(request);
    else if (answer === request * 2) counts.answered += 1;
    else throw new Error(`${request} was answered ${answer}`);
  }
  await clock.run();
  const times = new Map<number, number>();
  for (const request of handled) times.set(request, (times.get(request) ?? 0) + 1);
  for (const request of unknown) {
    if (times.has(request)) counts.handledAndUnknown += 1;
    else counts.lost += 1;
  }
  for (const count of times.values()) if (count === 2) counts.twice += 1;
  return counts;
}

t.test('when the network is bad, then requests and answers are lost, late and twice', async (t) => {
  const lossy = await census('lossy', { loss: 0.2 });
  t.ok(lossy.answered > 0 && lossy.lost > 0 && lossy.handledAndUnknown > 0 && lossy.twice === 0);
  const slow = await census('slow', { delayMs: [0, 60] });
  t.ok(slow.answered > 0 && slow.lost === 0 && slow.handledAndUnknown > 0, 'late is not lost');
  const double = await census('double', { duplication: 0.2 });
  t.ok(double.answered === 300 && double.twice > 0);
  t.same(await census('double', { duplication: 0.2 }), double, 'as the seed will have it');
  const straggling = await census('straggling', { stragglers: 0.2, straggleMs: [100, 200] });
  t.ok(straggling.answered > 0 && straggling.lost === 0 && straggling.handledAndUnknown > 0);
  const breaking = await census('breaking', { breaks: 0.2 });
  t.ok(breaking.answered > 0 && breaking.handledAndUnknown > 0, 'a break says nothing');
  t.same(await census('sound', {}), { answered: 300, lost: 0, handledAndUnknown: 0, twice: 0 });
});

t.test('when nodes are cut off, then nothing is known until the cut is mended', async (t) => {
  const { ask, network, handled, clock } = connect('cut');
  network.partition('server', 'caller');
  t.equal(await ask(1), 'timeout');
  network.heal();
  t.equal(await ask(2), 4);
  t.same(handled, [2]);
  clock.after(4, () => network.partition('caller', 'server'));
  t.equal(await ask(3), 'timeout', 'the answer meets the cut');
  t.same(handled, [2, 3]);
});

t.test('when a node is killed, then it refuses, and never answers what it had', async (t) => {
  const { ask, network, handled, clock, server } = connect('killed');
  clock.after(4, server.kill);
  t.equal(await ask(1), 'timeout');
  t.same(handled, [1]);
  const asked = clock.now();
  t.equal(await ask(2), 'refused');
  t.ok(clock.now() - asked < 10, 'fast');
  const next = clock.node('server');
  const close = network.listen(next, async (request) => {
    next.defer(close);
    await next.sleep(10);
    return request * 3;
  });
  t.equal(await ask(3), 9, 'what came before it closed is answered');
  t.equal(await ask(4), 'refused');
  close();
});

t.test('when the caller is killed or paused, then it learns nothing, or late', async (t) => {
  const { network, caller, clock, handled } = connect('caller');
  const learned: unknown[] = [];
  void network.call(caller, 'server', 1, 100).then((answer) => learned.push(answer));
  caller.pause();
  clock.after(50, caller.resume);
  await clock.run();
  t.same(learned, [2]);
  t.equal(clock.now(), 50);
  void network.call(caller, 'server', 2, 100).finally(() => learned.push('of the dead'));
  clock.after(1, caller.kill);
  await clock.run();
  void network.call(caller, 'server', 3, 100).finally(() => learned.push('of the dead'));
  await clock.run();
  t.same(learned, [2]);
  t.notOk(handled.includes(3));
});

t.test('when a disk has a clock, then a kill finds calls begun and not answered', async (t) => {
  const seen = new Set<string>();
  for (let run = 0; run < 50; run += 1) {
    const { random, clock } = start(`disk ${run}`);
    const disk = createDisk({ random, delayMs: [1, 3] });
    const node = clock.node('node');
    const view = disk.disk(node);
    const file = await clock.finish(view.open('file', 'create'));
    clock.after(0.5, node.kill);
    void file.write(Buffer.alloc(1000, 'x'), 0).finally(() => seen.add('answered'));
    await clock.run();
    const length = disk.files().get('/file')?.length ?? 0;
    seen.add(length === 0 ? 'none' : length === 1000 ? 'all' : 'part');
    disk.powerLoss();
  }
  t.same([...seen].sort(), ['all', 'none', 'part']);
});

t.test('when a whole world is told again, then it goes the same way', async (t) => {
  async function tell(label: string): Promise<string> {
    const { network, caller, clock, handled } = connect(label, {
      loss: 0.1,
      duplication: 0.1,
      delayMs: [0, 40],
    });
    const trace: unknown[] = [];
    for (let request = 0; request < 50; request += 1) {
      caller.after(request, () => {
        network
          .call(caller, 'server', request, 60)
          .catch(reasonOf)
          .then((answer) => trace.push([clock.now(), request, answer]));
      });
    }
    await clock.run();
    return JSON.stringify([trace, handled]);
  }
  t.equal(await tell('one'), await tell('one'));
  t.not(await tell('one'), await tell('other'));
});

t.test('when a test is told how much to do, then never nothing', async (t) => {
  t.equal(readMeasure('RUNS', undefined, 300), 300);
  t.equal(readMeasure('RUNS', '20000', 300), 20_000);
  for (const text of ['', '0', '-1', '1e3', 'many', '1.5']) {
    t.throws(() => readMeasure('RUNS', text, 300), {
      name: 'RangeError',
      message: /RUNS/,
    });
  }
});
