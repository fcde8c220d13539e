import { randomUUID } from 'node:crypto';
import { appendFileSync, cpSync, existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { crc32 } from 'node:zlib';
import { openCatalogTarget } from '@bazar/catalog';
import { openOrderTarget } from '@bazar/order';
import { connectDatabase, type Database } from '@bazar/postgres';
import { createRandom, readMeasure } from '@bazar/simulation';
import { startPostgres } from '@bazar/simulation/postgres';
import t, { type Test } from 'tap';
import { createShop, launchShop, type Shop } from '../src/launch.js';
import { type Answer, ask, field } from './crash/ask.js';
import { contents, layDown } from './move/files.js';
import {
  environmentOf,
  type Moved,
  move,
  newPair,
  type Pair,
  reaches,
  startMove,
} from './move/mover.js';

const seed = process.env['SEED'] ?? String(Date.now());
t.comment(`SEED=${seed}`);
const random = createRandom(seed);
const orders = readMeasure('MOVED_ORDERS', process.env['MOVED_ORDERS'], 20_000);
const books = readMeasure('MOVED_BOOKS', process.env['MOVED_BOOKS'], 2000);

const server = await startPostgres();
t.teardown(() => server.remove());

const quiet = { LOG_LEVEL: 'error' };
const note = 'moved_to_postgresql.json';

/** A stopped shop of middling size, which each test gets a copy of. */
const middling = t.testdir();
const middlingSize = { books: 500, orders: 6000, lacking: 3 };
await layDown(middling, { ...middlingSize, random: random.fork('middling') });

function copyOfMiddling(t: Test): string {
  const folder = t.testdir();
  cpSync(middling, folder, { recursive: true });
  return folder;
}

function connect(t: Test, url: string): Database {
  const database = connectDatabase(url, { name: 'test', statementTimeoutMs: 60_000 });
  t.teardown(() => database.destroy());
  return database;
}

/** How many rows each table holds; 0 also where there is no table. */
async function rowsIn(t: Test, pair: Pair): Promise<Record<string, number>> {
  const catalog = connect(t, pair.catalog);
  const order = connect(t, pair.order);
  const none = async () => [{ count: 0 }];
  type Count = { count: number };
  const counts = {
    books: await catalog.read((sql) => sql<Count>`SELECT count(*) FROM books`).catch(none),
    shop: await catalog.read((sql) => sql<Count>`SELECT count(*) FROM shop`).catch(none),
    outcomes: await catalog.read((sql) => sql<Count>`SELECT count(*) FROM outcomes`).catch(none),
    orders: await order.read((sql) => sql<Count>`SELECT count(*) FROM orders`).catch(none),
    log: await order.read((sql) => sql<Count>`SELECT count(*) FROM log`).catch(none),
  };
  return Object.fromEntries(Object.entries(counts).map(([name, [row]]) => [name, row?.count ?? 0]));
}

const empty = { books: 0, shop: 0, outcomes: 0, orders: 0, log: 0 };

async function open(t: Test, dataDir: string, databases?: Pair): Promise<Shop> {
  const shop = await launchShop({ dataDir, env: quiet, ...(databases && { databases }) });
  t.teardown(() => shop.stop());
  return shop;
}

/** The sentence that a shop does not start with. */
async function refusal(t: Test, dataDir: string, databases?: Pair): Promise<string> {
  const shop = createShop({ dataDir, env: quiet, ...(databases && { databases }) });
  t.teardown(() => shop.kill());
  try {
    await shop.start();
    return 'it started';
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  } finally {
    await shop.kill();
  }
}

async function auditOf({ urls }: Shop): Promise<unknown> {
  for (;;) {
    const { body } = await ask({ request: `GET ${urls.order}/audit` });
    if (field(body, 'pending') === 0) return body;
    await sleep(20);
  }
}

function assertMoved(t: Test, { code, output }: Moved): void {
  t.equal(code, 0, output);
  t.match(output, /^The shop is in .* now\./m);
}

function assertRefused(t: Test, { code, output }: Moved, sentence: RegExp): void {
  t.equal(code, 1, output);
  t.match(output, sentence);
  t.notMatch(output, /^ {4}at /m, 'a sentence, and no stack');
}

interface Asked {
  readonly request: (urls: Shop['urls']) => string;
  readonly key: string;
  readonly body?: object;
}

const asked: readonly Asked[] = [
  ...[2, 2, 2, 3].map((id) => ({
    request: (urls: Shop['urls']) => `POST ${urls.gateway}/purchase/${id}`,
    key: randomUUID(),
  })),
  {
    request: (urls) => `POST ${urls.catalog}/update/1`,
    key: randomUUID(),
    body: { price: 45.5, quantity_delta: 7 },
  },
  {
    request: (urls) => `POST ${urls.catalog}/books`,
    key: randomUUID(),
    body: { title: 'A "new", one', topic: 'undergrad', quantity: 4, price: 12.34 },
  },
];

function tell({ urls }: Shop, { request, key, body }: Asked): Promise<Answer> {
  return ask({ request: request(urls), key, ...(body && { body }) });
}

/** Everything that readers can see. */
async function shownBy({ urls }: Shop, keys: readonly string[]): Promise<unknown[]> {
  const paths = [
    ...[1, 2, 3, 4, 5].map((id) => `${urls.gateway}/info/${id}`),
    ...['distributed', 'UNDERGRAD', 'none'].map((topic) => `${urls.gateway}/search/${topic}`),
    `${urls.gateway}/topics`,
    ...keys.map((key) => `${urls.gateway}/orders/${key}`),
    `${urls.order}/orders?limit=1000`,
  ];
  const answers: unknown[] = [];
  for (const path of paths) {
    const { status, body } = await ask({ request: `GET ${path}` });
    // A problem says which request it answers.
    answers.push([path.replace(/^.*:\d+/, ''), status, status === 200 ? body : undefined]);
  }
  return answers;
}

t.test('when a shop was moved, then it answers and sells on as if nothing had been', async (t) => {
  const folder = t.testdir();
  const pair = await newPair(server);
  const before = await open(t, folder);
  const told: Answer[] = [];
  for (const each of asked) told.push(await tell(before, each));
  t.same(
    told.map(({ status }) => status),
    [200, 200, 200, 200, 200, 201],
  );
  t.match(told[2]?.body, { message: 'Out of stock' });
  const keys = asked.map(({ key }) => key);
  const shown = await shownBy(before, keys);
  await before.stop();
  const files = contents(folder);

  const moved = await move(folder, pair);
  assertMoved(t, moved);
  t.match(moved.output, /^ +files +PostgreSQL\nbooks +5 +5\nstocked +32 +32\nremaining +29 +29\n/m);
  t.match(moved.output, /^sold +3 +3\norders +3 +3\nsum of prices +140\.00 +140\.00\n/m);
  t.match(moved.output, /^outcomes remembered +6 +6\nlast sale +3 +3\nnext book +6 +6$/m);
  t.notMatch(moved.output, /bazar@/, 'no user and no password is shown');
  t.same({ ...contents(folder), [note]: '' }, { ...files, [note]: '' }, 'the files stay');

  const after = await open(t, folder, pair);
  t.same(await shownBy(after, keys), shown);
  for (const [index, each] of asked.entries()) {
    const { status, body, headers } = await tell(after, each);
    t.same({ status, body }, { status: told[index]?.status, body: told[index]?.body });
    t.equal(headers.get('idempotency-replayed'), 'true');
  }
  for (const [index, key] of keys.slice(0, 3).entries()) {
    const other = await ask({ request: `POST ${after.urls.gateway}/purchase/4`, key });
    t.equal(other.status, 422, `key ${index} is of another book`);
  }
  const next = randomUUID();
  await ask({ request: `POST ${after.urls.gateway}/purchase/4`, key: next });
  const { body: sold } = await ask({ request: `GET ${after.urls.order}/orders?after=3` });
  t.match(sold, [{ order_id: next, sale: 4 }], 'the sales are numbered on');
  const book = { title: 'One more', topic: 'new', quantity: 1, price: 1 };
  const added = await ask({ request: `POST ${after.urls.catalog}/books`, body: book });
  t.match(added.body, { book: { id: 6 } }, 'and so are the books');
  t.match(await auditOf(after), { balanced: true, sold: 4, logged: 4, pending: 0 });
  await after.stop();

  t.match(await refusal(t, folder), /The catalog service cannot start: .* was moved to PostgreSQL/);
  assertRefused(t, await move(folder, pair), /has this shop already, as it is not in the files/);
  rmSync(join(folder, note));
  const back = await open(t, folder);
  t.same(await shownBy(back, keys), shown, 'whoever deletes the note goes back to the files');
});

t.test('when the log lacks sales, then they are carried over and logged there', async (t) => {
  const folder = copyOfMiddling(t);
  appendFileSync(join(folder, 'order_log.csv'), '2026-01-01T00:00:00.000Z,2,A to');
  const pair = await newPair(server);
  const moved = await move(folder, pair);
  assertMoved(t, moved);
  t.match(moved.output, /order_log.csv: the last 29 bytes were never finished/);
  t.match(moved.output, /^3 sales are not logged yet/m);
  t.match(await rowsIn(t, pair), { books: 500, outcomes: 6003, orders: 6000 });
  const again = await move(folder, pair);
  assertMoved(t, again);
  t.match(again.output, /^orders +6000 +6000$/m, 'a second time there is nothing to do');
  const shop = await open(t, folder, pair);
  t.match(await auditOf(shop), { balanced: true, sale: 6003, sold: 6003, logged: 6003, pending: 0 });
});

function rewrite(path: string, change: (text: string) => string): void {
  writeFileSync(path, change(readFileSync(path, 'utf8')));
}

/** Changes a row of the log, and its checksum with it. */
function forge(folder: string, row: number, change: (text: string) => string): void {
  rewrite(join(folder, 'order_log.csv'), (text) => {
    const lines = text.split('\n');
    const body = change(lines[row - 1]?.slice(0, -13) ?? '');
    lines[row - 1] = `${body} crc:${crc32(body).toString(16).padStart(8, '0')}`;
    return lines.join('\n');
  });
}

t.test('when a row cannot be right, then it is named and nothing is kept', async (t) => {
  const bad: Readonly<Record<string, readonly [(folder: string) => void, RegExp]>> = {
    'a quantity': [
      (folder) => rewrite(join(folder, 'catalog_data.csv'), (text) => text.replace(/\d+,19.99\n$/, 'x,19.99\n')),
      /moved: catalog_data.csv, line 501: quantity must be/,
    ],
    'the id of an order': [
      (folder) => forge(folder, 3, (text) => text.replace(/[0-9a-f-]{36}/, 'no-id')),
      /moved: order_log.csv, line 3: is not the row of an order/,
    ],
    'a price': [
      (folder) => forge(folder, 4, (text) => text.replace('19.99', '1e400')),
      /moved: order_log.csv, line 4: is not the row of an order/,
    ],
    'a NUL': [
      (folder) => forge(folder, 5001, (text) => text.replace('Book', 'B\0ok')),
      /moved: order_log.csv, line 5001: there is a NUL in it/,
    ],
    'a book': [
      (folder) => forge(folder, 6, (text) => text.replace(/Z,\d+,/, 'Z,501,')),
      /moved: the books do not balance/,
    ],
  };
  for (const [what, [spoil, sentence]] of Object.entries(bad)) {
    const folder = copyOfMiddling(t);
    spoil(folder);
    const pair = await newPair(server);
    assertRefused(t, await move(folder, pair), sentence);
    t.same(await rowsIn(t, pair), empty, what);
    t.notOk(existsSync(join(folder, note)));
  }
});

t.test('when a shop cannot be moved, then a sentence says why', async (t) => {
  const folder = t.testdir();
  const pair = await newPair(server);
  const shop = await open(t, folder);
  assertRefused(t, await move(folder, pair), /moved: the shop is running: .* catalog.lock/);
  await shop.service('gateway').kill();
  await shop.service('catalog').kill();
  assertRefused(t, await move(folder, pair), /moved: the shop is running: .* order.lock/);
  await shop.kill();

  const env = environmentOf(folder, pair);
  const wrong: readonly (readonly [NodeJS.ProcessEnv, RegExp])[] = [
    [{ ...env, ORDER_DATABASE_URL: '' }, /^ORDER_DATABASE_URL \(or ORDER_DATABASE_URL_FILE\) is not/],
    [{ ...env, CATALOG_DATABASE_URL: 'mysql://a/b' }, /^CATALOG_DATABASE_URL is a secret that is/],
    [{ ...env, DATA_DIR: join(folder, 'none') }, /moved: There is no folder/],
    [{ ...env, ORDER_DATABASE_URL: pair.catalog }, /belongs to the catalog service/],
    [{ ...env, ORDER_DATABASE_URL: server.url('nowhere') }, /there is none of that name/],
  ];
  for (const [each, sentence] of wrong) assertRefused(t, await startMove(each).ended, sentence);
  t.same(await rowsIn(t, pair), empty);

  const taken = await newPair(server);
  const other = await open(t, t.testdir(), taken);
  await ask({ request: `POST ${other.urls.gateway}/purchase/1` });
  await other.stop();
  const rows = await rowsIn(t, taken);
  for (const mixed of [{ ...pair, catalog: taken.catalog }, { ...pair, order: taken.order }]) {
    assertRefused(t, await move(folder, mixed), /the (catalog|order) database is not new/);
  }
  t.same(await rowsIn(t, taken), rows, 'what was there stays');
  t.same(await rowsIn(t, pair), empty);
  t.notOk(existsSync(join(folder, note)));

  const named = join(folder, 'catalog-url');
  writeFileSync(named, `${pair.catalog}\n`);
  const { CATALOG_DATABASE_URL: _url, ...rest } = env;
  assertMoved(t, await startMove({ ...rest, CATALOG_DATABASE_URL_FILE: named }).ended);
  assertRefused(t, await move(folder, await newPair(server)), /was moved to .*To move it again/);
});

/** Makes the tables, so that a test can be at them before a move is. */
async function makeTables(pair: Pair): Promise<void> {
  await (await openCatalogTarget(pair.catalog, () => {})).close();
  await (await openOrderTarget(pair.order, () => {})).close();
}

t.test('when a row is lost or changed on the way, then the audit finds it', async (t) => {
  const folder = copyOfMiddling(t);
  const lossy: readonly (readonly [keyof Pair, string, string, string, RegExp])[] = [
    ['order', 'orders', 'sale = 4321', 'RETURN NULL', /orders 5999 instead of 6000/],
    ['order', 'orders', 'sale = 4321', 'NEW.price = 19.98', /sum of prices \d+\.\d+ instead of/],
    ['order', 'orders', 'sale = 4321', "NEW.title = 'x'", /an order is not as in the files/],
    ['catalog', 'books', 'id = 77', 'NEW.sold = NEW.sold + 1; NEW.stocked = NEW.stocked + 1', /stocked \d+ instead of/],
    ['catalog', 'books', 'id = 77', "NEW.folded_topic = 'x'", /a book is not as in the files/],
    ['catalog', 'outcomes', 'sale = 77', 'RETURN NULL', /outcomes remembered 6002 instead of 6003/],
    ['catalog', 'outcomes', 'sale = 77', 'NEW.item_id = 0', /a remembered outcome is not as in/],
    ['catalog', 'shop', 'true', 'NEW.last_sale = 1', /last sale 1 instead of 6003/],
  ];
  for (const [name, table, which, what, sentence] of lossy) {
    const pair = await newPair(server);
    await makeTables(pair);
    const database = connect(t, pair[name]);
    // The mover sends the row, and what arrives is what a worse mover would have sent.
    const text = (part: string) => [part] as unknown as TemplateStringsArray;
    await database.transaction(async (sql) => {
      await sql(
        text(`CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
          IF ${which.replace(/^(\w+) =/, 'NEW.$1 =')} THEN ${what}; END IF; RETURN NEW; END $$`),
      );
      await sql(text(`CREATE TRIGGER spoil BEFORE INSERT ON ${table} FOR EACH ROW EXECUTE FUNCTION spoil()`));
    });
    assertRefused(t, await move(folder, pair), sentence);
    t.same(await rowsIn(t, pair), empty, `${table}: ${what}`);
    t.notOk(existsSync(join(folder, note)));
  }
});
