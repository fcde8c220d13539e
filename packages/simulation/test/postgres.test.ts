import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import postgres from 'postgres';
import t from 'tap';
import { openLine } from '../src/line.js';
import { startPostgres } from '../src/postgres.js';

/** The processes that have this in their command line. */
function processesWith(text: string): string[] {
  const lines = execFileSync('ps', ['-A', '-o', 'pid=,args='], { encoding: 'utf8' }).split('\n');
  return lines.filter((line) => line.includes(text));
}

t.test('when PostgreSQL is killed, then what it acknowledged is there again', async (t) => {
  const server = await startPostgres({ max_connections: 10 });
  const url = server.url('postgres');
  const port = `port=${new URL(url).port}`;
  t.equal(processesWith(port).length, 1);
  const sql = postgres(url, { max: 1 });
  t.match(await sql`SHOW max_connections`, [{ max_connections: '10' }]);
  await sql`CREATE TABLE sales (id integer PRIMARY KEY)`;
  await sql`INSERT INTO sales VALUES (7)`;
  const [found] = await sql`SHOW data_directory`;
  const folder = String(found?.['data_directory']);
  await server.kill();
  t.same(processesWith(port), []);
  await t.rejects(sql`SELECT 1`);
  await server.start();
  t.match(await sql`SELECT id FROM sales`, [{ id: 7 }]);
  await server.stop();
  await server.start();
  t.match(await sql`SELECT id FROM sales`, [{ id: 7 }], 'after a stop as well');
  await server.remove();
  t.same(processesWith(port), [], 'nothing of it runs any more');
  t.notOk(existsSync(folder));
  await sql.end({ timeout: 0 });
});

t.test('when two are started at once, then neither sees the other', async (t) => {
  const servers = await Promise.all([startPostgres(), startPostgres()]);
  const [first, second] = servers.map((server) => server.url('postgres'));
  t.not(first, second);
  await Promise.all(servers.map((server) => server.remove()));
});

t.test('when a line is silent or cut, then its ends notice just that', async (t) => {
  const server = await startPostgres();
  const url = new URL(server.url('postgres'));
  const line = await openLine(Number(url.port));
  url.port = String(line.port);
  const sql = postgres(url.href, { max: 1, connect_timeout: 1 });
  t.match(await sql`SELECT 1 AS one`, [{ one: 1 }]);
  line.silence();
  const unanswered = sql`SELECT 2 AS two`.catch((error: unknown) => error);
  const early = new Promise((resolve) => setTimeout(resolve, 100, 'nothing'));
  t.equal(await Promise.race([unanswered, early]), 'nothing');
  line.open();
  t.match(await unanswered, [{ two: 2 }], 'what was sent arrives later');
  line.silence();
  const cutOff = sql`SELECT 2 AS two`.catch((error: unknown) => error);
  line.cut({ refuse: true });
  t.match(await cutOff, { code: 'CONNECTION_CLOSED' });
  line.open();
  t.match(await sql`SELECT 3 AS three`, [{ three: 3 }]);
  await sql.end({ timeout: 0 });
  await line.close();
  await server.remove();
});
