import { type LeaseEnd, leaseTerms } from '@bazar/contracts/internal';
import { createClock, createRandom } from '@bazar/simulation';
import t from 'tap';
import { createLease } from '../src/lease.js';

/** A lease on a simulated clock; what the catalog answers is up to the test. */
function openLease() {
  const random = createRandom('lease');
  const clock = createClock({ random });
  const catalog = { epoch: 'one', answerMs: 1, silentMs: 0, isAway: false };
  const asked: (string | undefined)[] = [];
  const returned: LeaseEnd[] = [];
  let epochs = 0;
  const wall = { offset: 1_000_000 };
  const lease = createLease({
    async renew({ epoch }, _timeoutMs, onSend) {
      asked.push(epoch);
      if (catalog.silentMs > 0) await clock.sleep(catalog.silentMs);
      onSend();
      await clock.sleep(catalog.answerMs);
      if (catalog.isAway) throw new Error('away');
      return catalog.epoch;
    },
    async giveBack(end) {
      returned.push(end);
      if (catalog.isAway) throw new Error('away');
    },
    onNewEpoch: () => {
      epochs += 1;
    },
    after: clock.after,
    monotonic: clock.now,
    wall: () => clock.now() + wall.offset,
    newId: () => 'gateway',
    log: () => {},
  });
  const pass = (ms: number) => clock.finish(clock.sleep(ms));
  const stop = () => clock.finish(lease.stop());
  return { lease, catalog, asked, returned, clock, wall, pass, stop, epochs: () => epochs };
}

t.test('when the catalog confirms, then the lease is live and stays so', async (t) => {
  const { lease, pass, stop, asked, epochs } = openLease();
  t.equal(lease.isLive(), false);
  lease.start('http://gateway');
  await pass(2);
  for (let turn = 0; turn < 100; turn += 1) {
    t.equal(lease.isLive(), true);
    await pass(100);
  }
  t.equal(asked[0], undefined);
  t.ok(asked.slice(1).every((epoch) => epoch === 'one'));
  t.equal(epochs(), 1);
  t.ok(lease.is('gateway', 'one') && lease.is('gateway', undefined));
  t.notOk(lease.is('gateway', 'two') || lease.is('other', 'one'));
  await stop();
  t.equal(lease.isLive(), false);
});

t.test('when the catalog is away, then the lease ends a term after it was asked for', async (t) => {
  const { lease, pass, stop, catalog, epochs } = openLease();
  catalog.answerMs = 200;
  lease.start('http://gateway');
  await pass(201);
  catalog.isAway = true;
  await pass(leaseTerms.termMs - 202);
  t.equal(lease.isLive(), true);
  await pass(2);
  t.equal(lease.isLive(), false, 'not a term after the answer');
  catalog.isAway = false;
  catalog.epoch = 'two';
  await pass(leaseTerms.renewalMs + 400);
  t.equal(lease.isLive(), true);
  t.equal(epochs(), 2);
  await stop();
});

t.test(
  'when one catalog is silent, then the lease counts from the asking of the other',
  async (t) => {
    const { lease, pass, stop, catalog } = openLease();
    lease.start('http://gateway');
    await pass(2);
    catalog.silentMs = 400;
    for (let turn = 0; turn < 50; turn += 1) {
      t.equal(lease.isLive(), true, 'it does not lapse while the second one is asked');
      await pass(100);
    }
    catalog.isAway = true;
    await pass(leaseTerms.termMs);
    t.equal(lease.isLive(), false);
    await stop();
  },
);

t.test('when the machine was asleep, then the clock on the wall ends the lease', async (t) => {
  const { lease, pass, stop, wall } = openLease();
  lease.start('http://gateway');
  await pass(2);
  wall.offset += 10_000;
  t.equal(lease.isLive(), false);
  wall.offset -= 20_000;
  t.equal(lease.isLive(), false, 'nor is it live before it was asked for');
  await stop();
});

t.test('when a gateway stops, then it serves no more and gives its lease back once', async (t) => {
  for (const isAway of [false, true]) {
    const { lease, catalog, clock, pass, stop, returned } = openLease();
    lease.start('http://gateway');
    await pass(2);
    catalog.isAway = isAway;
    const stopped = lease.stop();
    t.notOk(lease.isLive(), 'at once');
    await clock.finish(stopped);
    await stop();
    t.strictSame(returned, [{ instance: 'gateway', epoch: 'one' }]);
  }
});

t.test('when a gateway stops while it is granted a lease, then that is given back', async (t) => {
  const { lease, catalog, pass, stop, returned, asked } = openLease();
  catalog.answerMs = 50;
  lease.start('http://gateway');
  await pass(10);
  await stop();
  t.strictSame(returned, [{ instance: 'gateway', epoch: 'one' }]);
  lease.start('http://gateway');
  await pass(1000);
  t.equal(asked.length, 1, 'and it asks for none again');
  t.notOk(lease.isLive());
});

t.test('when a gateway stops that had no lease, then there is none to give back', async (t) => {
  const { stop, returned } = openLease();
  await stop();
  t.strictSame(returned, []);
});
