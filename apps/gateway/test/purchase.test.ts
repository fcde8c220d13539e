import { Failure } from '@bazar/contracts';
import type { PurchaseOperation, PurchaseOutcome } from '@bazar/contracts/internal';
import t from 'tap';
import { createBuying, type Purchase } from '../src/purchase.js';

const idOf = (number: number) => `0190a6f0-0000-7000-8000-${number.toString(16).padStart(12, '0')}`;

function operation(number: number, changes: Partial<PurchaseOperation> = {}): PurchaseOperation {
  return { order_id: idOf(number), item_id: 2, request_id: `r-${number}`, ...changes };
}

/** An operation as it leaves: with the time that is left of its caller's patience. */
const sent = (number: number) => operation(number, { timeout_ms: 10_000 });

function soldTo({ order_id, item_id }: PurchaseOperation): PurchaseOutcome {
  const book = { title: `Book ${item_id}`, price: 5, timestamp: '2024-05-01T12:00:00.000Z' };
  return { order_id, result: 'sold', replayed: false, item_id, ...book };
}

const answerTo = (wish: PurchaseOperation) => {
  const { order_id, item_id } = wish;
  const order = { order_id, item_id, title: `Book ${item_id}`, price: 5 };
  return { answer: { message: `bought book Book ${item_id}`, order }, replayed: false };
};

const tick = () => new Promise((resolve) => setImmediate(resolve));

/** A buying whose order service answers when it is told to, and whose timers fire likewise. */
function openBuying(purchase?: Purchase, replicas?: () => number) {
  const batches: (readonly PurchaseOperation[])[] = [];
  const waiting: {
    readonly operations: readonly PurchaseOperation[];
    readonly resolve: (outcomes: PurchaseOutcome[]) => void;
    readonly reject: (error: Error) => void;
  }[] = [];
  const timers = new Map<() => void, number>();
  const buying = createBuying({
    purchase:
      purchase ??
      ((operations) => {
        batches.push(operations);
        return new Promise((resolve, reject) => waiting.push({ operations, resolve, reject }));
      }),
    ...(replicas !== undefined && { replicas }),
    now: () => 0,
    after(ms, run) {
      timers.set(run, ms);
      return () => timers.delete(run);
    },
  });
  return {
    ...buying,
    batches,
    timers,
    /** Answers the batch that has waited longest. */
    answer(outcomes?: PurchaseOutcome[]) {
      const oldest = waiting.shift();
      oldest?.resolve(outcomes ?? oldest.operations.map(soldTo));
      return tick();
    },
    refuse(error: Error) {
      waiting.shift()?.reject(error);
    },
    passTime(ms: number) {
      for (const [run, due] of timers) if (due <= ms) run();
    },
  };
}

t.test('when all who wait for a purchase have gone, then it is not sent', async (t) => {
  const { buy, batches, answer } = openBuying();
  const under = [buy(operation(1)), buy(operation(2))];
  await tick();
  await tick();
  const gone = t.rejects(
    buy(operation(3), () => true),
    { code: 'deadline_exceeded', nothingDone: true },
  );
  const repeated = [buy(operation(4), () => true), buy(operation(4), () => false)];
  const stays = buy(operation(5), () => false);
  for (let count = 0; count < 4; count += 1) await answer();
  await gone;
  t.match(await Promise.all([...under, ...repeated, stays]), [
    answerTo(operation(1)),
    answerTo(operation(2)),
    answerTo(operation(4)),
    { ...answerTo(operation(4)), replayed: true },
    answerTo(operation(5)),
  ]);
  t.same(
    batches.flat().map(({ order_id }) => order_id),
    [1, 2, 4, 5].map(idOf),
  );
});

t.test('when there are more order services, then more batches are under way', async (t) => {
  for (const replicas of [1, 3]) {
    const buying = openBuying(undefined, () => replicas);
    const bought: Promise<unknown>[] = [];
    for (let number = 1; number <= 64; number += 1) {
      bought.push(buying.buy(operation(number)));
      await tick();
    }
    t.equal(buying.batches.length, 2 * replicas, 'two each');
    while (buying.batches.flat().length < 64) await buying.answer();
    for (let batch = 0; batch < 2 * replicas; batch += 1) await buying.answer();
    await Promise.all(bought);
    await buying.close();
  }
});

t.test('when purchases arrive together, then they travel together, in order', async (t) => {
  const buying = openBuying();
  const first = [1, 2, 3].map((number) => buying.buy(operation(number)));
  await tick();
  t.same(buying.batches, [[sent(1), sent(2), sent(3)]]);
  const second = [4, 5].map((number) => buying.buy(operation(number)));
  await tick();
  t.equal(buying.batches.length, 1, 'one batch is on its way at a time');
  await buying.answer();
  t.match(
    await Promise.all(first),
    [1, 2, 3].map((number) => answerTo(operation(number))),
  );
  t.same(buying.batches[1], [sent(4), sent(5)], 'what arrived meanwhile is the next');
  await buying.answer(buying.batches[1]?.map(soldTo).reverse());
  t.match(
    await Promise.all(second),
    [4, 5].map((number) => answerTo(operation(number))),
  );
  t.equal(buying.timers.size, 0, 'no timer outlives its purchase');
});

t.test('when more than a batch waits, then each call carries at most 1024', async (t) => {
  const sizes: number[] = [];
  const buying = openBuying(async (operations) => {
    sizes.push(operations.length);
    return operations.map(soldTo);
  });
  await Promise.all(Array.from({ length: 2500 }, (_none, number) => buying.buy(operation(number))));
  t.same(sizes, [1024, 1024, 452]);
});

t.test('when outcomes differ, then each buyer is told its own', async (t) => {
  const buying = openBuying();
  const wishes = [1, 2, 3, 4].map((number) => operation(number));
  const bought = wishes.map((wish) => buying.buy(wish));
  await tick();
  const failed = (number: number, code: Failure['code']): PurchaseOutcome => {
    return { order_id: idOf(number), result: 'failed', problem: { code, detail: 'so it is' } };
  };
  const caught = Promise.allSettled(bought);
  await buying.answer([
    failed(3, 'storage_full'),
    { order_id: idOf(1), result: 'sold_out', replayed: true },
    failed(2, 'book_not_found'),
  ]);
  const unknown = (number: number) =>
    new RegExp(`Idempotency-Key: ${idOf(number)} tells, and buys no second copy`);
  t.match(await caught, [
    { value: { answer: { message: 'Out of stock' }, replayed: true } },
    { reason: { name: 'Failure', code: 'book_not_found', message: /^so it is$/, foreign: true } },
    { reason: { name: 'Failure', code: 'storage_full', message: unknown(3) } },
    { reason: { name: 'Failure', code: 'unavailable', message: unknown(4) } },
  ]);
});

t.test('when the whole call fails, then all its outcomes are unknown', async (t) => {
  const buying = openBuying();
  const caught = Promise.allSettled([1, 2].map((number) => buying.buy(operation(number))));
  await tick();
  buying.refuse(new Failure('deadline_exceeded', 'no answer within 10000 ms'));
  const failure = { name: 'Failure', code: 'deadline_exceeded' };
  t.match(await caught, [
    {
      reason: { ...failure, message: new RegExp(`Whether order ${idOf(1)} was made is not known`) },
    },
    {
      reason: { ...failure, message: new RegExp(`Whether order ${idOf(2)} was made is not known`) },
    },
  ]);
  const next = buying.buy(operation(3));
  await tick();
  await buying.answer();
  t.match(await next, answerTo(operation(3)), 'the next batch is another matter');
  const broken = t.rejects(buying.buy(operation(4)), { message: 'a mistake of ours' });
  await tick();
  buying.refuse(new TypeError('a mistake of ours'));
  await broken;
});

t.test('when a caller’s time is up, then it alone is told so', async (t) => {
  const buying = openBuying();
  const hasty = buying.buy(operation(1, { timeout_ms: 100 }));
  const patient = buying.buy(operation(2, { timeout_ms: 5000 }));
  const calm = buying.buy(operation(3));
  const late = t.rejects(hasty, {
    name: 'Failure',
    code: 'deadline_exceeded',
    message: new RegExp(`within 100 ms.*Idempotency-Key: ${idOf(1)}`),
  });
  await tick();
  buying.passTime(100);
  await late;
  await buying.answer();
  t.match(await patient, answerTo(operation(2)));
  t.match(await calm, answerTo(operation(3)));
  t.equal(buying.timers.size, 0, 'no timer is left');
});

t.test('when a caller has no time at all, then nothing is asked for it', async (t) => {
  const buying = openBuying();
  const none = buying.buy(operation(1, { timeout_ms: 0 }));
  await t.rejects(none, {
    code: 'deadline_exceeded',
    message: new RegExp(`This request bought nothing; .*Idempotency-Key: ${idOf(1)}`),
  });
  await tick();
  t.same(buying.batches, []);
});

t.test('when a key comes again while it is asked, then it shares the answer', async (t) => {
  const buying = openBuying();
  const hasty = buying.buy(operation(1, { timeout_ms: 10 }));
  const late = t.rejects(hasty, { code: 'deadline_exceeded' });
  await tick();
  buying.passTime(10);
  await late;
  const again = [1, 2, 3].map(() => buying.buy(operation(1)));
  const other = buying.buy(operation(1, { item_id: 3 }));
  await t.rejects(other, { code: 'key_reused', status: 422, message: new RegExp(idOf(1)) });
  await buying.answer();
  for (const same of again) t.match(await same, { ...answerTo(operation(1)), replayed: true });
  t.equal(buying.batches.length, 1);
  const later = buying.buy(operation(1));
  await tick();
  t.equal(buying.batches.length, 2, 'what was answered is asked again');
  await buying.answer();
  await later;
});

t.test('when too many wait, then the next is told at once to come again', async (t) => {
  const buying = openBuying();
  let number = 0;
  const join = () => {
    number += 1;
    return buying.buy(operation(number));
  };
  const first = join();
  await tick();
  const waiting = Array.from({ length: 20_000 }, join);
  await t.rejects(join(), {
    name: 'Failure',
    code: 'overloaded',
    status: 503,
    retryAfterSeconds: 1,
    message: /too many purchases are waiting\. This request bought nothing;/,
  });
  t.equal(buying.batches.length, 1);
  const closed = buying.close();
  while (buying.batches.length < 21) await buying.answer();
  // Two may be under way at a time.
  await buying.answer();
  await buying.answer();
  await Promise.all([first, ...waiting, closed]);
  t.equal(buying.batches.length, 21, 'all who waited are answered before it closes');
});
