import { Failure } from '@bazar/contracts';
import t from 'tap';
import { createHop, type HopItem } from '../src/hop.js';

interface Wish extends HopItem {
  readonly id: string;
}

const tick = () => new Promise((resolve) => setImmediate(resolve));
const idOf = ({ id }: { id: string }) => id;

/** A hop whose service answers when it is told to, on a clock that is set by hand. */
function openHop(bounds: { maxBatch?: number; maxQueue?: number } = {}) {
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
    maxInFlight: 1,
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
