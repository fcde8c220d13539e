import { execFileSync } from 'node:child_process';
import { chmodSync, chownSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Failure } from '@bazar/contracts';
import { openLine } from '@bazar/simulation/line';
import { type PostgresServer, startPostgres } from '@bazar/simulation/postgres';
import t, { type Test } from 'tap';
import {
  connectDatabase,
  createDigest,
  type DatabaseOptions,
  migrate,
  sendRows,
} from '../src/index.js';

const server = await startPostgres({ deadlock_timeout: '50ms' });
t.teardown(() => server.remove());
/** A statement that is put together: a name cannot be a value. */
function words(text: string): TemplateStringsArray {
  return Object.assign([text], { raw: [text] });
}

/** A new database with one empty table. */
async function newDatabase(on: PostgresServer = server): Promise<string> {
  const url = await on.newDatabase();
  const database = connectDatabase(url, { name: 'test' });
  await database.read((sql) => sql`CREATE TABLE books (id bigint PRIMARY KEY, title text)`);
  await database.close();
  return url;
}

/** Connected for the time of a test. */
function connect(t: Test, url: string, options: Partial<DatabaseOptions> = {}) {
  const database = connectDatabase(url, { name: 'test', ...options });
  t.teardown(() => database.destroy());
  return {
    ...database,
    add: (id: number, title = 'A') =>
      database.transaction((sql) => sql`INSERT INTO books VALUES (${id}, ${title})`),
    ids: () =>
      database.read(async (sql) => {
        const rows = await sql<{ id: number }>`SELECT id FROM books ORDER BY id`;
        return rows.map(({ id }) => id);
      }),
  };
}

/** The failure that something ends with. */
async function failureOf(work: Promise<unknown>): Promise<Failure> {
  const error = await work.then(
    () => new Error('it did not fail'),
    (error: unknown) => error,
  );
  if (error instanceof Failure) return error;
  throw error;
}

/** A line to the server, and the address of a database through it. */
async function newLine(t: Test, url: string) {
  const through = new URL(url);
  const line = await openLine(Number(through.port));
  t.teardown(() => line.close());
  through.port = String(line.port);
  return { line, url: through.href };
}

t.test('when values travel, then they arrive as they were', async (t) => {
  const database = connect(t, await newDatabase());
  const texts = ['a, "b" \\ {c}', '', 'NULL', 'Ἰλιάς 📚', "it's"];
  const numbers = [0, 1, 999_999_999_999_999, null];
  const prices = [0.1, 19.99, 1_000_000_000, 0.3];
  const rows = await database.read(
    (sql) => sql`SELECT text, number, price
      FROM unnest(${texts}::text[], ${numbers}::bigint[], ${prices}::double precision[])
      AS given (text, number, price)`,
  );
  t.same(
    rows.map((row) => ({ ...row })),
    texts.map((text, index) => ({
      text,
      number: numbers[index] ?? null,
      price: prices[index] ?? null,
    })),
  );
  await t.rejects(
    database.read((sql) => sql`SELECT 9007199254740993 AS number`),
    { name: 'RangeError' },
    'a number that would be another is none',
  );
});

t.test('when a transaction fails, then nothing of it is kept', async (t) => {
  const database = connect(t, await newDatabase(), { connections: 1 });
  await database.add(1);
  const failing = database.transaction(async (sql) => {
    await sql`INSERT INTO books VALUES (2, 'B')`;
    throw new TypeError('changed my mind');
  });
  await t.rejects(failing, { message: 'changed my mind' });
  await t.rejects(database.add(1), { code: '23505' }, 'a mistake of ours is thrown as it is');
  const swallowing = database.transaction(async (sql) => {
    await sql`INSERT INTO books VALUES (3, 'B')`;
    await sql`INSERT INTO books VALUES (1, 'B')`.catch(() => {});
  });
  await t.rejects(swallowing, { message: /ended in a ROLLBACK/ });
  t.same(await database.ids(), [1]);
});

t.test('when the server says that it cannot, then that is told, and nothing is done', async (t) => {
  const database = connect(t, await newDatabase(), { statementTimeoutMs: 300 });
  const codes: Record<string, string> = {
    '53100': 'storage_full',
    '53200': 'unavailable',
    '57P01': 'unavailable',
    '25006': 'unavailable',
  };
  for (const [sqlstate, code] of Object.entries(codes)) {
    const raising = database.transaction(async (sql) => {
      await sql`INSERT INTO books VALUES (1, 'A')`;
      await sql(words(`DO 'BEGIN RAISE EXCEPTION USING ERRCODE = ''${sqlstate}''; END'`));
    });
    t.match(await failureOf(raising), { code, nothingDone: true }, sqlstate);
  }
  const slow = database.transaction((sql) => sql`SELECT pg_sleep(5)`);
  t.match(await failureOf(slow), { code: 'unavailable', message: /too long/, nothingDone: true });
  t.same(await database.ids(), []);
  t.equal(await database.hasRoom(), true);
});

t.test('when two wait for each other, then both are done', async (t) => {
  const database = connect(t, await newDatabase());
  for (const id of [1, 2]) await database.add(id);
  let runs = 0;
  let meet = () => {};
  const met = new Promise<void>((resolve) => {
    meet = resolve;
  });
  const change = (first: number, second: number, title: string) =>
    database.transaction(async (sql) => {
      await sql`UPDATE books SET title = title || ${title} WHERE id = ${first}`;
      runs += 1;
      if (runs === 2) meet();
      await met;
      await sql`UPDATE books SET title = title || ${title} WHERE id = ${second}`;
    });
  await Promise.all([change(1, 2, 'x'), change(2, 1, 'y')]);
  t.equal(runs, 3);
  const titles = await database.read((sql) => sql`SELECT title FROM books`);
  for (const title of titles) t.match(title, { title: /^A(xy|yx)$/ });
});

t.test('when the server is killed and comes back, then so does all else', async (t) => {
  const other = await startPostgres();
  t.teardown(() => other.remove());
  const database = connect(t, await newDatabase(other));
  await Promise.all([1, 2, 3, 4].map((id) => database.add(id)));
  const amid = database.transaction(async (sql) => {
    await sql`INSERT INTO books VALUES (9, 'B')`;
    await other.kill();
    await sql`INSERT INTO books VALUES (10, 'B')`;
  });
  t.match(await failureOf(amid), { code: 'unavailable', nothingDone: true });
  for (let n = 0; n < 20; n += 1) {
    t.match(await failureOf(database.ids()), { code: 'unavailable', nothingDone: true });
  }
  await other.start();
  t.same(await database.ids(), [1, 2, 3, 4]);
  await database.add(5);
  await other.stop();
  await other.start();
  t.same(await database.ids(), [1, 2, 3, 4, 5], 'also when connections died at rest');
  const during = database.read((sql) => sql`SELECT pg_sleep(3)`).catch((error: unknown) => error);
  await other.stop();
  t.match(await during, { code: 'unavailable' });
});

t.test('when the answer to a COMMIT is lost, then nobody says that nothing was done', async (t) => {
  const direct = await newDatabase();
  const { line, url } = await newLine(t, direct);
  const database = connect(t, url, { silenceMs: 300 });
  await database.add(1);
  line.onSent = (bytes) => (bytes.includes('COMMIT') ? 'swallow' : 'pass');
  t.match(await failureOf(database.add(2)), { code: 'unavailable', nothingDone: false });
  line.onSent = (bytes) => {
    if (!bytes.includes('COMMIT')) return 'pass';
    setTimeout(() => line.cut(), 100);
    return 'swallow';
  };
  t.match(await failureOf(database.add(3)), { code: 'unavailable', nothingDone: false });
  line.onSent = (bytes) => {
    if (bytes.includes('COMMIT')) line.cut();
    return 'pass';
  };
  t.match(await failureOf(database.add(4)), { code: 'unavailable', nothingDone: false });
  line.onSent = (bytes) => (bytes.includes('INSERT') ? 'swallow' : 'pass');
  t.match(await failureOf(database.add(5)), { code: 'unavailable', nothingDone: true });
  line.onSent = () => 'pass';
  t.same(await connect(t, direct).ids(), [1, 2, 3], 'which is true of none but the last two');
  await database.add(6);
});

t.test('when the line is silent, then nobody waits for ever', async (t) => {
  const { line, url } = await newLine(t, await newDatabase());
  const database = connect(t, url, { silenceMs: 300 });
  await database.add(1);
  line.silence();
  const unanswered = [database.ids(), database.add(2), database.ids()].map(failureOf);
  for (const failure of await Promise.all(unanswered)) {
    t.match(failure, { code: 'unavailable', nothingDone: true });
  }
  line.cut();
  line.open();
  t.same(await database.ids(), [1]);
});

t.test('when a server takes the connection and says nothing, then it is given up', async (t) => {
  const { line, url } = await newLine(t, await newDatabase());
  const database = connect(t, url, { silenceMs: 300 });
  line.silence();
  t.match(await failureOf(database.ids()), { code: 'unavailable', nothingDone: true });
  line.open();
  line.onSent = () => {
    line.cut();
    return 'pass';
  };
  t.match(await failureOf(database.ids()), { code: 'unavailable' }, 'or hangs up');
  line.onSent = () => 'pass';
  t.same(await database.ids(), []);
});

t.test('when the name leads to a server that can only be read, then nothing is read', async (t) => {
  const direct = await newDatabase();
  const { line, url } = await newLine(t, direct);
  const database = connect(t, url);
  await database.add(1);
  await Promise.all([1, 2, 3].map(() => database.ids()));
  const keeper = connect(t, server.url('postgres'));
  const name = new URL(direct).pathname.slice(1);
  const change = (what: string) =>
    keeper.read((sql) => sql(words(`ALTER DATABASE ${name} ${what}`)));
  await change('SET default_transaction_read_only = on');
  t.same(await database.ids(), [1], 'connections from before are to the primary still');
  line.cut();
  t.match(await failureOf(database.ids()), { code: 'unavailable', nothingDone: true });
  t.match(await failureOf(database.add(2)), { code: 'unavailable', nothingDone: true });
  await change('RESET default_transaction_read_only');
  await database.add(3);
  t.same(await database.ids(), [1, 3], 'and with the primary all is well again');
});

t.test('when the database has another isolation by default, then we have ours', async (t) => {
  const url = await newDatabase();
  const name = new URL(url).pathname.slice(1);
  await connect(t, url).read((sql) =>
    sql(words(`ALTER DATABASE ${name} SET default_transaction_isolation = 'serializable'`)),
  );
  const found = await connect(t, url).transaction(
    (sql) => sql`SELECT current_setting('transaction_isolation') AS isolation`,
  );
  t.match(found, [{ isolation: 'read committed' }]);
});

t.test('when too many want a connection, then the last ones are refused at once', async (t) => {
  const database = connect(t, await newDatabase(), {
    connections: 2,
    maxWaiting: 3,
    waitMs: 400,
  });
  const sleep = () => database.transaction((sql) => sql`SELECT pg_sleep(0.8)`);
  const sleeping = [sleep(), sleep()];
  const waiting = [1, 2, 3].map((id) => failureOf(database.add(id)));
  t.match(await failureOf(database.add(4)), { code: 'overloaded', nothingDone: true });
  for (const failure of await Promise.all(waiting)) {
    t.match(failure, { code: 'overloaded', nothingDone: true }, 'nobody waits too long');
  }
  await Promise.all(sleeping);
  await database.add(5);
  const last = database.read((sql) => sql`SELECT pg_sleep(0.2), 1 AS one`);
  await database.close();
  t.match(await last, [{ one: 1 }], 'a close waits for who is inside');
  t.match(await failureOf(database.ids()), { code: 'unavailable', nothingDone: true });
});

/** A certificate that vouches for itself, for the server to read; undefined without openssl. */
function certificate(t: Test): { ssl_cert_file: string; ssl_key_file: string } | undefined {
  const folder = mkdtempSync(join(tmpdir(), 'bazar-certificate-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  chmodSync(folder, 0o755);
  const files = { ssl_cert_file: join(folder, 'certificate'), ssl_key_file: join(folder, 'key') };
  const wish = 'req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost'.split(' ');
  const output = ['-keyout', files.ssl_key_file, '-out', files.ssl_cert_file];
  try {
    execFileSync('openssl', [...wish, ...output], { stdio: 'ignore' });
  } catch {
    return undefined;
  }
  for (const file of Object.values(files)) {
    chmodSync(file, 0o600);
    // As root, the server runs as nobody.
    if (process.getuid?.() === 0) chownSync(file, 65_534, 65_534);
  }
  return files;
}

t.test('when the URL wants it encrypted, then it is, whatever happens to the line', async (t) => {
  const files = certificate(t);
  if (files === undefined) return t.pass('there is no openssl to make a certificate with');
  const other = await startPostgres({ ssl: 'on', ...files });
  t.teardown(() => other.remove());
  const { line, url } = await newLine(t, await newDatabase(other));
  const database = connect(t, `${url}?sslmode=require`, { silenceMs: 500 });
  const isEncrypted = () =>
    database.read((sql) => sql`SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()`);
  t.match(await isEncrypted(), [{ ssl: true }]);
  line.silence();
  t.match(await failureOf(isEncrypted()), { code: 'unavailable', nothingDone: true });
  line.cut();
  line.open();
  t.match(await isEncrypted(), [{ ssl: true }]);
  await other.kill();
  t.match(await failureOf(isEncrypted()), { code: 'unavailable', nothingDone: true });
  await other.start();
  t.match(await isEncrypted(), [{ ssl: true }]);
  const strict = connect(t, `${url}?sslmode=verify-full`);
  t.match(await failureOf(strict.ids()), { cause: { message: /self.signed/ } });
  return undefined;
});

t.test('when it cannot be encrypted as the URL wants it, then nothing is sent', async (t) => {
  const url = await newDatabase();
  for (const wish of ['sslmode=require', 'sslmode=prefer', 'ssl=true']) {
    const failure = await failureOf(connect(t, `${url}?${wish}`).ids());
    t.match(failure.cause, { cause: { name: 'DatabaseError' } }, wish);
  }
});

function folderOf(t: Test, files: Readonly<Record<string, string>>): URL {
  return new URL(`file://${t.testdir({ 'of [tables]': files })}/of%20[tables]/`);
}

t.test('when several migrate at once, then it is done once', async (t) => {
  const url = await newDatabase();
  const first = { '001.do.sales.sql': 'CREATE TABLE sales (id bigint); SELECT pg_sleep(0.2);' };
  const lines: string[] = [];
  const log = (_level: string, sentence: string) => void lines.push(sentence);
  const options = { owner: 'order', folder: folderOf(t, first), log };
  await Promise.all([1, 2, 3].map(() => migrate(url, options)));
  t.same(lines, ['the database has the tables of version 1 now']);
  const more = { ...first, '002.do.more.sql': 'ALTER TABLE sales ADD copies integer' };
  await t.rejects(
    migrate(url, {
      ...options,
      folder: folderOf(t, { ...more, '003.do.wrong.sql': 'ALTER TABLE sale ADD copies integer' }),
    }),
    { name: 'DatabaseError', message: /^the database shop_\d+ at 127.*"sale" does not exist$/ },
  );
  await migrate(url, { ...options, folder: folderOf(t, more) });
  t.equal(lines.at(-1), 'the database has the tables of version 2 now', 'all of a start or none');
  await migrate(url, { ...options, folder: folderOf(t, more) });
  t.equal(lines.length, 2);

  const sentence =
    /tables are of version 2, and this program knows only those up to 1: start a newer/;
  await t.rejects(migrate(url, { ...options, folder: folderOf(t, first) }), { message: sentence });
  await t.rejects(migrate(url, { ...options, owner: 'catalog' }), {
    message: /belongs to the order service: give each a database of its own/,
  });
  const changed = { ...more, '001.do.sales.sql': 'CREATE TABLE sales (id text)' };
  await t.rejects(migrate(url, { ...options, folder: folderOf(t, changed) }), {
    message: /MD5 checksum failed/,
  });
});

t.test('when a database does not do, then a sentence says why, without its password', async (t) => {
  const folder = folderOf(t, { '001.do.sales.sql': 'CREATE TABLE sales (id bigint)' });
  const patience = { patienceMs: 0, pause: async () => {} };
  const lines: string[] = [];
  const log = (_level: string, sentence: string) => void lines.push(sentence);
  const options = { owner: 'order', folder, log, ...patience };
  const url = await newDatabase();
  const { host } = new URL(url);
  const withPassword = (text: string) => text.replace('bazar@', 'bazar:hunter2@');
  async function refusal(url: string): Promise<string> {
    const error = await migrate(withPassword(url), options).catch((error: unknown) => error);
    if (!(error instanceof Error) || error.name !== 'DatabaseError') throw error;
    for (let one: unknown = error; one instanceof Error; one = one.cause) {
      t.notMatch(JSON.stringify([one.message, one.stack, { ...one }]), /hunter2/);
    }
    return error.message;
  }
  t.equal(
    await refusal(server.url('nowhere')),
    `the database nowhere at ${host} cannot be used: there is none of that name: create it, as with ` +
      'createdb (database "nowhere" does not exist)',
  );
  t.match(await refusal(url.replace('bazar@', 'nobody@')), /role "nobody" does not exist/);
  t.match(await refusal('postgres://bazar@127.0.0.1:1/shop'), /shop at 127.0.0.1:1 cannot be reac/);
  const run = (text: string) => connect(t, url).read((sql) => sql(words(text)));
  const name = new URL(url).pathname.slice(1);
  await run(`ALTER DATABASE ${name} SET default_transaction_read_only = on`);
  t.match(await refusal(url), /can only be read: name the primary server/);
  const other = await newDatabase();
  await connect(t, other).read((sql) =>
    sql(
      Object.assign(
        [`ALTER DATABASE ${new URL(other).pathname.slice(1)} SET synchronous_commit = off`],
        {
          raw: [],
        },
      ),
    ),
  );
  t.match(await refusal(other), /may lose what it has acknowledged \(synchronous_commit = off\)/);
  t.same(lines, []);
});

t.test('when a database starts late, then a start waits for it', async (t) => {
  const other = await startPostgres();
  t.teardown(() => other.remove());
  await other.stop();
  const lines: string[] = [];
  const waiting = migrate(other.url('postgres'), {
    owner: 'order',
    folder: folderOf(t, { '001.do.sales.sql': 'CREATE TABLE sales (id bigint)' }),
    log: (level, sentence) => lines.push(`${level}: ${sentence}`),
  });
  await new Promise((resolve) => setTimeout(resolve, 400));
  await other.start();
  await waiting;
  t.match(lines, [
    /^warn: the database postgres at .* cannot be reached: .*; trying again$/,
    /^info/,
  ]);
});

t.test('when rows are sent, then in order, a bounded number at a time, to the last', async (t) => {
  async function* runs() {
    for (const length of [3, 0, 25, 1]) {
      t.ok(count - sent.length <= 20, 'no more than two statements of them are held');
      yield Array.from({ length }, () => {
        count += 1;
        return count;
      });
    }
  }
  let count = 0;
  let underWay = 0;
  const sent: number[] = [];
  const sizes: number[] = [];
  await sendRows(runs(), 10, async (rows) => {
    underWay += 1;
    t.equal(underWay, 1, 'one statement at a time');
    await new Promise((resolve) => setImmediate(resolve));
    sent.push(...rows);
    sizes.push(rows.length);
    underWay -= 1;
  });
  t.same(sizes, [10, 10, 9]);
  t.same(
    sent,
    Array.from({ length: 29 }, (_, index) => index + 1),
  );
  const failing = sendRows(runs(), 10, () => Promise.reject(new Error('no room')));
  await t.rejects(failing, { message: 'no room' });
});

t.test('when rows are added up here and there, then the sums are the same', async (t) => {
  const database = connect(t, await newDatabase());
  const rows = [
    { id: 1, title: 'RPCs, "for" Noobs', price: 19.99 },
    { id: 999_999_999_999_999, title: 'Überraschung 📚', price: 0.1 },
    { id: 3, title: null, price: 999_999_999_999.99 },
    { id: 4, title: '', price: 1e6 },
  ] as const;
  const sumHere = (changed: readonly { id: number; title: string | null; price: number }[]) => {
    const digest = createDigest();
    for (const { id, title, price } of changed) digest.add([id, title, price]);
    return String(digest.sum);
  };
  const [there] = await database.read(
    (sql) => sql<{ sum: string }>`
      SELECT sum(('x' || left(encode(sha256(convert_to(
        concat_ws(chr(31), id, coalesce(title, ''), price), 'UTF8')), 'hex'),
        15))::bit(60)::bigint)::text AS sum
      FROM unnest(${rows.map(({ id }) => id)}::bigint[], ${rows.map(({ title }) => title)}::text[],
        ${rows.map(({ price }) => price)}::double precision[]) AS row (id, title, price)`,
  );
  t.equal(sumHere(rows.toReversed()), there?.sum, 'in whatever order');
  t.not(sumHere(rows.slice(1)), there?.sum);
  t.not(sumHere([{ ...rows[0], price: 19.98 }, ...rows.slice(1)]), there?.sum);
  const [first, second, ...rest] = rows;
  const swapped = [{ ...first, title: second.title }, { ...second, title: first.title }, ...rest];
  t.not(sumHere(swapped), there?.sum, 'cells that changed places show');
});
