import fc from 'fast-check';
import t from 'tap';
import { BatcherClosed, createBatcher, QueueFull } from '../src/index.js';

const seed = Number(process.env['SEED'] ?? Date.now() % 2 ** 31);
t.comment(`SEED=${seed}`);

type Create = typeof createBatcher<number, string>;
type Ending = 'answer' | 'some errors' | 'reject' | 'throw' | 'too few' | 'too many';
interface Script {
  readonly maxBatch: number;
  readonly maxQueue: number;
  readonly maxInFlight: number;
  /** How the flushes end, in turn. */
  readonly endings: readonly Ending[];
  /** A number adds so many items. */
  readonly steps: readonly (number | 'defer' | 'finish' | 'finish the last' | 'close')[];
}

const scripts: fc.Arbitrary<Script> = fc.record({
  maxBatch: fc.integer({ min: 1, max: 5 }),
  maxQueue: fc.integer({ min: 1, max: 12 }),
  maxInFlight: fc.integer({ min: 1, max: 3 }),
  endings: fc.array(
    fc.constantFrom<Ending>('answer', 'some errors', 'reject', 'throw', 'too few', 'too many'),
    { minLength: 1, maxLength: 6 },
  ),
  steps: fc.array(
    fc.oneof(
      { weight: 4, arbitrary: fc.integer({ min: 1, max: 6 }) },
      { weight: 2, arbitrary: fc.constant<'defer'>('defer') },
      { weight: 3, arbitrary: fc.constant<'finish'>('finish') },
      { weight: 2, arbitrary: fc.constant<'finish the last'>('finish the last') },
      { weight: 1, arbitrary: fc.constant<'close'>('close') },
    ),
    { maxLength: 30 },
  ),
});

const turn = () => new Promise((resolve) => setImmediate(resolve));
const messageOf = (error: unknown) => (error instanceof Error ? error.message : String(error));

/** What the caller of one item must hear, given how the flush of its batch ended. */
function expected(ending: Ending, item: number, flush: number, size: number): string {
  if (ending === 'reject' || ending === 'throw') return `error: flush ${flush}`;
  if (ending === 'too few' || ending === 'too many') {
    const results = ending === 'too few' ? size - 1 : size + 1;
    return `error: A flush of ${size} items answered ${results} results`;
  }
  return ending === 'some errors' && item % 2 === 0 ? `error: item ${item}` : `item ${item} done`;
}

/** What a script's run has seen so far. */
function emptyLedger() {
  return {
    broken: new Set<string>(),
    /** Items accepted but not flushed yet, in order. */
    waiting: [] as number[],
    /** What each caller must hear, and what it heard. */
    due: new Map<number, string>(),
    heard: new Map<number, string>(),
    /** Ends the flushes in flight. */
    finish: [] as (() => void)[],
    /** Items that came when the queue was full. */
    refused: new Set<number>(),
    flushes: 0,
  };
}
type Ledger = ReturnType<typeof emptyLedger>;

function law(ledger: Ledger, name: string, kept: boolean): void {
  if (!kept) ledger.broken.add(name);
}

/** A flush that checks what it is given and ends when the ledger's `finish` is called. */
function checkedFlush(ledger: Ledger, { endings, maxBatch, maxInFlight }: Script) {
  return (batch: readonly number[]): Promise<(string | Error)[]> => {
    const { waiting, due, finish, refused } = ledger;
    const flush = ledger.flushes++;
    const ending = endings[flush % endings.length] ?? 'answer';
    law(ledger, 'few flushes in flight', finish.length < maxInFlight);
    law(ledger, 'the queue is bounded', !batch.some((item) => refused.has(item)));
    law(ledger, 'no batch above maxBatch', batch.length <= maxBatch);
    law(ledger, 'a batch takes all', batch.length >= Math.min(maxBatch, waiting.length));
    const turns = waiting.splice(0, batch.length);
    law(ledger, 'in order, each item once', String(batch) === String(turns));
    for (const item of batch) due.set(item, expected(ending, item, flush, batch.length));
    if (ending === 'throw') throw new Error(`flush ${flush}`);
    return new Promise((resolve, reject) => {
      finish.push(() => {
        if (ending === 'reject') reject(new Error(`flush ${flush}`));
        const results = batch.map((item) =>
          ending === 'some errors' && item % 2 === 0
            ? new Error(`item ${item}`)
            : `item ${item} done`,
        );
        if (ending === 'too few') results.pop();
        if (ending === 'too many') results.push('one more');
        resolve(results);
      });
    });
  };
}

/** Plays a script against a batcher and names every law that it breaks. */
async function brokenLaws(create: Create, script: Script): Promise<Set<string>> {
  const { maxBatch, maxQueue, maxInFlight, steps } = script;
  const ledger = emptyLedger();
  const { broken, waiting, due, heard } = ledger;
  const deferred: (() => void)[] = [];
  const batcher = create(checkedFlush(ledger, script), {
    maxBatch,
    maxQueue,
    maxInFlight,
    defer: (run) => deferred.push(run),
  });
  let items = 0;
  const endings: Promise<void>[] = [];

  const add = () => {
    const item = items++;
    if (endings.length > 0) due.set(item, 'error: The batcher is closed');
    else if (waiting.length < maxQueue) waiting.push(item);
    else {
      ledger.refused.add(item);
      due.set(item, `error: The queue is full: ${maxQueue} items are waiting`);
    }
    batcher.add(item).then(
      (result) => heard.set(item, result),
      (error) => heard.set(item, `error: ${messageOf(error)}`),
    );
  };
  const close = async () => {
    const earlier = items;
    await batcher.close();
    const answered = [...heard.keys()].filter((item) => item < earlier).length;
    law(ledger, 'close answers all earlier items', answered === earlier);
  };
  const moveOn = (pending: (() => void)[]) => {
    for (const run of pending.splice(0)) run();
  };

  for (const step of steps) {
    if (step === 'defer') moveOn(deferred);
    else if (step === 'finish') moveOn(ledger.finish);
    else if (step === 'finish the last') ledger.finish.pop()?.();
    else if (step === 'close') endings.push(close());
    else for (let count = 0; count < step; count++) add();
    await turn();
    const told = [batcher.waiting(), batcher.oldest()];
    law(ledger, 'it says what waits', String(told) === String([waiting.length, waiting[0]]));
  }
  // From here on nothing hinders it, and each turn ends a batch: there are no more than items.
  for (let rest = items; rest >= 0; rest--) {
    moveOn(deferred);
    moveOn(ledger.finish);
    await turn();
  }
  let ended = false;
  Promise.all([...endings, close(), batcher.idle()]).then(() => {
    ended = true;
  });
  await turn();
  law(ledger, 'close and idle end', ended);
  for (let item = 0; item < items; item++) {
    const answer = heard.get(item);
    law(ledger, 'every caller is answered', answer !== undefined);
    law(ledger, 'each hears its own answer', answer === undefined || answer === due.get(item));
  }
  return broken;
}

type Flaw =
  | 'none'
  | 'last in, first out'
  | 'flushes twice'
  | 'two in flight'
  | 'no maxBatch'
  | 'one by one'
  | 'no maxQueue'
  | 'an error fails the batch'
  | 'errors are results'
  | 'believes any number of results'
  | 'forgets a failed batch'
  | 'a failed flush fails the queue'
  | 'close does not wait'
  | 'close drops the queue'
  | 'close never ends'
  | 'names the youngest';

/** A batcher in the plainest words, with one flaw built in. */
function flawed(flaw: Flaw): Create {
  return (flush, { maxBatch, maxQueue, defer = setImmediate }) => {
    type Entry = { item: number; resolve(result: string): void; reject(error: unknown): void };
    let queue: Entry[] = [];
    let busy = false;
    let closed = false;
    let ending: Promise<void> = Promise.resolve();
    const limit = flaw === 'no maxBatch' ? 1e9 : flaw === 'one by one' ? 1 : maxBatch;
    const start = () => {
      busy = true;
      ending = new Promise((resolve) => defer(() => run().then(resolve)));
    };
    const answer = (batch: Entry[], results: readonly (string | Error)[]) => {
      if (results.length !== batch.length && flaw !== 'believes any number of results') {
        throw new Error(`A flush of ${batch.length} items answered ${results.length} results`);
      }
      const bad = results.find((result) => result instanceof Error);
      if (bad !== undefined && flaw === 'an error fails the batch') throw bad;
      for (const [index, { resolve, reject }] of batch.entries()) {
        const result = results[index] ?? '';
        if (typeof result === 'string') resolve(result);
        else if (flaw === 'errors are results') resolve(result.message);
        else reject(result);
      }
    };
    async function run() {
      while (queue.length > 0) {
        if (flaw === 'last in, first out') queue.reverse();
        const batch = queue.splice(0, limit);
        try {
          const given = batch.map(({ item }) => item);
          const promised = flush(given);
          promised.catch(() => undefined);
          if (flaw === 'two in flight' && queue.length > 0) run();
          if (flaw === 'flushes twice' && batch.length > 1) flush(given).catch(() => undefined);
          answer(batch, await promised);
        } catch (error) {
          if (flaw === 'a failed flush fails the queue') batch.push(...queue.splice(0));
          if (flaw !== 'forgets a failed batch') for (const { reject } of batch) reject(error);
        }
      }
      busy = false;
    }
    const idle = async () => {
      if (flaw === 'close never ends') await new Promise(() => undefined);
      if (flaw !== 'close does not wait') await ending;
    };
    return {
      waiting: () => queue.length,
      oldest: () => queue.at(flaw === 'names the youngest' ? -1 : 0)?.item,
      add: (item) =>
        new Promise((resolve, reject) => {
          if (closed) return reject(new BatcherClosed());
          if (queue.length >= maxQueue && flaw !== 'no maxQueue') {
            return reject(new QueueFull(maxQueue));
          }
          queue.push({ item, resolve, reject });
          if (!busy) start();
        }),
      idle,
      close() {
        closed = true;
        if (flaw === 'close drops the queue') queue = [];
        return idle();
      },
    };
  };
}

const flaws: readonly (readonly [Flaw, string])[] = [
  ['last in, first out', 'in order, each item once'],
  ['flushes twice', 'few flushes in flight'],
  ['two in flight', 'few flushes in flight'],
  ['no maxBatch', 'no batch above maxBatch'],
  ['one by one', 'a batch takes all'],
  ['no maxQueue', 'the queue is bounded'],
  ['an error fails the batch', 'each hears its own answer'],
  ['errors are results', 'each hears its own answer'],
  ['believes any number of results', 'each hears its own answer'],
  ['forgets a failed batch', 'every caller is answered'],
  ['a failed flush fails the queue', 'each hears its own answer'],
  ['close does not wait', 'close answers all earlier items'],
  ['close drops the queue', 'every caller is answered'],
  ['close never ends', 'close and idle end'],
  ['names the youngest', 'it says what waits'],
];

t.test(
  'when items arrive at any time and flushes end in any way, then all laws hold',
  async (t) => {
    for (const create of [createBatcher<number, string>, flawed('none')]) {
      await fc.assert(
        fc.asyncProperty(scripts, async (script) => {
          const broken = await brokenLaws(create, script);
          if (broken.size > 0) throw new Error([...broken].join('; '));
        }),
        { seed, numRuns: 1000 },
      );
    }
    t.pass('no law was broken');
  },
);

t.test('when a batcher has a flaw, then the checker names the law that it breaks', async (t) => {
  for (const [flaw, law] of flaws) {
    const create = flawed(flaw);
    const { failed } = await fc.check(
      fc.asyncProperty(scripts, async (script) => !(await brokenLaws(create, script)).has(law)),
      { seed, numRuns: 1000, endOnFailure: true },
    );
    t.ok(failed, `${flaw}: ${law}`);
  }
});

t.test(
  'when items arrive within one turn of the event loop, then one flush takes them',
  async (t) => {
    const batches: (readonly string[])[] = [];
    const batcher = createBatcher<string, string>(
      async (items) => {
        batches.push(items);
        return items;
      },
      { maxBatch: 10, maxQueue: 10 },
    );
    const later = Promise.resolve().then(() => batcher.add('c'));
    const answers = await Promise.all([batcher.add('a'), batcher.add('b'), later]);
    t.strictSame(answers, ['a', 'b', 'c']);
    t.strictSame(batches, [['a', 'b', 'c']]);
    t.equal(await batcher.add('d'), 'd', 'a lone item is flushed alone');
    t.equal(batches.length, 2);
  },
);

t.test('when fewer flushes may be in flight, then the others take what waits', async (t) => {
  let most = 3;
  const ends: (() => void)[] = [];
  const batcher = createBatcher<number, number>(
    (items) => new Promise((resolve) => ends.push(() => resolve(items))),
    { maxBatch: 2, maxQueue: 50, maxInFlight: () => most, defer: (run) => run() },
  );
  const items = Array.from({ length: 20 }, (_, item) => item);
  const answers = items.map((item) => batcher.add(item));
  t.equal(ends.length, 3);
  most = 1;
  for (let ended = 0; ended < 3; ended += 1) {
    ends.shift()?.();
    await turn();
  }
  t.equal(ends.length, 1, 'two are not followed by another one');
  while (ends.length > 0) {
    ends.shift()?.();
    await turn();
    t.ok(ends.length <= 1);
  }
  t.same(await Promise.all(answers), items);
  await batcher.close();
});

t.test('when a flush is in flight, then the batcher is not idle until it has ended', async (t) => {
  let end = () => {};
  const batcher = createBatcher<number, number>(
    (items) => new Promise((resolve) => (end = () => resolve(items))),
    { maxBatch: 2, maxQueue: 5, defer: (run) => run() },
  );
  await batcher.idle();
  const answers = Promise.all([1, 2, 3, 4].map((item) => batcher.add(item)));
  await turn();
  let idle = false;
  const resting = batcher.idle().then(() => {
    idle = true;
  });
  for (const batch of ['second', 'third']) {
    end();
    await turn();
    t.notOk(idle, `the ${batch} batch is in flight`);
  }
  end();
  await resting;
  t.strictSame(await answers, [1, 2, 3, 4]);
});

t.test('when a second flush may begin, then it does with as many as are in flight', async (t) => {
  const flushed: (readonly number[])[] = [];
  const ends: (() => void)[] = [];
  const batcher = createBatcher<number, number>(
    (items) => {
      flushed.push(items);
      return new Promise((resolve) => ends.push(() => resolve(items)));
    },
    { maxBatch: 10, maxQueue: 10, maxInFlight: 2 },
  );
  const add = async (...items: readonly number[]) => {
    for (const item of items) void batcher.add(item);
    await turn();
  };
  await add(1, 2, 3);
  await add(4, 5);
  t.strictSame(flushed, [[1, 2, 3]], 'two are too few');
  await add(6);
  t.strictSame(flushed, [
    [1, 2, 3],
    [4, 5, 6],
  ]);
  await add(7, 8, 9, 10, 11, 12, 13);
  t.equal(flushed.length, 2, 'a third one never');
  ends[1]?.();
  await turn();
  t.strictSame(flushed[2], [7, 8, 9, 10, 11, 12, 13]);
  for (const end of ends) end();
  await batcher.close();
});

t.test('when an item cannot be taken, then its caller hears why at once', async (t) => {
  const batcher = createBatcher<number, undefined>(async (items) => items.map(() => undefined), {
    maxBatch: 1,
    maxQueue: 1,
  });
  const first = batcher.add(1);
  await t.rejects(batcher.add(2), new QueueFull(1));
  await t.resolves(first, 'undefined is a result like any other');
  await batcher.close();
  await t.rejects(batcher.add(3), new BatcherClosed());
  await t.resolves(batcher.close(), 'closing again changes nothing');
});

t.test('when a bound is not a positive integer, then there is no batcher', async (t) => {
  const flush = async () => [];
  for (const bound of [0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY]) {
    t.throws(() => createBatcher(flush, { maxBatch: bound, maxQueue: 1 }), RangeError);
    t.throws(() => createBatcher(flush, { maxBatch: 1, maxQueue: bound }), RangeError);
    const bounds = { maxBatch: 1, maxQueue: 1, maxInFlight: bound };
    t.throws(() => createBatcher(flush, bounds), RangeError);
  }
});

t.test('when a batcher is watched, then it tells of its flushes and of who waits', async (t) => {
  const sizes: number[] = [];
  let release = () => {};
  const flush = (items: readonly number[]) =>
    new Promise<readonly string[]>((resolve) => {
      release = () => resolve(items.map(String));
    });
  const batcher = createBatcher(flush, {
    maxBatch: 2,
    maxQueue: 9,
    onFlush: (items) => sizes.push(items),
    defer: (run) => run(),
  });
  const answered = [1, 2, 3, 4].map((item) => batcher.add(item));
  t.same([sizes, batcher.waiting()], [[1], 3]);
  const next = () => new Promise((resolve) => setImmediate(resolve));
  release();
  await next();
  t.same([sizes, batcher.waiting()], [[1, 2], 1]);
  release();
  await next();
  t.same([sizes, batcher.waiting()], [[1, 2, 1], 0]);
  release();
  t.same(await Promise.all(answered), ['1', '2', '3', '4']);
});
