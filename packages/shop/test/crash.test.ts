import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { createRandom, type Random, readMeasure } from '@bazar/simulation';
import t, { type Test } from 'tap';
import { auditFiles } from '../src/conservation.js';
import { launchShop, type Shop } from '../src/index.js';
import { ask, askForSure, forEachOf } from './crash/ask.js';
import { interview, readFiles } from './crash/holdings.js';
import { killAndRestart, startAgain } from './crash/killer.js';
import { breaches, type Evidence } from './crash/law.js';
import { startLoad } from './crash/load.js';
import { createTestimony, hear, type Testimony, type Told } from './crash/testimony.js';
import { newDatabases, type Store, stores } from './stores.js';

// Kills are real, so a seed repeats what is asked and who is killed, not every moment of it.
const seed = process.env['SEED'] ?? randomUUID();
const kills = readMeasure('KILLS', process.env['KILLS'], 60);
const rounds = readMeasure('ROUNDS', process.env['ROUNDS'], 20);

async function open(t: Test, dataDir: string, store: Store): Promise<Shop> {
  const databases = await newDatabases(store);
  const shop = await launchShop({ dataDir, databases, env: { LOG_LEVEL: 'error' } });
  t.teardown(() => shop.kill());
  return shop;
}

/** Buys what is left of a book: so some want one in vain, however fast the keeper was. */
async function buyUp(shop: Shop, testimony: Testimony, random: Random, itemId: number) {
  const request = `POST ${shop.urls.gateway}/purchase/${itemId}`;
  for (let isSoldOut = false; !isSoldOut; ) {
    const keys = Array.from({ length: 32 }, () => random.uuid());
    await forEachOf(keys, keys.length, async (key) => {
      testimony.attempted.set(key, itemId);
      hear(testimony, key, await askForSure({ request, key }));
      isSoldOut ||= testimony.told.get(key)?.[0]?.result === 'sold_out';
    });
  }
}

/** Every buyer asks again, and is told the same. */
async function repeat(t: Test, shop: Shop, testimony: Testimony, keys: readonly string[]) {
  let replayed = 0;
  await forEachOf(keys, 32, async (key) => {
    const request = `POST ${shop.urls.gateway}/purchase/${testimony.attempted.get(key)}`;
    const answer = await askForSure({ request, key });
    hear(testimony, key, answer);
    if (answer.headers.has('idempotency-replayed')) replayed += 1;
  });
  t.equal(replayed, keys.length, 'a repeat is called one');
}

const balance = { balanced: true, pending: 0, differences: [] };

interface Suspect {
  readonly shop: Shop;
  readonly store: Store;
  readonly dataDir: string;
}

/** Nothing speaks against the shop: neither what it says, nor the files that it leaves behind. */
async function isHonest(t: Test, { shop, store, dataDir }: Suspect, testimony: Testimony) {
  const folders = { catalog: dataDir, order: dataDir };
  const shown = await interview(shop);
  t.match(shown.audit, balance);
  t.same(breaches({ testimony, ...shown }), [], 'over HTTP');
  const exits = await shop.stop();
  t.same(
    [...exits.values()].map(({ code }) => code),
    [0, 0, 0],
  );
  if (store !== 'files') return shown;
  const written = readFiles(folders);
  t.same(breaches({ testimony, ...written }), [], 'in the files');
  t.same(written.left, shown.left, 'catalog_data.csv shows what /info showed');
  const found = await auditFiles(folders);
  t.match(found, { audit: balance, contradiction: undefined, notes: [] });
  return written;
}

t.test('when services are killed amid sales, then the promise is kept', async (t) => {
  const store = 'files';
  const random = createRandom(seed);
  const dataDir = t.testdir();
  const shop = await open(t, dataDir, store);
  const testimony = createTestimony();
  const failing = new AbortController();
  t.teardown(() => failing.abort());
  const load = startLoad({
    urls: shop.urls,
    random: random.fork('load'),
    testimony,
    buyers: 24,
    giveUp: failing.signal,
  });
  const counts = await killAndRestart({
    shop,
    dataDir,
    random: random.fork('killer'),
    kills,
    answered: () => load.answered,
  });
  await load.stop();
  await shop.kill();
  const files = await auditFiles({ catalog: dataDir, order: dataDir });
  t.match(files, { audit: { balanced: true }, contradiction: undefined }, 'as they were left');

  await Promise.all([startAgain(shop.service('catalog')), startAgain(shop.service('order'))]);
  await startAgain(shop.service('gateway'));
  await shop.ready();
  await buyUp(shop, testimony, random.fork('last copies'), 2);
  await repeat(t, shop, testimony, random.shuffle([...testimony.told.keys()]).slice(0, 2000));
  const written = await isHonest(t, { shop, store, dataDir }, testimony);
  const sold = written.log.length;
  const soldOut = [...testimony.told.values()].filter(([told]) => told?.result === 'sold_out');
  t.ok(sold > 0 && soldOut.length > 0, 'some copies were sold, and some wanted in vain');
  t.comment(`SEED=${seed} kills: ${JSON.stringify(counts)}`);
  t.comment(
    `${testimony.attempted.size} keys, ${testimony.told.size} answered, ${sold} copies sold, ` +
      `${soldOut.length} buyers sold out`,
  );
});

for (const store of stores) {
  t.test(`when 500 buyers want the last copy in ${store}, then exactly one gets it`, async (t) => {
    const dataDir = t.testdir();
    const shop = await open(t, dataDir, store);
    const testimony = createTestimony();
    await askForSure({ request: `POST ${shop.urls.catalog}/update/1`, body: { quantity: 0 } });
    testimony.stocked.set(1, 0);
    const sellers: number[] = [];
    for (let round = 0; round < rounds; round += 1) {
      const body = { quantity_delta: 1 };
      await askForSure({ request: `POST ${shop.urls.catalog}/update/1`, body });
      testimony.stocked.set(1, round + 1);
      const keys = Array.from({ length: 500 }, () => randomUUID());
      await forEachOf(keys, keys.length, async (key) => {
        testimony.attempted.set(key, 1);
        hear(testimony, key, await ask({ request: `POST ${shop.urls.gateway}/purchase/1`, key }));
      });
      sellers.push(keys.filter((key) => testimony.told.get(key)?.[0]?.result === 'sold').length);
    }
    t.same(sellers, Array(rounds).fill(1), 'one buyer a round');
    await isHonest(t, { shop, store, dataDir }, testimony);
    t.comment(`${rounds} rounds of 500 buyers`);
  });

  t.test(
    `when one key is sent 50 times amid kills, then it is one order in ${store}`,
    async (t) => {
      const random = createRandom(seed).fork('one key');
      const dataDir = t.testdir();
      const shop = await open(t, dataDir, store);
      const testimony = createTestimony();
      // Of book 2 there are two copies: the keys that come third and later are sold out.
      const books = [2, 1, 3, 2, 1, 2];
      for (const itemId of books) {
        const key = random.uuid();
        testimony.attempted.set(key, itemId);
        const request = `POST ${shop.urls.gateway}/purchase/${itemId}`;
        const waiting = Array.from({ length: 50 }, async (_, index) => {
          await sleep(index * random.integer(8));
          hear(testimony, key, await askForSure({ request, key }));
        });
        await sleep(random.integer(200));
        const victims = random.shuffle(['catalog', 'order', 'gateway'] as const).slice(0, 2);
        await Promise.all(victims.map((name) => shop.service(name).kill()));
        await Promise.all(victims.map((name) => startAgain(shop.service(name))));
        await Promise.all(waiting);
        const other = `POST ${shop.urls.gateway}/purchase/${itemId === 4 ? 1 : 4}`;
        t.match(await askForSure({ request: other, key }), {
          status: 422,
          body: { code: 'key_reused' },
        });
        t.equal(testimony.told.get(key)?.length, 50, 'everybody was answered');
      }
      const { log } = await isHonest(t, { shop, store, dataDir }, testimony);
      t.equal(log.length, 5, 'two copies of book 2, and all else that was wanted');
    },
  );
}

t.test('when evidence is doctored, then the checker says so', async (t) => {
  const order = { orderId: 'a', itemId: 2, title: 'RPCs', price: 50, timestamp: 'now' };
  const sold = { result: 'sold', order } as const;
  const soldOut = { result: 'sold_out' } as const;
  const honest = (): Evidence => ({
    testimony: {
      attempted: new Map([
        ['a', 2],
        ['b', 2],
        ['c', 2],
      ]),
      told: new Map<string, Told[]>([
        ['a', [sold, sold]],
        ['b', [soldOut]],
      ]),
      stocked: new Map([[2, 3]]),
      surprises: [],
    },
    log: [
      { ...order, sale: 1 },
      { ...order, orderId: 'c', sale: 2 },
    ],
    left: new Map([[2, 1]]),
  });
  t.same(breaches(honest()), []);
  const row = { ...order, sale: 3 };
  const doctored: [says: string, doctor: (evidence: Evidence) => Partial<Evidence>][] = [
    ['order a is acknowledged, but not logged', ({ log }) => ({ log: log.slice(1) })],
    [
      'order a is logged as another',
      ({ log }) => ({ log: log.map((logged) => ({ ...logged, price: 49 })) }),
    ],
    [
      'order b is logged, but its buyer was refused',
      ({ log }) => ({ log: [...log, { ...row, orderId: 'b' }] }),
    ],
    [
      'order d of book 2 was asked for by nobody',
      ({ log }) => ({ log: [...log, { ...row, orderId: 'd' }] }),
    ],
    ['order a is logged twice', ({ log }) => ({ log: [...log, row] })],
    [
      'sale 1 stands where 2 should',
      ({ log }) => ({ log: log.map((logged) => ({ ...logged, sale: 1 })) }),
    ],
    [
      'sale 3 stands where 2 should',
      ({ log }) => ({ log: log.map((logged) => ({ ...logged, sale: logged.sale * 2 - 1 })) }),
    ],
    ['book 2: 3 stocked, 2 left, 2 sold', () => ({ left: new Map([[2, 2]]) })],
    [
      'book 2 is oversold: 2 of 1',
      ({ testimony }) => ({ testimony: { ...testimony, stocked: new Map([[2, 1]]) } }),
    ],
    [
      'key a got two different answers',
      ({ testimony }) => ({
        testimony: { ...testimony, told: new Map([['a', [sold, soldOut]]]) },
      }),
    ],
    [
      'purchase a: 404 null',
      ({ testimony }) => {
        hear(testimony, 'a', { status: 404, headers: new Headers(), body: null });
        return { testimony };
      },
    ],
  ];
  for (const [says, doctor] of doctored) {
    const evidence = honest();
    const found = breaches({ ...evidence, ...doctor(evidence) });
    t.ok(found.includes(says), `${says}: ${found.join('; ')}`);
  }
});
