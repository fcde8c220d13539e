import { connectDatabase } from '@bazar/postgres';
import { createRandom } from '@bazar/simulation';
import { openLine } from '@bazar/simulation/line';
import { startPostgres } from '@bazar/simulation/postgres';
import t, { type Test } from 'tap';
import type { LoggedOrder } from '../src/store.js';
import { createPlace, type PostgresPlace } from './postgres-place.js';
import { differences, orderOf, ordersOf, storeSuite } from './store-suite.js';

const server = await startPostgres();
t.teardown(() => server.remove());

function newRandom(t: Test) {
  const seed = process.env['SEED'] ?? String(Date.now() % 2 ** 31);
  t.comment(`SEED=${seed}`);
  return createRandom(seed);
}

/** A replica that is closed at the end of its test. */
async function openNew(t: Test, place: PostgresPlace, options = {}) {
  const store = await place.open(options);
  t.teardown(() => store.close());
  return store;
}

/** Statements of whoever has the database in their care. */
async function keeperOf(t: Test, place: PostgresPlace) {
  const database = connectDatabase(await place.url(), { name: 'keeper' });
  t.teardown(() => database.close());
  return (text: string) => database.read((sql) => sql(Object.assign([text], { raw: [text] })));
}

t.test('when the store is PostgreSQL, then it passes the suite', async (t) => {
  // It opens a hundred stores, and a connection takes the server longer than all that is asked of it.
  const bounds = { connections: 2 };
  storeSuite(t, () => {
    const place = createPlace(server.newDatabase);
    return { ...place, open: () => place.open({ bounds }) };
  });
});

t.test('when two replicas log the same orders at once, then each is there once', async (t) => {
  const place = createPlace(server.newDatabase);
  const stores = [await openNew(t, place), await openNew(t, place)];
  const random = newRandom(t);
  const watermarks: number[] = [];
  for (let round = 0; round < 30; round += 1) {
    const orders = ordersOf(...Array.from({ length: 40 }, (_, n) => round * 40 + n + 1));
    await Promise.all(
      stores.flatMap((store) =>
        [1, 2].map(() => store.append(random.shuffle(orders).slice(random.integer(10)))),
      ),
    );
    await stores[round % 2]?.append(orders);
    for (const store of stores) {
      const { watermark } = await store.reach();
      watermarks.push(watermark);
      t.equal(watermark, (round + 1) * 40, 'whoever wrote the rows');
    }
  }
  const all = ordersOf(...Array.from({ length: 1200 }, (_, n) => n + 1));
  const [first] = stores;
  t.same(await first?.list(0, 1000), all.slice(0, 1000));
  t.same(await first?.list(1000, 1000), all.slice(1000));
  t.same(place.broken, []);
});

t.test('when two replicas log two orders for one sale, then one of them stops', async (t) => {
  for (let round = 0; round < 5; round += 1) {
    const place = createPlace(server.newDatabase);
    const [first, second] = [await openNew(t, place), await openNew(t, place)];
    const rivals = [ordersOf(1, 2), [orderOf(9, { sale: 2 }), orderOf(3)]];
    const [one, other] = await Promise.allSettled([
      first.append(rivals[0] ?? []),
      second.append(rivals[1] ?? []),
    ]);
    const kept = one.status === 'fulfilled' ? rivals[0] : rivals[1];
    const refused = one.status === 'fulfilled' ? other : one;
    t.match(refused, {
      status: 'rejected',
      reason: { name: 'StorageError', message: 'the order log: sale 2 would belong to two orders' },
    });
    t.equal(place.broken.length, 1);
    t.same(await differences(first, kept ?? []), []);
  }
});

t.test('when two catalogs are adopted at once, then the first one counts', async (t) => {
  const place = createPlace(server.newDatabase);
  const stores = [await openNew(t, place), await openNew(t, place)];
  const ids = ['3f2b1c00-1111-4222-8333-444455556666', '3f2b1c00-2222-4222-8333-444455556666'];
  await Promise.all(stores.map((store, index) => store.adoptCatalog(ids[index] ?? '')));
  const known = await Promise.all(stores.map((store) => store.catalogId()));
  t.equal(known[0], known[1]);
  t.ok(ids.includes(known[0] ?? ''));
});

t.test('when PostgreSQL is killed while orders come, then no logged one is lost', async (t) => {
  const other = await startPostgres();
  t.teardown(() => other.remove());
  const place = createPlace(other.newDatabase);
  const store = await openNew(t, place);
  const random = newRandom(t);
  const logged: LoggedOrder[] = [];
  let lastSale = 0;
  for (let round = 0; round < 3; round += 1) {
    const killAt = lastSale + 50 + random.integer(200);
    const end = lastSale + 400;
    let restarted: Promise<void> | undefined;
    async function log(): Promise<void> {
      while (lastSale < end) {
        const orders = Array.from({ length: 1 + random.integer(5) }, () => {
          lastSale += 1;
          return orderOf(lastSale);
        });
        if (lastSale >= killAt) restarted ??= other.kill().then(other.start);
        for (let count = 0; ; count += 1) {
          try {
            await store.append(orders);
            break;
          } catch (error) {
            t.match(error, { code: 'unavailable', nothingDone: false }, 'what was sold stays sold');
            if (count > 1000) throw error;
            await new Promise((resolve) => setTimeout(resolve, 10));
          }
        }
        logged.push(...orders);
        const newest = orders.at(-1);
        t.same(newest && (await store.find(newest.orderId).catch(() => newest)), newest);
      }
    }
    await Promise.all([1, 2, 3, 4].map(log));
    await restarted;
    const all = logged.toSorted((a, b) => a.sale - b.sale);
    t.same(await store.list(lastSale - 400, 1000), all.slice(lastSale - 400));
    t.same(await store.reach(), { watermark: lastSale, lastSale });
  }
});

t.test(
  'when the answer to a COMMIT is lost, then the orders are logged all the same',
  async (t) => {
    const direct = createPlace(server.newDatabase);
    const witness = await openNew(t, direct);
    const through = new URL(await direct.url());
    const line = await openLine(Number(through.port));
    t.teardown(() => line.close());
    through.port = String(line.port);
    const bounds = { silenceMs: 300 };
    const store = await createPlace(async () => through.href).open({ bounds });
    t.teardown(() => store.destroy());
    let losses = 1;
    line.onSent = (bytes) => {
      if (!bytes.includes('COMMIT') || losses === 0) return 'pass';
      losses -= 1;
      return 'swallow';
    };
    await store.append(ordersOf(1, 2));
    t.equal(losses, 0);
    t.same(await witness.reach(), { watermark: 2, lastSale: 2 });
    losses = Number.POSITIVE_INFINITY;
    await t.rejects(store.append(ordersOf(3)), { code: 'unavailable', nothingDone: false });
    losses = 0;
    await store.append(ordersOf(3));
    t.same(await differences(witness, ordersOf(1, 2, 3)), []);
  },
);

t.test('when the database is away, then no purchase is begun until it is back', async (t) => {
  const other = await startPostgres();
  t.teardown(() => other.remove());
  const place = createPlace(other.newDatabase);
  let time = 0;
  const store = await openNew(t, place, { monotonic: () => time });
  await store.append(ordersOf(1));
  await store.assertRoom();
  await other.stop();
  await t.rejects(store.find(orderOf(1).orderId), { code: 'unavailable', nothingDone: true });
  await t.rejects(store.assertRoom(), { code: 'unavailable' });
  await t.rejects(place.open(), { name: 'DatabaseError', message: /cannot be reached/ });
  await other.start();
  await t.rejects(store.assertRoom(), { code: 'unavailable' }, 'it is not asked all the time');
  time += 250;
  await store.assertRoom();
  t.same(await store.find(orderOf(1).orderId), orderOf(1));
  t.match(place.log.slice(-2), [/cannot be reached: purchases are refused/, /is there again/]);
});

t.test('when the database is full, then no purchase is begun until it has room', async (t) => {
  const place = createPlace(server.newDatabase);
  let time = 0;
  const store = await openNew(t, place, { monotonic: () => time });
  await store.append(ordersOf(1));
  const run = await keeperOf(t, place);
  await run(`CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql
    AS 'BEGIN RAISE EXCEPTION ''no space left on device'' USING ERRCODE = ''53100''; END'`);
  await run('CREATE TRIGGER full_disk BEFORE INSERT ON orders EXECUTE FUNCTION full_disk()');
  await run(`CREATE FUNCTION full_disk_too() RETURNS event_trigger LANGUAGE plpgsql
    AS 'BEGIN RAISE EXCEPTION ''no space left on device'' USING ERRCODE = ''53100''; END'`);
  await run(`CREATE EVENT TRIGGER full_disk_too ON ddl_command_start
    WHEN TAG IN ('CREATE TABLE AS') EXECUTE FUNCTION full_disk_too()`);
  const full = { code: 'storage_full', nothingDone: false };
  await t.rejects(store.append(ordersOf(2)), full, 'the sale was made');
  time += 250;
  await t.rejects(store.assertRoom(), full, 'a look finds none');
  t.same(await differences(store, ordersOf(1)), [], 'reads go on');
  await run('DROP EVENT TRIGGER full_disk_too');
  await t.rejects(store.assertRoom(), full);
  time += 250;
  await store.assertRoom();
  await run('DROP TRIGGER full_disk ON orders');
  await store.append(ordersOf(2));
  t.same(await differences(store, ordersOf(1, 2)), []);
});

t.test('when a keeper puts an older copy back, then the watermark follows it', async (t) => {
  const place = createPlace(server.newDatabase);
  const store = await openNew(t, place);
  await store.append(ordersOf(1, 2, 3, 4));
  t.same(await store.reach(), { watermark: 4, lastSale: 4 });
  await (await keeperOf(t, place))('DELETE FROM orders WHERE sale > 2');
  t.same(await store.reach(), { watermark: 2, lastSale: 2 });
});

t.test(
  'when rows are lost and others logged before anybody looks, then the hole is seen',
  async (t) => {
    const place = createPlace(server.newDatabase);
    const store = await openNew(t, place);
    await store.append(ordersOf(1, 2, 3, 4));
    t.same(await store.reach(), { watermark: 4, lastSale: 4 });
    await (await keeperOf(t, place))('DELETE FROM orders WHERE sale > 2');
    await store.append(ordersOf(5));
    t.same(await store.reach(), { watermark: 2, lastSale: 5 });
  },
);

t.test('when an order is there as another sale, then it is not passed over', async (t) => {
  const place = createPlace(server.newDatabase);
  const store = await openNew(t, place);
  const [first, second] = ordersOf(1, 2);
  if (first === undefined || second === undefined) throw new TypeError('there are two orders');
  await store.append([first]);
  await store.append([first]);
  await t.rejects(store.append([{ ...first, sale: 2 }]), /is there as sale 1, and was sold as/);
  await t.rejects(store.append([second, { ...first, itemId: 9 }]), { name: 'StorageError' });
  t.equal(place.broken.length, 2, 'the process has to stop');
  t.same(await store.reach(), { watermark: 1, lastSale: 1 }, 'and nothing of them was kept');
});

t.test('when a database is not the order log’s, then the start is refused', async (t) => {
  const place = createPlace(server.newDatabase);
  await (await place.open()).close();
  const run = await keeperOf(t, place);
  await run('UPDATE bazar_order_version SET version = 99 WHERE version = 1');
  await t.rejects(place.open(), {
    name: 'DatabaseError',
    message: /tables are of version 99, and/,
  });
  await run('UPDATE bazar_order_version SET version = 1 WHERE version = 99');
  await (await place.open()).close();
  await run('ALTER TABLE bazar_order_version RENAME TO bazar_catalog_version');
  await t.rejects(place.open(), {
    message: /belongs to the catalog service: give each a database/,
  });
});
