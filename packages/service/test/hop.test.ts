import { Failure } from '@bazar/contracts';
import t from 'tap';
import { createHop, type HopItem } from '../src/hop.js';

interface Wish extends HopItem {
  readonly id: string;
}

const tick = () => new Promise((resolve) => setImmediate(resolve));
const idOf = ({ id }: { id: string }) => id;

/** A hop whose service answers when it is told to, on a clock that is set by hand. */
interface Bounds {
  readonly maxBatch?: number;
  readonly maxQueue?: number;
  readonly shedding?: { readonly minQueue: number; readonly maxWaitMs: number };
  readonly maxInFlight?: number;
  readonly isWanted?: (wish: Wish, waitedMs: number) => boolean;
}

function openHop(bounds: Bounds = {}) {
  const calls: (readonly Wish[])[] = [];
  const answers: ((outcomes: { id: string }[]) => void)[] = [];
  const clock = { now: 0 };
  const hop = createHop<Wish, { id: string }>({
    send(wishes) {
      calls.push(wishes);
      return new Promise((resolve) => answers.push(resolve));
    },
    idOf,
    idOfOutcome: idOf,
    maxBatch: bounds.maxBatch ?? 10,
    maxQueue: bounds.maxQueue ?? 10,
    maxInFlight: bounds.maxInFlight ?? 1,
    shedding: bounds.shedding,
    isWanted: bounds.isWanted,
    now: () => clock.now,
  });
  const answer = async (outcomes = calls.at(-1)?.map(({ id }) => ({ id })) ?? []) => {
    answers.shift()?.(outcomes);
    await tick();
  };
  return { ...hop, calls, clock, answer };
}

t.test('when an operation waits behind a call, then it goes out with what is left', async (t) => {
  const hop = openHop();
  const first = hop.ask({ id: 'a' });
  await tick();
  t.same(hop.calls, [[{ id: 'a', timeout_ms: 10_000 }]], 'nobody waits longer than ten seconds');
  const second = hop.ask({ id: 'b', timeout_ms: 3000 });
  hop.clock.now = 1000.5;
  await hop.answer();
  t.same(await first, { id: 'a' });
  t.same(hop.calls[1], [{ id: 'b', timeout_ms: 1999 }]);
  await hop.answer();
  t.same(await second, { id: 'b' });
});

t.test('when its time is up before the call, then it is not sent', async (t) => {
  const hop = openHop();
  const first = hop.ask({ id: 'a' });
  await tick();
  const late = t.rejects(hop.ask({ id: 'b', timeout_ms: 300 }), {
    code: 'deadline_exceeded',
    nothingDone: true,
  });
  const patient = hop.ask({ id: 'c' });
  hop.clock.now = 301;
  await hop.answer();
  t.same(hop.calls[1]?.map(idOf), ['c'], 'only what somebody still waits for');
  await hop.answer();
  await late;
  t.same([await first, await patient], [{ id: 'a' }, { id: 'c' }], 'each has its own outcome');
});

t.test('when a call is made, then it is known how long each has waited for it', async (t) => {
  const waited: Record<string, number> = {};
  const hop = openHop({
    isWanted({ id }, waitedMs) {
      waited[id] = waitedMs;
      return id !== 'gone';
    },
  });
  const asked = [hop.ask({ id: 'first' })];
  await tick();
  const gone = t.rejects(hop.ask({ id: 'gone' }), { code: 'deadline_exceeded', nothingDone: true });
  asked.push(hop.ask({ id: 'early' }));
  hop.clock.now = 200;
  asked.push(hop.ask({ id: 'late' }));
  hop.clock.now = 300;
  await hop.answer();
  await hop.answer();
  await gone;
  await Promise.all(asked);
  t.same(waited, { first: 0, gone: 300, early: 300, late: 100 });
  t.same(hop.calls[1]?.map(idOf), ['early', 'late']);
});

t.test('when all have given up, then there is no call', async (t) => {
  const hop = openHop();
  const first = hop.ask({ id: 'a' });
  await tick();
  const late = t.rejects(hop.ask({ id: 'b', timeout_ms: 5 }), Failure);
  hop.clock.now = 5;
  await hop.answer();
  await late;
  await first;
  t.equal(hop.calls.length, 1);
});

t.test('when an outcome is missing, then it is unknown to its asker alone', async (t) => {
  const hop = openHop();
  const asked = Promise.allSettled([hop.ask({ id: 'a' }), hop.ask({ id: 'b' })]);
  await tick();
  await hop.answer([{ id: 'stranger' }, { id: 'b' }]);
  t.match(await asked, [
    { status: 'rejected', reason: { code: 'unavailable', nothingDone: false } },
    { status: 'fulfilled', value: { id: 'b' } },
  ]);
});

t.test('when too many wait, or the hop is closed, then it says so', async (t) => {
  const hop = openHop({ maxBatch: 1, maxQueue: 1 });
  const first = hop.ask({ id: 'a' });
  await tick();
  const second = hop.ask({ id: 'b' });
  await t.rejects(hop.ask({ id: 'c' }), { code: 'overloaded', nothingDone: true });
  const closed = hop.close();
  await t.rejects(hop.ask({ id: 'd' }), { code: 'unavailable', nothingDone: true });
  await hop.answer();
  await hop.answer();
  await closed;
  t.same([await first, await second], [{ id: 'a' }, { id: 'b' }], 'what was accepted is answered');
});

t.test('when many have waited for long, then another one is refused', async (t) => {
  const hop = openHop({ maxBatch: 2, shedding: { minQueue: 2, maxWaitMs: 100 } });
  const asked = [hop.ask({ id: 'in flight' })];
  await tick();
  asked.push(hop.ask({ id: 'a' }));
  hop.clock.now = 1000;
  asked.push(hop.ask({ id: 'b' }));
  t.equal(hop.waiting(), 2, 'one that waits is no crowd, however long it does');
  await t.rejects(hop.ask({ id: 'c' }), {
    code: 'overloaded',
    nothingDone: true,
    retryAfterSeconds: 1,
  });
  await hop.answer();
  asked.push(hop.ask({ id: 'd' }), hop.ask({ id: 'e' }));
  hop.clock.now = 1100;
  asked.push(hop.ask({ id: 'f' }));
  t.equal(hop.waiting(), 3, 'nor is a crowd that has just come refused');
  hop.clock.now = 1101;
  await t.rejects(hop.ask({ id: 'g' }), { code: 'overloaded' });
  for (let call = 0; call < 3; call += 1) await hop.answer();
  const answered = (await Promise.all(asked)).map(idOf);
  t.same(answered, ['in flight', 'a', 'b', 'd', 'e', 'f'], 'what was accepted is answered');
});
