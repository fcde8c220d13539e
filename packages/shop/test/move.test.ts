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
import { readMoveConfig } from '../src/move/config.js';
import { moveShop } from '../src/move/shop-move.js';
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

/** A statement that is put together: a name cannot be a value. */
function words(text: string): TemplateStringsArray {
  return Object.assign([text], { raw: [text] });
}

/** How many rows each table holds; 0 also where there is no table. */
async function rowsIn(pair: Pair): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const [name, tables] of [
    ['catalog', ['books', 'shop', 'outcomes']],
    ['order', ['orders', 'log']],
  ] as const) {
    const database = connectDatabase(pair[name], { name: 'test' });
    for (const table of tables) {
      const [row] = await database
        .read((sql) => sql<{ count: number }>(words(`SELECT count(*) FROM ${table}`)))
        .catch(() => []);
      counts[table] = row?.count ?? 0;
    }
    await database.close();
  }
  return counts;
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

/** Moves in this process, which many small cases would else start one for; resolves to why not. */
async function moveHere(folder: string, { catalog, order }: Pair): Promise<string | undefined> {
  const config = { DATA_DIR: folder, CATALOG_DATABASE_URL: catalog, ORDER_DATABASE_URL: order };
  const { signal: stop } = new AbortController();
  try {
    await moveShop(config, { say: () => {}, stop });
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
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
  t.match(moved.output, /order_log.csv: the last \d+ bytes were never finished/);
  t.match(moved.output, /^3 sales are not logged yet/m);
  t.match(await rowsIn(pair), { books: 500, outcomes: 6003, orders: 6000 });
  const again = await move(folder, pair);
  assertMoved(t, again);
  t.match(again.output, /^orders +6000 +6000$/m, 'a second time there is nothing to do');
  const shop = await open(t, folder, pair);
  t.match(await auditOf(shop), {
    balanced: true,
    sale: 6003,
    sold: 6003,
    logged: 6003,
    pending: 0,
  });
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
      (folder) =>
        rewrite(join(folder, 'catalog_data.csv'), (text) =>
          text.replace(/\d+,19.99\n$/, 'x,19.99\n'),
        ),
      /^catalog_data.csv, line 501: quantity must be/,
    ],
    'the id of an order': [
      (folder) => forge(folder, 3, (text) => text.replace(/[0-9a-f-]{36}/, 'no-id')),
      /^order_log.csv, line 3: is not the row of an order/,
    ],
    'a price': [
      (folder) => forge(folder, 4, (text) => text.replace('19.99', '1e400')),
      /^order_log.csv, line 4: is not the row of an order/,
    ],
    'a NUL': [
      (folder) => forge(folder, 5001, (text) => text.replace('Book', 'B\0ok')),
      /^order_log.csv, line 5001: there is a NUL in it/,
    ],
    'a book': [
      (folder) => forge(folder, 6, (text) => text.replace(/Z,\d+,/, 'Z,501,')),
      /^the books do not balance/,
    ],
  };
  for (const [what, [spoil, sentence]] of Object.entries(bad)) {
    const folder = copyOfMiddling(t);
    spoil(folder);
    const pair = await newPair(server);
    t.match(await moveHere(folder, pair), sentence);
    t.same(await rowsIn(pair), empty, what);
    t.notOk(existsSync(join(folder, note)));
  }
});

t.test('when a shop cannot be moved, then a sentence says why', async (t) => {
  const folder = join(t.testdir({ mine: {}, other: {} }), 'mine');
  const pair = await newPair(server);
  const shop = await open(t, folder);
  assertRefused(t, await move(folder, pair), /moved: the shop is running: .* catalog.lock/);
  await shop.service('gateway').kill();
  await shop.service('catalog').kill();
  assertRefused(t, await move(folder, pair), /moved: the shop is running: .* order.lock/);
  await shop.kill();

  const env = environmentOf(folder, pair);
  const unset = { ...env, ORDER_DATABASE_URL: '' };
  t.throws(() => readMoveConfig(unset), {
    message: /^ORDER_DATABASE_URL \(or .*_FILE\) is not set/,
  });
  const strange = { ...env, CATALOG_DATABASE_URL: 'mysql://a/b' };
  assertRefused(t, await startMove(strange).ended, /^CATALOG_DATABASE_URL is a secret that is not/);
  const unmade = { ...pair, order: server.url('nowhere') };
  assertRefused(t, await move(folder, unmade), /moved: .* there is none of that name/);
  const shared = { ...pair, order: pair.catalog };
  t.match(await moveHere(folder, shared), /belongs to the catalog service/);
  t.match(await moveHere(join(folder, 'none'), pair), /^There is no folder/);
  t.same(await rowsIn(pair), empty);

  const taken = await newPair(server);
  const other = await open(t, join(folder, '../other'), taken);
  await ask({ request: `POST ${other.urls.gateway}/purchase/1` });
  await other.stop();
  const rows = await rowsIn(taken);
  for (const mixed of [
    { ...pair, catalog: taken.catalog },
    { ...pair, order: taken.order },
  ]) {
    t.match(await moveHere(folder, mixed), /^the (catalog|order) database is not new/);
  }
  t.same(await rowsIn(taken), rows, 'what was there stays');
  t.same(await rowsIn(pair), empty);
  t.notOk(existsSync(join(folder, note)));

  const named = join(folder, 'catalog-url');
  writeFileSync(named, `${pair.catalog}\n`);
  const { CATALOG_DATABASE_URL: _url, ...rest } = env;
  assertMoved(t, await startMove({ ...rest, CATALOG_DATABASE_URL_FILE: named }).ended);
  t.match(await moveHere(folder, await newPair(server)), /was moved to .*To move it again/);
});

/** Runs commands that are made of parts, as no statement of ours is. */
async function run(database: Database, commands: readonly string[]): Promise<void> {
  await database.transaction(async (sql) => {
    for (const command of commands) await sql(words(command));
  });
}

/** Makes the tables, so that a test can be at them before a move is. */
async function makeTables(pair: Pair): Promise<void> {
  await (await openCatalogTarget(pair.catalog, () => {})).close();
  await (await openOrderTarget(pair.order, () => {})).close();
}

t.test('when a row is lost or changed on the way, then the audit finds it', async (t) => {
  const folder = copyOfMiddling(t);
  const lossy: readonly (readonly [keyof Pair, string, string, string, RegExp])[] = [
    ['order', 'orders', 'NEW.sale = 4321', 'RETURN NULL', /orders 5999 instead of 6000/],
    [
      'order',
      'orders',
      'NEW.sale = 4321',
      'NEW.price = 19.98',
      /sum of prices \d+\.\d+ instead of/,
    ],
    ['order', 'orders', 'NEW.sale = 4321', "NEW.title = 'x'", /an order is not as in the files/],
    [
      'catalog',
      'books',
      'NEW.id = 77',
      'NEW.sold = NEW.sold + 1; NEW.stocked = NEW.stocked + 1',
      /stocked \d+ instead of/,
    ],
    ['catalog', 'books', 'NEW.id = 77', "NEW.folded_topic = 'x'", /a book is not as in the files/],
    [
      'catalog',
      'outcomes',
      'NEW.sale = 77',
      'RETURN NULL',
      /outcomes remembered 6002 instead of 6003/,
    ],
    [
      'catalog',
      'outcomes',
      'NEW.sale = 77',
      'NEW.item_id = 0',
      /a remembered outcome is not as in/,
    ],
    ['catalog', 'shop', 'true', 'NEW.last_sale = 1', /last sale 1 instead of 6003/],
  ];
  for (const [name, table, which, what, sentence] of lossy) {
    const pair = await newPair(server);
    await makeTables(pair);
    const database = connect(t, pair[name]);
    // The mover sends the row, and what arrives is what a worse mover would have sent.
    await run(database, [
      `CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF ${which} THEN ${what}; END IF; RETURN NEW; END $$`,
      `CREATE TRIGGER spoil BEFORE INSERT ON ${table} FOR EACH ROW EXECUTE FUNCTION spoil()`,
    ]);
    t.match(await moveHere(folder, pair), sentence);
    t.same(await rowsIn(pair), empty, `${table}: ${what}`);
    t.notOk(existsSync(join(folder, note)));
  }
});

const usual = { books: 500, shop: 1, outcomes: 6003, orders: 6000, log: 1 };

/** Takes a lock until it is told to let go; a connection that dies lets go as well. */
async function hold(
  t: Test,
  url: string,
  take: (sql: Parameters<Parameters<Database['transaction']>[0]>[0]) => Promise<unknown>,
): Promise<() => Promise<void>> {
  let release = () => {};
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  let held: Promise<unknown> = Promise.resolve();
  await new Promise<void>((resolve) => {
    held = connect(t, url)
      .transaction(async (sql) => {
        await take(sql);
        resolve();
        await released;
      })
      .catch(() => undefined);
  });
  return async () => {
    release();
    await held;
  };
}

/** Lets a move wait at a row, or at the commit of it, for as long as the test holds the lock. */
async function stopAt(
  t: Test,
  url: string,
  table: string,
  when: 'BEFORE INSERT' | 'AT COMMIT',
  which = 'true',
): Promise<() => Promise<void>> {
  const database = connect(t, url);
  const kind =
    when === 'AT COMMIT'
      ? ['CONSTRAINT TRIGGER', 'AFTER INSERT', 'DEFERRABLE INITIALLY DEFERRED']
      : ['TRIGGER', 'BEFORE INSERT', ''];
  await run(database, [
    `CREATE FUNCTION wait_here() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
      IF ${which} THEN PERFORM pg_advisory_xact_lock(1); END IF; RETURN NEW; END $$`,
    `CREATE ${kind[0]} wait_here ${kind[1]} ON ${table} ${kind[2]}
      FOR EACH ROW EXECUTE FUNCTION wait_here()`,
  ]);
  return hold(t, url, (sql) => sql`SELECT pg_advisory_xact_lock(1)`);
}

/** The servers' processes that wait for the lock of `stopAt`. */
async function waiting(database: Database): Promise<number[]> {
  const rows = await database.read(
    (sql) => sql<{ pid: number }>`SELECT pid FROM pg_locks
      WHERE locktype = 'advisory' AND NOT granted
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`,
  );
  return rows.map(({ pid }) => pid);
}

t.test(
  'when a move dies between its two commits, then nothing sells until it is run again',
  async (t) => {
    const folder = copyOfMiddling(t);
    const files = contents(folder);
    const pair = await newPair(server);
    await makeTables(pair);
    await run(connect(t, pair.catalog), ['CREATE TABLE unfinished_move (id integer)']);
    const release = await hold(t, pair.catalog, (sql) => sql`LOCK unfinished_move IN SHARE MODE`);
    const first = startMove(environmentOf(folder, pair));
    const log = connect(t, pair.order);
    const isLogged = async () =>
      (await log.read((sql) => sql`SELECT FROM orders LIMIT 1`)).length > 0;
    t.ok(await reaches(first, isLogged), first.output());
    first.child.kill('SIGKILL');
    await first.ended;
    await release();

    t.same(await rowsIn(pair), { ...empty, orders: 6000, log: 1 });
    t.same(contents(folder), files, 'the files are untouched');
    t.match(
      await refusal(t, folder, pair),
      /The catalog service cannot start: .*half moved into it/,
    );
    const strange = { ...pair, catalog: await server.newDatabase() };
    t.match(
      await refusal(t, folder, strange),
      /The order service cannot start: the order log belongs to catalog .*, but catalog .* answers/,
    );
    assertMoved(t, await move(folder, pair));
    t.same(await rowsIn(pair), usual);
    t.ok(existsSync(join(folder, note)));
  },
);

t.test('when nobody answers the last commit, then no copy can be sold twice', async (t) => {
  for (const fate of ['kept', 'undone', 'asked again'] as const) {
    const folder = copyOfMiddling(t);
    const pair = await newPair(server);
    await makeTables(pair);
    const release = await stopAt(t, pair.catalog, 'shop', 'AT COMMIT');
    const database = connect(t, pair.catalog);
    const first = startMove(environmentOf(folder, pair));
    const isWaiting = async () => (await waiting(database)).length > 0;
    t.ok(await reaches(first, isWaiting), first.output());
    if (fate === 'asked again') {
      first.child.kill('SIGINT');
      const [pid = 0] = await waiting(database);
      await database.read((sql) => sql`SELECT pg_terminate_backend(${pid}::integer)`);
      await release();
      assertMoved(t, await first.ended);
    } else {
      first.child.kill('SIGKILL');
      await first.ended;
      t.match(await refusal(t, folder), /has not come to its end: run it again/, fate);
      const [pid = 0] = await waiting(database);
      if (fate === 'undone') {
        await database.read((sql) => sql`SELECT pg_terminate_backend(${pid}::integer)`);
      }
      await release();
      assertMoved(t, await move(folder, pair));
    }
    t.same(await rowsIn(pair), usual, fate);
  }
});

t.test('when the last commit is refused, then the files are what is sold from', async (t) => {
  const folder = copyOfMiddling(t);
  const files = contents(folder);
  const pair = await newPair(server);
  await makeTables(pair);
  const database = connect(t, pair.catalog);
  await run(database, [
    `CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql
      AS $$ BEGIN RAISE EXCEPTION 'not today'; END $$`,
    `CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON shop DEFERRABLE INITIALLY DEFERRED
      FOR EACH ROW EXECUTE FUNCTION refuse()`,
  ]);
  assertRefused(t, await move(folder, pair), /moved: PostgreSQL refuses it: not today/);
  t.same(contents(folder), files, 'and no note is left');
  await run(database, ['DROP TRIGGER refuse ON shop']);
  assertMoved(t, await move(folder, pair));
  t.same(await rowsIn(pair), usual);
});

t.test('when somebody or something ends a move, then nothing of it is left', async (t) => {
  const folder = copyOfMiddling(t);
  const files = contents(folder);
  const pair = await newPair(server);
  await makeTables(pair);
  const stopped = await stopAt(t, pair.order, 'orders', 'BEFORE INSERT', 'NEW.sale = 4000');
  await stopped();
  const again = () => hold(t, pair.order, (sql) => sql`SELECT pg_advisory_xact_lock(1)`);
  for (const [signal, code] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const) {
    const release = await again();
    const moving = startMove(environmentOf(folder, pair));
    const database = connect(t, pair.order);
    t.ok(await reaches(moving, async () => (await waiting(database)).length > 0));
    moving.child.kill(signal);
    await reaches(moving, () => moving.output().includes(signal));
    await release();
    const ended = await moving.ended;
    t.equal(ended.code, code, ended.output);
    t.same(await rowsIn(pair), empty, signal);
    t.same(contents(folder), files);
  }
  await again();
  const moving = startMove(environmentOf(folder, pair));
  const database = connect(t, pair.order);
  t.ok(await reaches(moving, async () => (await waiting(database)).length > 0));
  await server.kill();
  assertRefused(t, await moving.ended, /moved: the database cannot be reached/);
  await server.start();
  t.same(await rowsIn(pair), empty, 'the server was killed');
  t.same(contents(folder), files);
  assertMoved(t, await move(folder, pair));
  t.same(await rowsIn(pair), usual);
});

t.test('when a move is killed anywhere, then the next one comes to the end', async (t) => {
  const folder = copyOfMiddling(t);
  const files = contents(folder);
  const begun = performance.now();
  assertMoved(t, await move(folder, await newPair(server)));
  const wholeMs = performance.now() - begun;
  rmSync(join(folder, note));
  let pair = await newPair(server);
  const killedAt: number[] = [];
  for (let count = 0; count < 4; count += 1) {
    const moving = startMove(environmentOf(folder, pair));
    // The first part of it is only Node.
    const afterMs = Math.round(random.between(wholeMs * 0.3, wholeMs));
    killedAt.push(afterMs);
    await Promise.race([sleep(afterMs), moving.ended]);
    moving.child.kill('SIGKILL');
    await moving.ended;
    if (existsSync(join(folder, note))) {
      // It came as far as that: the next one is killed on its way to another pair.
      assertMoved(t, await move(folder, pair));
      rmSync(join(folder, note));
      pair = await newPair(server);
    }
    const { [`${note}.next`]: _next, ...left } = contents(folder);
    t.same(left, files, 'the files can be sold from');
  }
  t.comment(`killed after ${killedAt.join(', ')} of ${Math.round(wholeMs)} ms`);
  assertMoved(t, await move(folder, pair));
  t.same(await rowsIn(pair), usual);
});

t.test('when a shop is large, then it is moved in a bounded memory', async (t) => {
  const folder = t.testdir();
  await layDown(folder, { books, orders, random });
  const pair = await newPair(server);
  const begun = performance.now();
  const moved = await move(folder, pair);
  const seconds = ((performance.now() - begun) / 1000).toFixed(1);
  assertMoved(t, moved);
  t.same(await rowsIn(pair), { books, shop: 1, outcomes: orders, orders, log: 1 });
  t.comment(`${orders} orders of ${books} books: ${seconds} s, ${moved.mostMegabytes} MB at most`);
});
