import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import type { BuildResult } from '../src/build.js';
import {
  launchShop,
  type Service,
  type ServiceName,
  type Shop,
  type ShopOptions,
} from '../src/index.js';
import { createShop } from '../src/launch.js';
import { createRebuild } from '../src/rebuild.js';
import { createOutput, createTerminal } from '../src/terminal.js';
import { watchFolders } from '../src/watch.js';

const standIn = (file: string) => fileURLToPath(new URL(`./stand-in/${file}.js`, import.meta.url));
const mains = { catalog: standIn('catalog'), order: standIn('order'), gateway: standIn('gateway') };
const names: ServiceName[] = ['catalog', 'order', 'gateway'];

/** Waits for a state that is certain to come; the bound is only for a test that is broken. */
async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  for (let round = 0; round < 6000; round += 1) {
    if (await holds()) return;
    await sleep(10);
  }
  throw new Error(`Waited in vain until ${what}.`);
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

async function isPaused(pid: number): Promise<boolean> {
  const ps = spawn('ps', ['-o', 'stat=', '-p', String(pid)]);
  let state = '';
  for await (const text of ps.stdout) state += String(text);
  return state.startsWith('T');
}

async function launch(t: Test, options: Partial<ShopOptions> = {}): Promise<Shop> {
  const shop = await launchShop({ dataDir: t.testdir(), mains, ...options });
  t.teardown(() => shop.kill());
  return shop;
}

/** Where a stand-in listens, whom it would call, and where its files are. */
async function seenBy(shop: Shop, name: ServiceName): Promise<Record<string, unknown>> {
  const response = await fetch(shop.urls[name]);
  const body: unknown = await response.json();
  return typeof body === 'object' && body !== null ? { ...body } : {};
}

async function occupy(t: Test, port: number): Promise<Server> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  t.teardown(() => server.close());
  return server;
}

async function occupiedPort(t: Test): Promise<number> {
  const address = (await occupy(t, 0)).address();
  if (address === null || typeof address === 'string') throw new Error('No port was given.');
  return address.port;
}

/** True once the service has said where it listens; asking for its address throws until then. */
function hasListened(service: Service): boolean {
  try {
    return service.url !== '';
  } catch {
    return false;
  }
}

t.test('when a shop is launched, then its services know each other', async (t) => {
  const lines: string[] = [];
  const dataDir = t.testdir();
  const onLine = (service: ServiceName, line: string) => lines.push(`${service} ${line}`);
  const shop = await launch(t, { dataDir, onLine, env: { NODE_OPTIONS: '--no-warnings' } });

  const order = await seenBy(shop, 'order');
  t.match(order, { name: 'order', DATA_DIR: dataDir, CATALOG_URLS: shop.urls.catalog });
  t.notOk('NODE_OPTIONS' in order, 'a test runner cannot put itself into the services');
  const { catalog, order: orderUrl } = shop.urls;
  t.match(await seenBy(shop, 'gateway'), { CATALOG_URLS: catalog, ORDER_URLS: orderUrl });

  const exits = await shop.stop();
  t.same([...exits.keys()], ['gateway', 'order', 'catalog']);
  t.ok([...exits.values()].every(({ code }) => code === 0));
  const stops = lines.filter((line) => line.includes('stopping'));
  t.same(
    stops.map((line) => line.split(' ')[0]),
    ['gateway', 'order', 'catalog'],
  );
  t.ok(lines.includes('order a warning'), 'stderr is shown too once a service listens');
  t.notOk(names.some((name) => isAlive(shop.service(name).pid)));
});

t.test('when a service is ended or paused, then it comes back on its port', async (t) => {
  const deaths: string[] = [];
  const shop = await launch(t, { onDeath: (service) => deaths.push(service) });
  const catalog = shop.service('catalog');
  const { url, pid } = catalog;

  t.same(await catalog.kill(), { code: null, signal: 'SIGKILL' });
  t.notOk(catalog.running);
  await catalog.restart();
  t.not(catalog.pid, pid);
  t.equal(catalog.url, url);
  t.match(await seenBy(shop, 'catalog'), { PORT: new URL(url).port });

  catalog.pause();
  await until('it is paused', () => isPaused(catalog.pid));
  catalog.resume();
  await until('it goes on', async () => !(await isPaused(catalog.pid)));
  t.match(await seenBy(shop, 'catalog'), { name: 'catalog' });

  catalog.pause();
  t.equal(await catalog.stop(), 0, 'a paused service is let go on, so that it can stop');
  await t.rejects(fetch(url));
  await catalog.restart();
  await t.rejects(catalog.start(), /running already/);
  t.same(deaths, [], 'none of this is a death');

  await fetch(`${url}/crash`).catch(() => {});
  t.same(await catalog.exited, { code: 3, signal: null });
  t.same(deaths, ['catalog'], 'this is one');
});

t.test('when a service cannot start, then the error says why', async (t) => {
  const dataDir = t.testdir();
  const pidOf = (name: ServiceName) => Number(readFileSync(join(dataDir, `${name}.pid`), 'utf8'));
  const env = (standIn: string) => ({ dataDir, mains, env: { STAND_IN: standIn } });
  const gone = () => names.slice(0, 2).every((name) => !isAlive(pidOf(name)));

  await t.rejects(launchShop(env('order:refuses')), {
    name: 'StartError',
    message: 'The order did not start: The stand-in does not like this folder.',
  });
  t.ok(gone());

  const port = await occupiedPort(t);
  await t.rejects(launchShop({ ...env(''), ports: { order: port } }), {
    message: `The order did not start: The port 127.0.0.1:${port} is taken.`,
  });
  t.ok(gone());

  // How long the others take is the machine's business, so any of them may be named.
  await t.rejects(launchShop({ ...env('order:silent'), startDeadlineMs: 500 }), {
    message: /^The \w+ did not listen within 500 ms\.$/,
  });
  await until('the silent one is gone too', gone);
});

t.test('when a service is not ready, then the shop says what it is told', async (t) => {
  const env = { STAND_IN: 'order:unready' };
  const shop = createShop({ dataDir: t.testdir(), mains, env });
  t.teardown(() => shop.kill());
  const starting = t.rejects(shop.start(), { message: 'The order ended before it was ready.' });
  await until('all three run', () => names.every((name) => shop.service(name).running));
  await until('the gateway listens', () => hasListened(shop.service('gateway')));
  await t.rejects(shop.ready(1), { message: 'The order is not ready: no books' });
  await shop.service('order').kill();
  await starting;
});

t.test('when only a disk is full, then the shop opens all the same', async (t) => {
  const shop = await launch(t, { env: { STAND_IN: 'order:full' } });
  t.ok(shop.service('gateway').running, 'for those who read');
});

t.test('when a service does not stop, then it is killed at the deadline', async (t) => {
  const shop = await launch(t, { env: { STAND_IN: 'order:stubborn' }, stopDeadlineMs: 50 });
  const exits = await shop.stop();
  t.same(exits.get('order'), { code: null, signal: 'SIGKILL' });
});

t.test('when logs are switched, then services that start later are switched too', async (t) => {
  const lines: string[] = [];
  const onLine = (service: ServiceName, line: string) => lines.push(`${service} ${line}`);
  const shop = createShop({ dataDir: t.testdir(), mains, onLine });
  t.teardown(() => shop.kill());
  const counted = () =>
    names.map(
      (name) => lines.filter((line) => new RegExp(`^${name} .*switched`).test(line)).length,
    );

  const opening = shop.start();
  t.ok(shop.service('catalog').running, 'one runs already, but cannot know the signal yet');
  shop.switchLogs();
  await opening;
  await until('all are switched', () => counted().every((count) => count > 0));
  t.same(counted(), [1, 1, 1]);

  await shop.service('order').restart();
  await until('it is switched like the others', () => counted()[1] === 2);
  shop.switchLogs();
  await until('all are switched back', () => counted().join() === '2,3,2');
  await shop.service('order').restart();
  const exits = await shop.stop();
  shop.switchLogs();
  t.ok([...exits.values()].every(({ code }) => code === 0));
  t.same(counted(), [2, 3, 2], 'what starts at its configured level is left there');
});

/** A launcher in a process of its own, opening a shop of stand-ins or what the script opens. */
function openInTerminal(t: Test, env: NodeJS.ProcessEnv, script = standIn('open')) {
  const dataDir = t.testdir();
  const { NODE_OPTIONS: _, ...inherited } = process.env;
  const ports = { GATEWAY_PORT: '0', CATALOG_PORT: '0', ORDER_PORT: '0' };
  const child = spawn(process.execPath, [script], {
    env: { ...inherited, DATA_DIR: dataDir, ...ports, ...env },
    // The channel ends the launcher if this test file is ended.
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  });
  let stdout = '';
  let stderr = '';
  child.stdout?.on('data', (text) => {
    stdout += text;
  });
  child.stderr?.on('data', (text) => {
    stderr += text;
  });
  const ended = new Promise<number | string | null>((resolve) => {
    child.once('exit', (code, signal) => resolve(signal ?? code));
  });
  const closed = new Promise((resolve) => child.once('close', resolve));
  const pids = () =>
    names.map((name) => Number(readFileSync(join(dataDir, `${name}.pid`), 'utf8')));
  t.teardown(() => child.kill('SIGKILL'));
  return {
    child,
    ended,
    pids,
    stdout: () => stdout,
    stderr: () => stderr,
    url: () => stdout.match(/open at (\S+)/)?.[1] ?? '',
    isOpen: () => until('it is open', () => stdout.includes('Bazar is open at')),
    noneLeft: () => until('no service is left', () => !pids().some(isAlive)),
    /** Resolves with the exit code once all that was written has been read. */
    async end() {
      await closed;
      return ended;
    },
  };
}

t.test('when the shop is open in a terminal, then Ctrl-C closes it', async (t) => {
  const { child, end, isOpen, pids, stderr, stdout } = openInTerminal(t, {});
  await isOpen();
  child.kill('SIGINT');
  // Package managers pass on the Ctrl-C that has reached everybody: the same press, twice.
  child.kill('SIGINT');
  t.equal(await end(), 0);
  const lines: unknown[] = stdout()
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
  t.match(lines.at(-1), { name: 'shop', level: 30, msg: 'Bazar is closed.' });
  t.match(
    lines.filter((line) => Object(line).msg === 'listening').map((line) => Object(line).name),
    names,
    'where there is no terminal, each line is JSON, as the service wrote it',
  );
  t.notMatch(stdout(), '\u001b', 'there are no colours where there is no terminal');
  t.equal(stderr(), '');
  t.notOk(pids().some(isAlive));
});

t.test('when Ctrl-C comes while the shop still opens, then it closes too', async (t) => {
  const { child, end, pids, stdout } = openInTerminal(t, { STAND_IN: 'gateway:unready' });
  await until('all listen', () => (stdout().match(/listening/g) ?? []).length === 3);
  child.kill('SIGTERM');
  t.equal(await end(), 0);
  t.notMatch(stdout(), 'Bazar is open');
  t.notOk(pids().some(isAlive));
});

t.test('when Ctrl-C comes again, then what still runs is killed at once', async (t) => {
  const { child, end, isOpen, pids, stderr, stdout } = openInTerminal(t, {
    STAND_IN: 'order:stubborn',
  });
  await isOpen();
  child.kill('SIGINT');
  await until('the order was asked', () => /"name":"order","msg":"no"/.test(stdout()));
  const killing = () => stderr().includes('A second signal');
  await until('it was heard again', () => killing() || (child.kill('SIGINT') && killing()));
  t.equal(await end(), 1);
  t.match(stderr(), 'The order did not stop cleanly (SIGKILL).');
  t.notOk(pids().some(isAlive));
});

t.test('when SIGUSR2 comes, then all services log more, and at the next one less', async (t) => {
  const env = { LOG_LEVEL: 'info' };
  const { child, end, isOpen, stderr, stdout, url } = openInTerminal(t, env, standIn('real'));
  await isOpen();
  const allAreAt = (level: string) =>
    until(`all are at ${level}`, () =>
      names.every((name) =>
        stdout().includes(`"name":"${name}","msg":"the log level is ${level} now"`),
      ),
    );
  const sells = async (when: string) => {
    const answer = await fetch(`${url()}/purchase/1`, { method: 'POST' });
    t.match(await answer.json(), { message: /^bought book / }, when);
  };
  child.kill('SIGUSR2');
  await allAreAt('debug');
  await sells('at debug');
  child.kill('SIGUSR2');
  await allAreAt('info');
  await sells('and back');
  child.kill('SIGTERM');
  t.equal(await end(), 0);
  t.equal(stderr(), '');
});

t.test('when the launcher is killed, then nothing is left running', async (t) => {
  const { child, ended, isOpen, noneLeft } = openInTerminal(t, {});
  await isOpen();
  child.kill('SIGKILL');
  t.equal(await ended, 'SIGKILL');
  await noneLeft();
});

t.test('when the terminal is gone, then the shop closes, and nothing is left', async (t) => {
  const { child, ended, isOpen, noneLeft, url } = openInTerminal(t, {});
  await isOpen();
  child.stdout?.destroy();
  child.stderr?.destroy();
  await fetch(`${url()}/anything-that-is-logged`);
  t.equal(await ended, 1);
  await noneLeft();
});

t.test('when a service dies, then the others are stopped', async (t) => {
  const { end, isOpen, pids, stderr, url } = openInTerminal(t, {});
  await isOpen();
  await fetch(`${url()}/crash`).catch(() => {});
  t.equal(await end(), 1);
  t.equal(stderr(), 'The gateway service died (code 3).\n');
  t.notOk(pids().some(isAlive));
});

t.test('when a service fails while it stops, then the exit code says so', async (t) => {
  const { child, end, isOpen, stderr } = openInTerminal(t, { STAND_IN: 'catalog:fails' });
  await isOpen();
  child.kill('SIGTERM');
  t.equal(await end(), 1);
  t.equal(stderr(), 'The catalog did not stop cleanly (code 7).\n');
});

t.test('when a port is taken or is none, then it is named in one sentence', async (t) => {
  const port = await occupiedPort(t);
  const taken = openInTerminal(t, { GATEWAY_PORT: String(port) });
  t.equal(await taken.end(), 1);
  t.equal(taken.stderr(), `The gateway did not start: The port 127.0.0.1:${port} is taken.\n`);
  t.notOk(taken.pids().some(isAlive));

  const standIns = openInTerminal(t, { STAND_IN: 'catalog:taken' });
  t.equal(await standIns.end(), 1);
  t.equal(
    standIns.stderr(),
    'The catalog service cannot listen on 127.0.0.1:1 (the variables HOST and CATALOG_PORT): x.\n',
    'by the name that whoever opens the shop gives it',
  );

  const none = openInTerminal(t, { ORDER_PORT: '70000' });
  t.equal(await none.end(), 1);
  t.equal(none.stderr(), 'ORDER_PORT is "70000", but a port is a number from 0 to 65535.\n');
});

t.test('when a variable is for one service or leads nowhere, then nothing is opened', async (t) => {
  for (const [name, value] of [
    ['CATALOG_URLS', 'http://127.0.0.1:1'],
    ['ORDER_URLS', 'http://127.0.0.1:1'],
    ['DATABASE_URL', 'postgres://127.0.0.1/one'],
    ['DATABASE_URL_FILE', '/run/secrets/database'],
    ['CATALOG_DATABASE_URL_FILE', '/no/such/file'],
  ] as const) {
    const alone = openInTerminal(t, { [name]: value });
    t.equal(await alone.end(), 1);
    t.match(alone.stderr(), new RegExp(`^${name} (is|names) .*\\.\n$`));
    t.throws(alone.pids, { code: 'ENOENT' }, 'nothing was started');
  }
});

t.test('when the address of a database is in a file, then its service alone gets it', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'bazar-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'secret');
  writeFileSync(file, 'postgres://127.0.0.1/of-the-catalog\n');
  const { isOpen, stdout } = openInTerminal(t, { CATALOG_DATABASE_URL_FILE: file });
  await isOpen();
  const [catalog, order] = ['catalog', 'order'].map(
    (name) => new RegExp(`${name} (http://[^,)]+)`).exec(stdout())?.[1] ?? '',
  );
  const seen = async (url = '') => (await fetch(url)).json();
  t.match(await seen(catalog), { DATABASE_URL: 'postgres://127.0.0.1/of-the-catalog' });
  t.notOk('DATABASE_URL' in Object(await seen(order)));
});

t.test('when sources change, then what is made of them restarts', async (t) => {
  const shop = await launch(t);
  const pids = () => names.map((name) => shop.service(name).pid);
  const said: string[] = [];
  const hashes = { catalog: 'a', order: 'a', gateway: 'a' };
  let result: BuildResult = { ok: true, hashes };
  let builds = 0;
  const build = async () => {
    builds += 1;
    return result;
  };
  const rebuild = createRebuild({ shop, build, say: (line) => said.push(line) }, hashes);

  const [catalog, order, gateway] = pids();
  await rebuild.changed();
  t.same(pids(), [catalog, order, gateway], 'nothing is made of anything else');

  result = { ok: true, hashes: { ...hashes, order: 'b' } };
  await rebuild.changed();
  const [, newOrder] = pids();
  t.not(newOrder, order);
  t.same(pids(), [catalog, newOrder, gateway]);

  result = { ok: false, output: 'book.ts(1,1): error' };
  await rebuild.changed();
  t.same(pids(), [catalog, newOrder, gateway], 'the shop goes on after a build that failed');
  t.match(said.at(-1), 'book.ts(1,1): error');

  result = { ok: true, hashes: { ...hashes, order: 'b', catalog: 'b' } };
  const before = builds;
  await Promise.all([rebuild.changed(), rebuild.changed(), rebuild.changed()]);
  t.equal(builds, before + 2, 'what changes during a build leads to one more');

  await shop.service('gateway').kill();
  await rebuild.changed();
  t.ok(shop.service('gateway').running, 'what does not run is started');

  await rebuild.close();
  result = { ok: true, hashes: { ...hashes, order: 'c' } };
  const last = pids();
  await rebuild.changed();
  t.same(pids(), last, 'a shop that closes restarts nothing');
});

t.test('when a start fails after a change, then the next one tries again', async (t) => {
  const said: string[] = [];
  const shop = await launch(t);
  const hashes = { catalog: 'a', order: 'a', gateway: 'a' };
  const build = async (): Promise<BuildResult> => ({ ok: true, hashes });
  const rebuild = createRebuild({ shop, build, say: (line) => said.push(line) }, hashes);

  const order = shop.service('order');
  await order.kill();
  const stranger = await occupy(t, Number(new URL(order.url).port));
  await rebuild.changed();
  t.same(said, [
    `The order did not start: The port ${new URL(order.url).host} is taken.`,
    'The order starts again at the next change.',
  ]);
  stranger.close();
  await rebuild.changed();
  t.ok(order.running);
});

t.test('when a service logs, then its lines are shown behind its name, tamed', async (t) => {
  const shown = (isTTY: boolean, noColor: string | undefined, line: string): string => {
    const screen = Object.assign(new PassThrough(), { isTTY });
    createTerminal(screen, noColor).line('order', line);
    let text = '';
    for (let part = screen.read(); part !== null; part = screen.read()) text += String(part);
    return text;
  };
  const failed = { level: 50, err: { type: 'Error', message: 'full', stack: 'Error: full' } };
  const rows = shown(false, undefined, JSON.stringify({ ...failed, msg: 'no\u001b[2J C:\\r' }));
  t.match(rows, /^order {3}\| .*ERROR: no\ufffd\[2J C:\\r *$/m);
  t.ok(rows.trimEnd().split('\n').length > 1);
  t.ok(
    rows
      .trimEnd()
      .split('\n')
      .every((row) => row.startsWith('order   | ')),
  );
  t.equal(shown(false, undefined, 'not\tJSON \u009b'), 'order   | not\tJSON \ufffd\n');
  t.match(shown(true, undefined, 'in colour'), '\u001b[35m');
  t.equal(shown(true, '1', 'in no colour'), 'order   | in no colour\n');
});

t.test('when nobody watches, then every line is a JSON object', async (t) => {
  const put = (isTTY: boolean): string => {
    const screen = Object.assign(new PassThrough(), { isTTY });
    const output = createOutput(screen, '1');
    output.line('order', '{"level":30,"msg":"as it is"}');
    for (const line of ['(node:1) Warning: a "quote"', '{half']) output.line('catalog', line);
    output.say('\nBazar is open.\n');
    screen.end();
    return String(screen.read());
  };
  const [kept, ...made] = put(false).trimEnd().split('\n');
  t.equal(kept, '{"level":30,"msg":"as it is"}');
  t.match(
    made.map((line) => JSON.parse(line)),
    [
      { level: 40, name: 'catalog', msg: '(node:1) Warning: a "quote"' },
      { level: 40, name: 'catalog', msg: '{half' },
      { level: 30, name: 'shop', msg: 'Bazar is open.' },
    ],
  );
  t.match(put(true), /^order {3}\| .*INFO: as it is$/m);
});

t.test('when anything changes in a folder, then the watch says so', async (t) => {
  const root = t.testdir({ src: { 'a.ts': '1', inner: { 'b.ts': '1' } } });
  let changes = 0;
  const missing = join(root, 'no-such-folder');
  const watch = await watchFolders([join(root, 'src'), missing], () => {
    changes += 1;
  });
  t.teardown(() => watch.close());
  const noticed = async (what: string, change: () => void) => {
    const before = changes;
    change();
    await until(`${what} was noticed`, () => changes > before);
    t.pass(what);
  };
  await noticed('a file', () => writeFileSync(join(root, 'src/a.ts'), '2'));
  await noticed('a file further in', () => writeFileSync(join(root, 'src/inner/b.ts'), '2'));
  await noticed('a new folder', () => mkdirSync(join(root, 'src/new')));
  await noticed('a file in it', () => writeFileSync(join(root, 'src/new/c.ts'), '1'));
  watch.close();
});
