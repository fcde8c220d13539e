import { randomUUID } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createDisk, createProcess, createRandom, readMeasure } from '@bazar/simulation';
import { StorageError } from '@bazar/storage';
import t, { type Test } from 'tap';
import { auditFiles } from '../src/conservation.js';
import { StartError } from '../src/index.js';
import { createShop } from '../src/launch.js';
import { ask, field } from './crash/ask.js';
import { interview } from './crash/holdings.js';
import { anyDamage, type Damage } from './damage/damages.js';
import { type Build, type Files, layDown, type State } from './damage/life.js';
import { makePast, type Past } from './damage/past.js';
import { type Ending, isPlaceNamed, judge, startDamaged } from './damage/verdict.js';

// The files of a stopped or killed shop are damaged in any way that a disk, or somebody with a
// backup, can think of. SEED=… repeats a run; DAMAGES=… sets how many there are.
const seed = process.env['SEED'] ?? randomUUID();
const damages = readMeasure('DAMAGES', process.env['DAMAGES'], 300);
const damagesPerPast = 25;
/** A real start takes a second, and one in process a hundredth of that. */
const realStarts = Math.min(100, Math.ceil(damages / 100));

interface Case {
  readonly past: Past;
  readonly damage: Damage;
  readonly seed: string;
}

/** Shop after shop, each damaged many times. */
async function* damagedShops(count: number): AsyncGenerator<Case> {
  const random = createRandom(seed);
  let stranger = await makePast(random.fork('stranger'));
  for (let made = 0; made < count; ) {
    const past = await makePast(random.fork(`past ${made}`));
    for (let one = 0; one < damagesPerPast && made < count; one += 1, made += 1) {
      const draws = random.fork(`damage ${made}`);
      yield { past, damage: anyDamage(draws, past, stranger), seed: draws.seed };
    }
    stranger = past;
  }
}

function add(counts: Record<string, number>, name: string): void {
  counts[name] = (counts[name] ?? 0) + 1;
}

/** What the audit of the stopped shop makes of the same files: `refused`, or whether it balances. */
async function auditOf({ damage, seed }: Case): Promise<'refused' | boolean> {
  const disk = createDisk({ random: createRandom(seed) }).disk(createProcess('auditor'));
  await layDown(disk, damage.files);
  try {
    const found = await auditFiles({ catalog: '/catalog', order: '/order' }, disk);
    return found.contradiction === undefined ? found.audit.balanced : 'refused';
  } catch (error) {
    if (error instanceof StorageError) return 'refused';
    throw error;
  }
}

t.test('when any file is damaged, then the shop is exact, or says where it is not', async (t) => {
  const counts: Record<string, number> = {};
  const broken: string[] = [];
  let audits = 0;
  for await (const one of damagedShops(damages)) {
    const { past, damage } = one;
    const ending = await startDamaged(damage, createRandom(one.seed));
    const judged = judge(past, damage, ending);
    const isBroken = typeof judged === 'string';
    add(counts, isBroken ? 'broken' : `${damage.target}: ${judged.verdict}`);
    const where = `${one.seed} (${past.ending}), ${damage.what}`;
    if (isBroken) broken.push(`${where}: ${judged}`);
    // What is not there at all is refused by an audit, where a start begins anew or makes up for it.
    if (damage.kind === 'remove' || audits >= damages / 4) continue;
    audits += 1;
    const audited = await auditOf(one);
    const expected = ending.kind === 'refused' ? 'refused' : true;
    if (audited !== expected) broken.push(`${where}: ${ending.kind}, but the audit: ${audited}`);
  }
  t.same(broken.slice(0, 10), []);
  t.comment(`SEED=${seed} DAMAGES=${damages} audits: ${audits}`);
  t.comment(JSON.stringify(Object.fromEntries(Object.entries(counts).sort())));
});

function writeFiles(folder: string, files: Files): void {
  for (const name of ['catalog', 'order']) mkdirSync(join(folder, name), { recursive: true });
  for (const [path, bytes] of files) writeFileSync(join(folder, path), bytes);
}

/** What a start comes to, as far as it shows over HTTP. */
type Shown = 'refused' | { readonly log: unknown; readonly totals: unknown };

function shownBy(ending: Ending): Shown {
  if (ending.kind === 'refused') return 'refused';
  const { log, stocks } = ending.state;
  const totals = stocks.map(({ id: item_id, quantity: remaining, stocked, sold }) => {
    return { item_id, stocked, remaining, sold };
  });
  return { log, totals };
}

/** Starts real services on the files, and interviews those that open. */
async function startReally(t: Test, { files }: Damage): Promise<Shown> {
  const folder = t.testdir();
  writeFiles(folder, files);
  const lines: string[] = [];
  const shop = createShop({
    dataDir: folder,
    dataDirs: { catalog: join(folder, 'catalog'), order: join(folder, 'order') },
    env: { LOG_LEVEL: 'info' },
    onLine: (_service, line) => lines.push(line),
  });
  t.teardown(() => shop.kill());
  try {
    await shop.start();
    const { log, audit } = await interview(shop);
    t.match(audit, { balanced: true, pending: 0 });
    const { body } = await ask({ request: `GET ${shop.urls.catalog}/totals?limit=1000` });
    return { log, totals: field(body, 'books') };
  } catch (error) {
    if (!(error instanceof StartError)) throw error;
    const sentences = [error.message, ...lines].join('\n');
    t.ok(isPlaceNamed(sentences), sentences);
    return 'refused';
  } finally {
    await shop.stop();
  }
}

t.test('when real services start on damaged files, then they end likewise', async (t) => {
  const every = Math.ceil(damages / realStarts);
  let number = 0;
  const counts: Record<string, number> = {};
  for await (const { damage, seed } of damagedShops(damages)) {
    number += 1;
    if (number % every !== 0) continue;
    await t.test(`${seed}, ${damage.what}`, async (t) => {
      const expected = shownBy(await startDamaged(damage, createRandom(seed)));
      add(counts, expected === 'refused' ? 'refused' : 'opened');
      t.same(await startReally(t, damage), expected);
    });
  }
  t.comment(`SEED=${seed} real starts: ${JSON.stringify(counts)}`);
});

t.test('when a shop trusts its files, then it is caught', async (t) => {
  // It believes every feed, whatever the log knows better.
  const trusting: Build = {
    async readFeed(feed, orders) {
      const { lastSale } = await orders.reach();
      const operations = [];
      for (const operation of feed.operations) {
        const orderId = (await orders.ordersOfSales([operation.sale])).get(operation.sale);
        operations.push({ ...operation, operation_id: orderId ?? operation.operation_id });
      }
      return {
        catalog_id: (await orders.catalogId()) ?? feed.catalog_id,
        first_sale: 1,
        last_sale: Math.max(lastSale, feed.last_sale),
        operations,
      };
    },
  };
  const counts = { caught: 0, honest: 0 };
  for await (const { past, damage, seed } of damagedShops(1000)) {
    const ending = await startDamaged(damage, createRandom(seed), trusting);
    if (typeof judge(past, damage, ending) === 'string') counts.caught += 1;
    if (counts.caught === 5) break;
  }
  t.equal(counts.caught, 5);
});

t.test('when an ending is doctored, then the judge says so', async (t) => {
  const random = createRandom(seed);
  for (let round = 0; ; round += 1) {
    const past = await makePast(random.fork(`doctored ${round}`));
    const { truth, acknowledged } = past;
    const [stock, ...stocks] = truth.stocks;
    const last = truth.log.at(-1);
    if (stock === undefined || last === undefined || !acknowledged.has(last.orderId)) continue;
    const log = truth.log.slice(0, -1);
    const one = { ...stock, quantity: stock.quantity + 1 };
    const judged = (state: Partial<State>, target: Damage['target'], lines: string[] = []) => {
      const damage: Damage = { what: '', kind: 'flip', target, files: past.files };
      return judge(past, damage, { kind: 'opened', state: { ...truth, ...state }, lines });
    };
    const restocked = { stocks: [{ ...one, stocked: stock.stocked + 1 }, ...stocks] };
    t.same(judged({}, 'log'), { verdict: 'exact' });
    t.match(judged({ stocks: [one, ...stocks] }, 'data'), /stocked is not the sum/);
    t.match(judged({ log }, 'log'), /sold, but \d+ logged/);
    t.match(judged(restocked, 'image'), /differs silently/);
    t.match(judged(restocked, 'data'), /book 1 differs silently/);
    t.same(judged(restocked, 'data', ['adopted: book 1: stock +1']), { verdict: 'edited' });
    const sold = truth.stocks.map((each) =>
      each.id === last.itemId ? { ...each, sold: each.sold - 1, stocked: each.stocked - 1 } : each,
    );
    t.match(judged({ log, stocks: sold }, 'journal'), /acknowledged, and is lost/);
    const renamed = [...log, { ...last, price: last.price + 1 }];
    t.match(judged({ log: renamed }, 'log'), /order [0-9a-f-]+ is new/);
    const refused = judge(
      past,
      { what: '', kind: 'flip', target: 'log', files: past.files },
      { kind: 'refused', sentence: 'something is wrong' },
    );
    t.match(refused, /without naming a place/);
    return;
  }
});
