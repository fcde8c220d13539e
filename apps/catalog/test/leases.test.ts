import { Failure } from '@bazar/contracts';
import { type Changes, type Invalidation, leaseEndMs, leaseTerms } from '@bazar/contracts/internal';
import { createClock, createRandom } from '@bazar/simulation';
import t from 'tap';
import { createCatalog } from '../src/catalog.js';
import { createLeases, type Leases, withoutGateways } from '../src/leases.js';
import { createMachine } from './machine.js';

const url = 'http://gateway';
const instance = '00000000-0000-4000-8000-000000000001';
const book = (id: number) => ({ books: [id], titles: false });
const sale = (id: number, item_id: number) => ({
  operation_id: `00000000-0000-4000-8000-00000000000${id}`,
  kind: 'sale' as const,
  item_id,
  quantity_delta: -1 as const,
  request_id: 'a',
});

/** The registry with one gateway before it, on a clock of their own. */
function open() {
  const random = createRandom('leases');
  const clock = createClock({ random });
  const heard: (Invalidation & { readonly at: number })[] = [];
  const lines: string[] = [];
  const gateway = { answerMs: 1, isReachable: true };
  const leases = createLeases({
    async invalidate(_url, body) {
      heard.push({ ...body, at: clock.now() });
      if (!gateway.isReachable) throw new Failure('unavailable', 'no connection');
      await clock.sleep(gateway.answerMs);
    },
    after: clock.after,
    monotonic: clock.now,
    newId: random.uuid,
    log: (_level, sentence) => lines.push(sentence),
    defer: clock.defer,
  });
  /** How long a write of what the gateway has read had to wait. */
  async function write(id: number): Promise<number> {
    leases.note(instance, id);
    const from = clock.now();
    await clock.finish(Promise.resolve(leases.barrier(book(id))));
    return clock.now() - from;
  }
  const renew = (epoch?: string) =>
    clock.finish(leases.renew({ instance, url, ...(epoch !== undefined && { epoch }) }));
  return { clock, random, leases, heard, lines, gateway, write, renew };
}

/** Likewise, after all that an earlier catalog may have granted has run out. */
async function openLater() {
  const opened = open();
  await opened.write(1);
  return opened;
}

t.test('when the catalog has just started, then writes wait for leases of before', async (t) => {
  const { write, leases } = open();
  t.equal(await write(1), leaseEndMs);
  t.equal(leases.barrier(book(1)), undefined, 'and then for nobody');
});

t.test('when a gateway has a lease, then writes wait for its acknowledgement', async (t) => {
  const { write, renew, heard, gateway } = await openLater();
  const epoch = await renew();
  t.match(heard, [{ instance, epoch: undefined, books: [] }], 'it was looked for first');
  gateway.answerMs = 20;
  t.equal(await write(7), 20);
  t.match(heard.at(-1), { instance, epoch, books: [7], titles: false });
  t.equal(await renew(epoch), epoch, 'it is confirmed');
});

t.test('when many write at once, then one post carries what gathers behind another', async (t) => {
  const { clock, leases, renew, heard, gateway } = await openLater();
  await renew();
  heard.length = 0;
  gateway.answerMs = 5;
  for (const id of [1, 2, 3, 4, 5]) leases.note(instance, id);
  const writes = Promise.all([1, 2, 3, 3].map((id) => leases.barrier(book(id))));
  clock.after(1, () => void leases.barrier({ books: [4, 5], titles: true }));
  clock.after(2, () => void leases.barrier(book(5)));
  await clock.finish(writes);
  await clock.run(() => heard.length === 2);
  t.match(heard, [
    { books: [1, 2, 3], titles: false },
    { books: [4, 5], titles: true },
  ]);
});

t.test('when a gateway has not read what changes, then it is not told', async (t) => {
  const { clock, leases, renew, heard, gateway, write } = await openLater();
  const epoch = await renew();
  heard.length = 0;
  t.equal(leases.barrier(book(1)), undefined);
  leases.note('00000000-0000-4000-8000-000000000002', 1);
  t.equal(leases.barrier(book(1)), undefined, 'another one is not known');
  t.equal(await write(1), 1);
  t.equal(leases.barrier(book(1)), undefined, 'it has forgotten it');
  gateway.answerMs = 5;
  leases.note(instance, 2);
  clock.after(3, () => leases.note(instance, 2));
  await clock.finish(Promise.resolve(leases.barrier({ books: [1, 2, 3], titles: false })));
  t.match(heard, [{ books: [1] }, { books: [2] }]);
  t.equal(await clock.finish(Promise.resolve(leases.barrier(book(2)))).then(() => heard.length), 3);
  const list = leases.barrier({ books: [9], titles: true });
  t.ok(list, 'lists are told of to everybody');
  await clock.finish(Promise.resolve(list));
  t.match(heard.at(-1), { epoch, books: [], titles: true });
});

t.test('when a lease is given anew, then what was read under the last one counts', async (t) => {
  const { leases, renew, heard, clock } = await openLater();
  await renew();
  leases.note(instance, 1);
  await renew();
  heard.length = 0;
  await clock.finish(Promise.resolve(leases.barrier(book(1))));
  t.match(heard, [{ books: [1] }]);
});

t.test('when a gateway is mute, then a write waits for the end of its lease, once', async (t) => {
  const { clock, write, renew, gateway } = await openLater();
  const epoch = await renew();
  const confirmed = clock.now();
  gateway.answerMs = 60_000;
  await write(1);
  t.equal(clock.now() - confirmed, leaseEndMs);
  t.equal(await write(2), 0, 'nobody is left');
  gateway.answerMs = 1;
  t.not(await renew(epoch), epoch, 'it begins anew');
});

t.test('when a gateway owes an acknowledgement, then its lease is not renewed', async (t) => {
  const { clock, leases, renew, gateway } = await openLater();
  const epoch = await renew();
  gateway.answerMs = 400;
  leases.note(instance, 1);
  const slow = Promise.resolve(leases.barrier(book(1)));
  await clock.finish(clock.sleep(leaseTerms.acknowledgeMs - 10));
  t.equal(await renew(epoch), epoch, 'not late yet');
  await clock.finish(clock.sleep(20));
  await t.rejects(renew(epoch), { code: 'lease_unknown' });
  await clock.finish(slow);
  t.equal(await renew(epoch), epoch, 'it has come: the lease goes on');
});

t.test('when a connection breaks, then that is no acknowledgement', async (t) => {
  const { clock, leases, renew, gateway, heard } = await openLater();
  const epoch = await renew();
  gateway.isReachable = false;
  leases.note(instance, 1);
  let isDone = false;
  const write = Promise.resolve(leases.barrier(book(1))).then(() => {
    isDone = true;
  });
  await clock.finish(clock.sleep(300));
  t.equal(isDone, false);
  t.ok(heard.length > 3, 'it is tried again');
  gateway.isReachable = true;
  await clock.finish(write);
  t.equal(await renew(epoch), epoch, 'and has come through');
});

t.test('when a gateway gives its lease back, then nobody waits for its end', async (t) => {
  for (const hangs of [false, true]) {
    const { clock, leases, renew, gateway } = await openLater();
    const epoch = await renew();
    leases.note(instance, 1);
    if (hangs) gateway.answerMs = 60_000;
    else gateway.isReachable = false;
    const from = clock.now();
    const write = Promise.resolve(leases.barrier(book(1)));
    clock.after(100, () => leases.end({ instance, epoch: '00000000-0000-4000-8000-000000000009' }));
    clock.after(300, () => leases.end({ instance, epoch }));
    await clock.finish(write);
    const waitedMs = clock.now() - from;
    t.ok(waitedMs >= 300 && waitedMs <= 350, 'another lease is not this one');
    t.equal(leases.barrier(book(1)), undefined, 'there is no gateway any more');
    Object.assign(gateway, { isReachable: true, answerMs: 1 });
    t.not(await renew(epoch), epoch, 'it begins anew');
  }
});

t.test('when two renewals are under way, then neither forgets what was read', async (t) => {
  const { clock, leases, heard, gateway } = await openLater();
  gateway.answerMs = 500;
  const slow = leases.renew({ instance, url });
  await clock.finish(clock.sleep(1));
  gateway.answerMs = 1;
  await clock.finish(leases.renew({ instance, url }));
  leases.note(instance, 1);
  await clock.finish(slow);
  heard.length = 0;
  await clock.finish(Promise.resolve(leases.barrier(book(1))));
  t.match(heard, [{ books: [1] }], 'it was read under the lease between');
});

t.test('when a lease has run out, then nothing of it is kept', async (t) => {
  const { clock, random, leases, renew, lines, heard } = await openLater();
  await renew();
  await clock.finish(clock.sleep(leaseEndMs + 1));
  const other = random.uuid();
  await clock.finish(leases.renew({ instance: other, url }));
  heard.length = 0;
  lines.length = 0;
  await clock.finish(Promise.resolve(leases.barrier({ books: [], titles: true })));
  t.match(heard, [{ instance: other }]);
  t.strictSame(lines, [], 'there is none to run out');
});

t.test('when a change is waited for, then so is the news that it makes', async (t) => {
  const { clock, leases, renew, gateway } = await openLater();
  t.equal(leases.pending(1), undefined);
  await renew();
  leases.note(instance, 1);
  gateway.answerMs = 40;
  const write = leases.barrier(book(1));
  t.ok(leases.pending(1));
  t.equal(leases.pending(2), undefined);
  await clock.finish(Promise.resolve(write));
  t.equal(leases.pending(1), undefined);
  const fresh = open();
  t.ok(fresh.leases.pending(1), 'what an earlier catalog changed may be waited for still');
});

t.test('when the last copy is sold, then "sold out" waits for the gateways too', async (t) => {
  let forget = () => {};
  const forgotten = new Promise<void>((resolve) => {
    forget = resolve;
  });
  const leases: Leases = {
    ...withoutGateways,
    barrier: () => forgotten,
    pending: (itemId) => (itemId === 2 ? forgotten : undefined),
  };
  const machine = createMachine(t.testdir());
  const catalog = createCatalog({ store: await machine.open(), leases, after: () => () => {} });
  t.teardown(() => catalog.close());
  const sales = [sale(1, 2), sale(2, 2), sale(3, 2)];
  const told: string[] = [];
  const asked = sales.map(async (one) => {
    const [outcome] = await catalog.sell([one]);
    told.push(outcome?.result ?? 'nothing');
  });
  const [other] = await catalog.sell([sale(4, 99)]);
  t.equal(other?.result, 'failed', 'who asks for another book is told at once');
  t.strictSame(told, []);
  forget();
  await Promise.all(asked);
  t.strictSame(told, ['sold', 'sold', 'sold_out']);
});

t.test('when a gateway does not answer at its address, then it gets no lease', async (t) => {
  const { renew, gateway, leases } = await openLater();
  gateway.isReachable = false;
  await t.rejects(renew(), { code: 'lease_unknown' });
  t.equal(leases.barrier(book(1)), undefined);
});

t.test('when the answer to a renewal was lost, then the next one begins anew', async (t) => {
  const { write, renew, heard } = await openLater();
  const lost = await renew();
  const epoch = await renew();
  t.not(epoch, lost);
  heard.length = 0;
  await write(3);
  t.match(heard, [{ epoch, books: [3] }], 'and nobody asks for the lost one');
});

t.test('when a batch has changed something, then the gateways are told of just that', async (t) => {
  const told: Changes[] = [];
  const leases: Leases = {
    ...withoutGateways,
    async barrier(changes) {
      told.push(changes);
    },
  };
  const machine = createMachine(t.testdir());
  const catalog = createCatalog({ store: await machine.open(), leases, after: () => () => {} });
  t.teardown(() => catalog.close());
  await catalog.sell([sale(1, 1), sale(2, 2), sale(3, 2), sale(4, 2), sale(5, 99)]);
  await catalog.sell([sale(4, 2), sale(5, 99)]);
  await catalog.sell([sale(1, 1)]);
  await catalog.change('00000000-0000-4000-8000-000000000008', 3, { price: 1 });
  const book = { title: 'A', topic: 'b', quantity: 1, price: 1 };
  await catalog.add('00000000-0000-4000-8000-000000000009', book);
  t.same(told, [
    { books: [1, 2], titles: false },
    // Sold out, and no such book: nothing has changed.
    { books: [1], titles: false },
    { books: [3], titles: false },
    // Somebody may just be told that there is no book 5.
    { books: [5], titles: true },
  ]);
});
