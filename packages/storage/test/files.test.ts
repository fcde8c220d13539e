import { execFileSync, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import {
  appendFile,
  copyFile,
  mkdir,
  readFile,
  rename,
  rm,
  symlink,
  truncate,
  writeFile,
} from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { openAppendFile } from '../src/append-file.js';
import { type Disk, nodeDisk } from '../src/disk.js';
import { StorageBroken, StorageError, StorageFull, troubleOf } from '../src/errors.js';
import { lockFiles, openAsWriter } from '../src/lock.js';
import { openReserve } from '../src/reserve.js';
import { sha256OfFile, writeNext } from '../src/whole-file.js';
import { type Fault, hookedDisk } from './hooked-disk.js';

/** A disk whose calls fail as told by their names, and what it was asked. */
function faultyDisk() {
  const calls: string[] = [];
  const faults = new Map<string, Fault>();
  const disk = hookedDisk(nodeDisk, ({ name, bytes }) => {
    calls.push(name === 'write' ? `write ${bytes}` : name);
    return faults.get(name);
  });
  return { disk, calls, faults };
}

interface Sizes {
  validBytes?: number;
  syncedBytes?: number;
}

async function openLog(t: Test, disk: Disk, content?: string, sizes: Sizes = {}) {
  const folder = t.testdir(content === undefined ? {} : { 'order_log.csv': content });
  const path = join(folder, 'order_log.csv');
  const broken: StorageBroken[] = [];
  const onBroken = (error: StorageBroken) => broken.push(error);
  const file = await openAppendFile({ disk, path, onBroken, ...sizes });
  t.teardown(() => file.close());
  return { file, path, broken, text: () => readFile(path, 'utf8') };
}

t.test('when bytes are appended, then they are synced before it resolves', async (t) => {
  const { disk, calls } = faultyDisk();
  const { file, text } = await openLog(t, disk);
  t.same(calls.splice(0), ['open', 'truncate', 'sync', 'syncFolder'], 'a new file is durable');
  t.equal(await file.append(Buffer.from('one\n')), 0);
  t.same(calls.splice(0), ['write 4', 'datasync']);
  t.equal(await file.append(Buffer.from('two\n')), 4);
  t.equal(file.synced, 8);
  t.equal((await file.read(4, 3)).toString(), 'two');
  t.equal((await file.read(6, 100)).toString(), 'o\n', 'short at the end');
  t.equal(await text(), 'one\ntwo\n');
});

t.test('when a file is opened again, then its end is written again in its place', async (t) => {
  const { disk, calls } = faultyDisk();
  const sizes = { validBytes: 8, syncedBytes: 4 };
  const { text } = await openLog(t, disk, 'one\ntwo\nthr', sizes);
  t.same(calls, ['open', 'write 4', 'truncate', 'sync', 'syncFolder']);
  t.equal(await text(), 'one\ntwo\n');
  const large = 'x'.repeat(2_500_000);
  const all = await openLog(t, nodeDisk, large);
  t.equal(all.file.synced, large.length);
  t.equal(await all.text(), large);
  const missing = openLog(t, nodeDisk, 'short', { validBytes: 100 });
  await t.rejects(missing, /order_log\.csv could not be made ready/);
});

t.test('when writes are short, then the rest follows', async (t) => {
  const { disk, calls, faults } = faultyDisk();
  const { file, text } = await openLog(t, disk);
  faults.set('write', { short: 3 });
  calls.length = 0;
  await file.append(Buffer.from('12345678\n'));
  t.same(calls, ['write 9', 'write 6', 'write 3', 'datasync']);
  t.equal(await text(), '12345678\n');
});

t.test('when the disk is full, then the write is cut back and may be tried again', async (t) => {
  const full: Fault[] = [{ code: 'ENOSPC' }, { code: 'EDQUOT' }, { code: 'EFBIG' }, { short: 0 }];
  for (const fault of full) {
    let writes = 0;
    const disk = hookedDisk(nodeDisk, ({ name }) => {
      if (name !== 'write') return undefined;
      writes += 1;
      if (writes === 2) return { short: 2 };
      return writes === 3 ? fault : undefined;
    });
    const { file, broken, text } = await openLog(t, disk);
    await file.append(Buffer.from('one\n'));
    await t.rejects(file.append(Buffer.from('two\n')), StorageFull);
    t.equal(await text(), 'one\n', 'the two bytes that had room are taken back');
    t.equal(file.synced, 4);
    t.equal(await file.append(Buffer.from('three\n')), 4);
    t.equal(await text(), 'one\nthree\n');
    t.same(broken, []);
  }
});

t.test('when what is on the disk is unknown, then the file is broken for ever', async (t) => {
  const cases: readonly (readonly [string, Fault])[][] = [
    [['datasync', { code: 'EIO' }]],
    [['datasync', { code: 'ENOSPC' }]],
    [['write', { code: 'EIO' }]],
    [
      ['write', { code: 'ENOSPC' }],
      ['truncate', { code: 'EIO' }],
    ],
    [
      ['write', { code: 'ENOSPC' }],
      ['sync', { code: 'EIO' }],
    ],
  ];
  for (const plan of cases) {
    const { disk, calls, faults } = faultyDisk();
    const { file, broken } = await openLog(t, disk);
    await file.append(Buffer.from('one\n'));
    for (const [name, fault] of plan) faults.set(name, fault);
    await t.rejects(file.append(Buffer.from('two\n')), StorageBroken);
    t.match(broken, [/^StorageBroken: order_log\.csv could not be /]);
    faults.clear();
    calls.length = 0;
    await t.rejects(file.append(Buffer.from('three\n')), StorageBroken);
    t.same(calls, [], 'nothing is tried again');
    t.equal(broken.length, 1, 'it is said once');
    t.equal((await file.read(0, 4)).toString(), 'one\n', 'reads go on');
  }
});

t.test('when a file cannot be opened for writing, then the sentence says why', async (t) => {
  const plan: readonly (readonly [string, Fault, new () => StorageError])[] = [
    ['open', { code: 'ENOSPC' }, StorageFull],
    ['open', { code: 'EIO' }, StorageError],
    ['truncate', { code: 'EIO' }, StorageError],
    ['sync', { code: 'EIO' }, StorageBroken],
    ['syncFolder', { code: 'EIO' }, StorageBroken],
  ];
  for (const [name, fault, error] of plan) {
    const { disk, faults } = faultyDisk();
    faults.set(name, fault);
    await t.rejects(openLog(t, disk), error);
  }
});

t.test('when an append begins before the last one ended, then it is refused', async (t) => {
  const { file, text } = await openLog(t, nodeDisk);
  const first = file.append(Buffer.from('one\n'));
  await t.rejects(file.append(Buffer.from('two\n')), /before the last one ended/);
  await t.rejects(file.close(), /before the last append ended/);
  await first;
  t.equal(await text(), 'one\n');
});

/** What others may do to a file that is being written. */
const tampers: Readonly<Record<string, (path: string) => Promise<void>>> = {
  removed: (path) => rm(path),
  moved: (path) => rename(path, `${path}.away`),
  async replaced(path) {
    await copyFile(path, `${path}.copy`);
    await rename(`${path}.copy`, path);
  },
  cut: (path) => truncate(path, 2),
  lengthened: (path) => appendFile(path, 'x'),
};

for (const [what, tamper] of Object.entries(tampers)) {
  t.test(`when a file is ${what} while it is open, then nothing more is promised`, async (t) => {
    const { disk, calls } = faultyDisk();
    const { file, path, broken } = await openLog(t, disk);
    await file.append(Buffer.from('one\n'));
    await file.verify();
    await tamper(path);
    calls.splice(0);
    await t.rejects(file.append(Buffer.from('two\n')), StorageBroken);
    await t.rejects(file.append(Buffer.from('two\n')), StorageBroken);
    await t.rejects(file.verify(), /order_log\.csv is not as this process left it/);
    t.same(calls, [], 'nothing was written');
    t.equal(broken.length, 1, 'it is said once');
  });
}

t.test('when others look after a file, then they see it before an append does', async (t) => {
  for (const [what, tamper] of Object.entries(tampers)) {
    const { file, path, broken } = await openLog(t, nodeDisk, 'one\n');
    await tamper(path);
    // Only an append knows that nothing else of this process has made the file longer.
    if (what === 'lengthened') await file.verify();
    else await t.rejects(file.verify(), StorageBroken);
    t.equal(broken.length, what === 'lengthened' ? 0 : 1);
  }
  const { file, path, broken } = await openLog(t, nodeDisk);
  await file.close();
  await rm(path);
  await file.verify();
  t.same(broken, [], "a closed file is nobody's concern");
});

t.test(
  'when room is reserved, then it can be spent once, and only when it was there',
  async (t) => {
    const { disk, calls, faults } = faultyDisk();
    const path = join(t.testdir(), 'order_log.reserve');
    const reserve = await openReserve(disk, path, 10_000);
    t.equal(await reserve.spend(), false, 'nothing was reserved');
    for (const name of ['open', 'write', 'sync']) {
      faults.set(name, { code: 'ENOSPC' });
      t.equal(await reserve.fill(), false);
      t.equal(await nodeDisk.exists(path), false, 'what does not suffice is given back');
      faults.clear();
    }
    faults.set('write', { code: 'EIO' });
    await t.rejects(reserve.fill(), StorageError);
    faults.clear();
    t.same(await Promise.all([reserve.fill(), reserve.spend(), reserve.spend()]), [
      true,
      true,
      false,
    ]);
    t.equal(await nodeDisk.exists(path), false);
    t.equal(await reserve.fill(), true);
    t.equal((await readFile(path)).length, 10_000);
    calls.splice(0);
    const next = await openReserve(disk, path, 10_000);
    t.equal(await next.fill(), true);
    t.same(calls, [], 'it is there from the last start');
    await truncate(path, 9_999);
    t.equal(await (await openReserve(disk, path, 10_000)).spend(), false, 'half of it is none');
  },
);

t.test('when a whole file is written, then it is synced and its hash is told', async (t) => {
  const { disk, calls } = faultyDisk();
  const path = join(t.testdir({ 'data.csv.next': 'left over by a crash' }), 'data.csv.next');
  const written = await writeNext({ disk, path, slices: ['id,title\n', '1,Ἰλιάς\n'] });
  const text = 'id,title\n1,Ἰλιάς\n';
  t.equal(await readFile(path, 'utf8'), text);
  const sha256 = createHash('sha256').update(text).digest('hex');
  t.same(written, { sha256, bytes: Buffer.byteLength(text) });
  t.equal(await sha256OfFile(disk, path), sha256);
  t.same(calls, ['open', 'truncate', 'write 9', 'write 14', 'sync']);
  await t.rejects(sha256OfFile(disk, `${path}.absent`), { code: 'ENOENT' });
});

t.test('when a whole file cannot be written, then nothing of it remains', async (t) => {
  const path = join(t.testdir(), 'data.csv.next');
  const plan: readonly (readonly [string, Fault, new () => StorageError])[] = [
    ['open', { code: 'ENOSPC' }, StorageFull],
    ['write', { code: 'ENOSPC' }, StorageFull],
    ['write', { short: 0 }, StorageFull],
    ['write', { code: 'EIO' }, StorageError],
    ['sync', { code: 'EIO' }, StorageError],
  ];
  for (const [name, fault, error] of plan) {
    const { disk, faults } = faultyDisk();
    faults.set(name, fault);
    await t.rejects(writeNext({ disk, path, slices: ['id\n', '1\n'] }), error);
    t.equal(await nodeDisk.exists(path), false);
  }
  async function* failing() {
    yield 'id\n';
    throw new TypeError('the source failed');
  }
  await t.rejects(writeNext({ disk: nodeDisk, path, slices: failing() }), /the source failed/);
  t.equal(await nodeDisk.exists(path), false);
});

t.test('when folders and files are made and renamed, then the disk shows them', async (t) => {
  const folder = join(t.testdir(), 'a', 'b', 'c');
  await nodeDisk.makeFolder(folder);
  await nodeDisk.makeFolder(folder);
  await writeFile(join(folder, 'x'), '');
  t.same(await nodeDisk.list(folder), ['x']);
  await nodeDisk.rename(join(folder, 'x'), join(folder, 'y'));
  await nodeDisk.link(join(folder, 'y'), join(folder, 'z'));
  t.equal(await nodeDisk.exists(join(folder, 'x')), false);
  t.same((await nodeDisk.list(folder)).sort(), ['y', 'z']);
  await t.rejects(nodeDisk.exists('\0'), 'what is no answer is not taken for a no');
});

t.test(
  'when a path leads to what is no file or folder, then it is named, and not waited for',
  async (t) => {
    const folder = t.testdir({ file: '', folder: {} });
    const at = (name: string) => join(folder, name);
    execFileSync('mkfifo', [at('pipe')]);
    await symlink('/dev/zero', at('zero'));
    for (const mode of ['read', 'write', 'create'] as const) {
      for (const name of ['pipe', 'zero', 'folder']) {
        await t.rejects(nodeDisk.open(at(name), mode), {
          name: 'StorageError',
          message: `${at(name)} is ${name === 'folder' ? 'a folder' : 'a pipe or a device'} where a file should be`,
        });
      }
    }
    const message = `${at('file')} is a file where a folder should be`;
    for (const path of ['file', 'file/inner', 'file/inner/most']) {
      await t.rejects(nodeDisk.makeFolder(at(path)), { name: 'StorageError', message });
    }
    await mkdir(at('folder/inner'));
    await nodeDisk.makeFolder(at('folder/inner/most'));
  },
);

const skip = process.platform !== 'linux' && 'there is no /proc';

t.test('when a folder cannot be made, then it is not tried for ever', { skip }, async (t) => {
  const error = await nodeDisk.makeFolder('/proc/bazar/data').catch((cause: unknown) => cause);
  t.equal(troubleOf(error), '/proc/bazar: it is not there, and cannot be made (ENOENT)');
  t.equal(troubleOf(new TypeError('a mistake')), undefined);
});

/** Another process that takes the lock and keeps it. */
async function startHolder(path: string) {
  const { NODE_OPTIONS: _, ...env } = process.env;
  const entry = new URL('../dist/index.js', import.meta.url);
  const code = `
    const { lockFiles, nodeDisk } = await import(${JSON.stringify(entry.href)});
    await lockFiles(nodeDisk, ${JSON.stringify(path)});
    process.stdout.write('locked');
    setInterval(() => globalThis.gc(), 10);
  `;
  const child = spawn(process.execPath, ['--expose-gc', '--input-type=module', '-e', code], {
    env,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [said] = await once(child.stdout, 'data');
  if (String(said) !== 'locked') throw new Error(`the holder said ${said}`);
  return child;
}

t.test('when another process holds the lock, then it is refused until that one dies', async (t) => {
  const path = join(t.testdir(), 'catalog.lock');
  const child = await startHolder(path);
  const exit = once(child, 'exit');
  t.teardown(() => child.kill('SIGKILL'));
  await t.rejects(lockFiles(nodeDisk, path), {
    name: 'StorageError',
    message: /is in use by another process \(it holds catalog\.lock\)/,
  });
  child.kill('SIGSTOP');
  await t.rejects(lockFiles(nodeDisk, path), StorageError);
  child.kill('SIGKILL');
  await exit;
  const lock = await lockFiles(nodeDisk, path);
  await t.rejects(lockFiles(nodeDisk, path), StorageError, 'also within one process');
  await lock.release();
  await (await lockFiles(nodeDisk, path)).release();
});

t.test('when a file is opened by two writers, then the second one is refused', async (t) => {
  const path = join(t.testdir({ log: 'one' }), 'log');
  const inUse = { name: 'StorageError', message: /in use by another process \(it holds log\)/ };
  const first = await openAsWriter(nodeDisk, path, 'write');
  await t.rejects(openAsWriter(nodeDisk, path, 'write'), inUse);
  await t.rejects(openAppendFile({ disk: nodeDisk, path, onBroken: t.fail }), inUse);
  const reader = await nodeDisk.open(path, 'read');
  t.notOk(await reader.tryLock(), 'also to somebody who only reads');
  t.equal(await reader.read(Buffer.alloc(3), 0), 3, 'though everybody may');
  await first.close();
  t.ok(await reader.tryLock());
  const second = await nodeDisk.open(path, 'read');
  t.ok(await second.tryLock(), 'who reads shares it');
  await t.rejects(openAsWriter(nodeDisk, path, 'write'), inUse);
  await reader.close();
  await second.close();
  await (await openAsWriter(nodeDisk, path, 'write')).close();
});
