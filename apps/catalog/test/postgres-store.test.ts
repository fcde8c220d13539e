import { EventEmitter, once } from 'node:events';
import type { Failure } from '@bazar/contracts';
import { connectDatabase } from '@bazar/postgres';
import { createRandom } from '@bazar/simulation';
import { openLine } from '@bazar/simulation/line';
import { startPostgres } from '@bazar/simulation/postgres';
import t, { type Test } from 'tap';
import { createCatalog } from '../src/catalog.js';
import { withoutGateways } from '../src/leases.js';
import type { CatalogStore, Operation } from '../src/store.js';
import { idOf } from './ids.js';
import { lawBreaches, readLedger } from './law.js';
import { createPlace, type PostgresPlace } from './postgres-place.js';
import { differences, follow, putLoad } from './replica-load.js';
import { sale, storeSuite } from './store-suite.js';

const server = await startPostgres();
t.teardown(() => server.remove());

function newRandom(t: Test) {
  const seed = process.env['SEED'] ?? String(Date.now() % 2 ** 31);
  t.comment(`SEED=${seed}`);
  return createRandom(seed);
}

/** Two replicas on a new database. */
async function openTwo(t: Test, place: PostgresPlace = createPlace(server.newDatabase)) {
  const stores = [await place.open(), await place.open()] as const;
  t.teardown(() => Promise.all(stores.map((store) => store.close())));
  return stores;
}

/** A statement that is put together: a name cannot be a value. */
function words(text: string): TemplateStringsArray {
  return Object.assign([text], { raw: [text] });
}

t.test('the PostgreSQL store is a store', async (t) => {
  storeSuite(t, () => createPlace(server.newDatabase));
});

t.test('when two replicas start on an empty database, then it is one shop', async (t) => {
  const place = createPlace(server.newDatabase);
  const stores = await Promise.all([1, 2, 3].map(() => place.open()));
  const feeds = await Promise.all(stores.map((store) => store.operations(0, 1)));
  t.equal(new Set(feeds.map(({ catalogId }) => catalogId)).size, 1);
  for (const store of stores) {
    t.equal((await store.totals(-1, 10)).books.length, 4);
    await store.close();
  }
  t.equal(place.log.filter((line) => line.includes('4 books are laid down')).length, 1);
});

t.test('when two replicas sell at once, then together they are one catalog', async (t) => {
  const stores = await openTwo(t);
  const reader = stores[1];
  let isOver = false;
  const missed = follow(
    async (after) => (await reader.operations(after, 50)).operations.map((each) => each.sale),
    () => isOver,
  );
  const told = await putLoad({ stores, random: newRandom(t), callers: 3, batches: 40 });
  isOver = true;
  t.same(await missed, [], 'the feed is never ahead of a number that is still to come');
  t.same(told.contradictions, []);
  t.equal(told.failures, 0);
  t.same(await differences(stores[0], told), []);
  t.same(lawBreaches(await readLedger(stores[0], 1000)), []);
  t.ok([...told.outcomes.values()].filter(({ result }) => result === 'sold').length > 100);
});

t.test(
  'when buyers of different books meet only at the numbers, then none is stepped over',
  async (t) => {
    const stores = await openTwo(t);
    for (const id of [1, 2, 3, 4]) {
      await stores[0].apply([
        { id: idOf(id), kind: 'change', itemId: id, change: { quantity: 1_000_000 } },
      ]);
    }
    let isOver = false;
    const missed = follow(
      async (after) => (await stores[0].operations(after, 50)).operations.map((each) => each.sale),
      () => isOver,
    );
    const random = newRandom(t);
    async function buy(itemId: number): Promise<void> {
      for (let batch = 0; batch < 150; batch += 1) {
        const operations = Array.from({ length: 1 + random.integer(3) }, (): Operation => {
          return { id: random.uuid(), kind: 'sale', itemId };
        });
        await stores[itemId % 2]?.apply(operations);
      }
    }
    await Promise.all([1, 2, 3, 4].map(buy));
    isOver = true;
    t.same(await missed, []);
    t.same(lawBreaches(await readLedger(stores[0], 1000)), []);
  },
);

t.test('when numbers are taken before the last statement, then a reader loses some', async (t) => {
  const database = connectDatabase(await server.newDatabase(), { name: 'test' });
  t.teardown(() => database.close());
  const random = newRandom(t);
  await database.read((sql) => sql`CREATE TABLE sales (sale serial PRIMARY KEY)`);
  let isOver = false;
  const missed = follow(
    async (after) => {
      const rows = await database.read(
        (sql) => sql<{ sale: number }>`SELECT sale FROM sales WHERE sale > ${after} ORDER BY sale`,
      );
      return rows.map((row) => row.sale);
    },
    () => isOver,
  );
  async function sell(delays: typeof random): Promise<void> {
    for (let count = 0; count < 30; count += 1) {
      await database.transaction(async (sql) => {
        await sql`INSERT INTO sales DEFAULT VALUES`;
        await sql`SELECT pg_sleep(${delays.between(0, 0.01)}::double precision)`;
      });
    }
  }
  await Promise.all([1, 2, 3, 4].map((n) => sell(random.fork(String(n)))));
  isOver = true;
  t.not((await missed).length, 0, 'which the check above would have shown');
});

t.test('when another replica sells, then whoever waits for a sale hears of it', async (t) => {
  const [here, there] = await openTwo(t);
  /** How many timers are running and looks under way. */
  let busy = 0;
  function openCatalog(store: CatalogStore) {
    const catalog = createCatalog({
      store,
      leases: withoutGateways,
      after(ms, run) {
        // Nobody's time is ever up: whoever waits hears of a sale, or waits for ever.
        if (ms > 1000) return () => {};
        busy += 1;
        setTimeout(() => {
          run();
          busy -= 1;
        }, ms);
        return () => {};
      },
    });
    t.teardown(catalog.hurry);
    return catalog;
  }
  const catalog = openCatalog({
    ...here,
    async lastSale() {
      busy += 1;
      return here.lastSale().finally(() => {
        busy -= 1;
      });
    },
  });
  const polls = [0, 0, 1].map((after) => catalog.operations(after, 10, 60_000));
  // As if replicas of one database did not look what the others sell.
  const { lastSale: _, ...rest } = here;
  const looked = new EventEmitter();
  const deaf: CatalogStore = {
    ...rest,
    async operations(after, limit) {
      const feed = await here.operations(after, limit);
      looked.emit('feed', feed);
      return feed;
    },
  };
  let isHeard = false;
  const deafly = openCatalog(deaf).operations(0, 10, 60_000);
  deafly.then(() => {
    isHeard = true;
  });
  // What is sold before it waits it would find by itself.
  t.match(await once(looked, 'feed'), [{ lastSale: 0 }]);
  await there.apply([sale(1, 1)]);
  for (const poll of polls.slice(0, 2)) {
    t.match(await poll, { lastSale: 1, operations: [{ sale: 1, itemId: 1 }] });
  }
  await there.apply([sale(2, 1)]);
  t.match(await polls[2], { lastSale: 2, operations: [{ sale: 2 }] }, 'the sale it waits for');
  while (busy > 0) await new Promise((resolve) => setTimeout(resolve, 1));
  t.pass('nobody looks where nobody waits');
  t.notOk(isHeard, 'without a look nobody hears of it');
});

t.test('when one id goes to two replicas, then one of them decides', async (t) => {
  const stores = await openTwo(t);
  const [first, second] = stores;
  await first.apply([{ id: idOf(9999), kind: 'change', itemId: 1, change: { quantity: 500 } }]);
  await first.apply([{ id: idOf(9998), kind: 'change', itemId: 4, change: { quantity: 500 } }]);
  const codes = new Map<string, number>();
  for (let n = 1; n <= 60; n += 1) {
    // For the same book, for different ones, and for an addition, among others of the same batch.
    const book = { title: 'A', topic: 'b', quantity: 1, price: 1 };
    const rival: Operation =
      n % 3 === 0 ? sale(n, 1) : n % 3 === 1 ? sale(n, 4) : { id: idOf(n), kind: 'addition', book };
    const [here = [], there = []] = await Promise.all([
      first.apply([sale(n, n % 3 === 2 ? 4 : 1), sale(n + 1000, 1)]),
      second.apply([sale(n + 2000, 4), rival]),
    ]);
    t.match([here[1], there[0]], [{ result: 'sold' }, { result: 'sold' }]);
    const results = [here[0], there[1]].map((outcome) =>
      outcome?.result === 'failed' ? outcome.failure.code : `${outcome?.result}`,
    );
    const kind = n % 3 === 0 ? 'same' : 'different';
    codes.set(`${kind}: ${results.sort()}`, (codes.get(`${kind}: ${results.sort()}`) ?? 0) + 1);
    if (n % 3 !== 0) continue;
    t.same({ ...here[0], replayed: true }, { ...there[1], replayed: true }, 'one answer for both');
  }
  const kinds = [...codes.keys()].sort();
  t.ok(
    kinds.every((kind) => /^(same: sold,sold|different: (added|key_reused|sold),.*)$/.test(kind)),
    kinds.join('; '),
  );
  t.notOk(kinds.some((kind) => /different: (sold,sold|added,sold|added,added)/.test(kind)));
  t.same(lawBreaches(await readLedger(first, 1000)), []);
});

t.test('when PostgreSQL is killed under load, then nothing acknowledged is lost', async (t) => {
  const other = await startPostgres();
  t.teardown(() => other.remove());
  const place = createPlace(other.newDatabase);
  const stores = [await place.open(), await place.open()];
  const random = newRandom(t);
  for (let round = 0; round < 3; round += 1) {
    const killAt = 20 + random.integer(60);
    let batches = 0;
    let restarted: Promise<void> | undefined;
    const told = await putLoad({
      stores,
      random: random.fork(`round ${round}`),
      callers: 3,
      batches: 40,
      onBatch() {
        batches += 1;
        if (batches === killAt) restarted = other.kill().then(other.start);
      },
    });
    await restarted;
    t.comment(`${told.outcomes.size} outcomes, ${told.failures} failures, ${told.unknown} unknown`);
    t.same(told.contradictions, []);
    const store = await place.open();
    t.same(await differences(store, told), [], 'every answer is given again');
    // What nobody was told of is found out by asking again, under the same id.
    await store.apply([...told.operations.values()]);
    t.same(await differences(store, told), []);
    t.same(lawBreaches(await readLedger(store, 1000)), []);
    await store.close();
  }
  for (const store of stores) await store.close();
});

t.test('when the line breaks amid a commit, then the batch is found or done again', async (t) => {
  const direct = createPlace(server.newDatabase);
  const witness = await direct.open();
  t.teardown(() => witness.close());
  const through = new URL(await direct.url());
  const line = await openLine(Number(through.port));
  t.teardown(() => line.close());
  through.port = String(line.port);
  const store = await createPlace(async () => through.href).open({ bounds: { silenceMs: 400 } });
  t.teardown(() => store.destroy());
  let n = 0;
  async function sellDuring(fault: (commits: number) => 'pass' | 'swallow') {
    let commits = 0;
    line.onSent = (bytes) => {
      if (!bytes.includes('COMMIT')) return 'pass';
      commits += 1;
      return fault(commits);
    };
    n += 1;
    const outcome = await store.apply([sale(n, 1), sale(n + 100, 4)]).catch((error) => error);
    line.onSent = () => 'pass';
    return outcome;
  }
  const faults: Record<string, (commits: number) => 'pass' | 'swallow'> = {
    'the answer is lost': (commits) => (commits === 1 ? 'swallow' : 'pass'),
    'the answer is lost with the line'(commits) {
      if (commits > 1) return 'pass';
      setTimeout(() => line.cut(), 50);
      return 'swallow';
    },
    'the COMMIT is lost'(commits) {
      if (commits === 1) line.cut();
      return 'pass';
    },
    'it is lost three times'(commits) {
      if (commits <= 3) line.cut();
      return 'pass';
    },
  };
  for (const [name, fault] of Object.entries(faults)) {
    const { lastSale } = await witness.operations(0, 1);
    t.match(
      await sellDuring(fault),
      [
        { result: 'sold', sale: lastSale + 1 },
        { result: 'sold', sale: lastSale + 2 },
      ],
      name,
    );
    t.match(await witness.operations(0, 1), { lastSale: lastSale + 2 }, `${name}: once`);
  }
  const lost = await sellDuring(() => 'swallow');
  t.match(lost, { code: 'unavailable', nothingDone: false }, 'a line that stays dead is unknown');
  t.match(await store.apply([sale(n, 1), sale(n + 100, 4)]), [
    { result: 'sold', sale: 2 * n - 1, replayed: true },
    { result: 'sold', sale: 2 * n, replayed: true },
  ]);
  t.same(lawBreaches(await readLedger(witness, 1000)), []);
});

t.test('when the database is away, then that is told; when it is back, it sells', async (t) => {
  const other = await startPostgres();
  t.teardown(() => other.remove());
  const place = createPlace(other.newDatabase);
  const store = await place.open();
  t.equal(await store.health(), 'ok');
  t.match(await store.apply([sale(1, 1)]), [{ result: 'sold', sale: 1 }]);
  await other.stop();
  t.match(await store.health(), { code: 'unavailable' });
  await t.rejects(store.apply([sale(2, 1)]), { code: 'unavailable', nothingDone: true });
  await t.rejects(store.book(1), { code: 'unavailable' });
  await t.rejects(place.open(), { name: 'DatabaseError', message: /cannot be reached/ });
  const starting = place.open({ patienceMs: 10_000 });
  await other.start();
  t.match(await store.apply([sale(2, 1)]), [{ result: 'sold', sale: 2, replayed: false }]);
  t.equal(await store.health(), 'ok');
  const late = await starting;
  t.match(await late.apply([sale(3, 1)]), [{ result: 'sold', sale: 3 }]);
  await Promise.all([store.close(), late.close()]);
});

t.test('when more books are asked for than may wait, then the others are refused', async (t) => {
  const [store] = await openTwo(t);
  const asked = Array.from({ length: 20_010 }, () => store.book(1));
  const codes = await Promise.all(
    asked.map((answer) => answer.then(() => 'shown').catch((failure: Failure) => failure.code)),
  );
  t.same(codes.slice(-10), Array(10).fill('overloaded'));
  t.equal(codes.filter((code) => code === 'shown').length, 20_000);
});

t.test('when a database is not the catalog’s, then the start is refused', async (t) => {
  const place = createPlace(server.newDatabase);
  await (await place.open()).close();
  const database = connectDatabase(await place.url(), { name: 'test' });
  t.teardown(() => database.close());
  const run = (text: string) => database.read((sql) => sql(words(text)));
  await run(`UPDATE bazar_catalog_version SET version = 99 WHERE version = 1`);
  const newer = { name: 'DatabaseError', message: /tables are of version 99, and this program/ };
  await t.rejects(place.open(), newer);
  await run(`UPDATE bazar_catalog_version SET version = 1 WHERE version = 99`);
  await (await place.open()).close();
  await run('ALTER TABLE bazar_catalog_version RENAME TO bazar_order_version');
  await t.rejects(place.open(), { name: 'DatabaseError', message: /belongs to the order service/ });
});

t.test('when outcomes are old, then they are forgotten, but no sale not logged yet', async (t) => {
  const place = createPlace(server.newDatabase);
  const store = await place.open({ retention: { outcomes: 100, ageMs: 0 }, now: createSteps() });
  t.teardown(() => store.close());
  await store.apply([sale(1, 2), sale(2, 2), sale(3, 3), sale(4, 3)]);
  t.match(await store.operations(2, 10), { firstSale: 1, lastSale: 4 }, 'logged up to 2');
  for (let batch = 0; batch < 5; batch += 1) {
    await store.apply(Array.from({ length: 600 }, (_, n) => sale(1000 + batch * 600 + n, 2)));
  }
  const feed = await waitFor(
    () => store.operations(2, 10),
    ({ firstSale }) => firstSale === 3,
  );
  t.match(feed, { firstSale: 3, lastSale: 4, operations: [{ sale: 3 }, { sale: 4 }] });
  t.match(await store.apply([sale(3, 3)]), [{ result: 'sold', sale: 3, replayed: true }]);
  t.match(await store.apply([sale(1000 + 2999, 2)]), [{ result: 'sold_out', replayed: true }]);
  t.match(await store.apply([sale(1000, 2)]), [{ result: 'sold_out', replayed: false }]);
  t.match((await store.totals(1, 1)).books, [{ id: 2, stocked: 2, quantity: 0, sold: 2 }]);
});

/** A clock on which each look is a millisecond later. */
function createSteps() {
  let time = Date.UTC(2025, 4, 17);
  return () => {
    time += 1;
    return time;
  };
}

/** What is done beside the answers is there soon. */
async function waitFor<Result>(
  look: () => Promise<Result>,
  isRight: (result: Result) => boolean,
): Promise<Result> {
  for (let count = 0; ; count += 1) {
    const result = await look();
    if (isRight(result) || count === 200) return result;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
