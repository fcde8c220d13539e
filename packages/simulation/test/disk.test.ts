import fc from 'fast-check';
import t from 'tap';
import {
  createDisk,
  createProcess,
  createRandom,
  type DiskMutant,
  type DiskOptions,
  type ProcessDisk,
  type Random,
  type SimulatedDisk,
} from '../src/index.js';

const seed = Number(process.env['SEED'] ?? Date.now() % 2 ** 31);
t.comment(`SEED=${seed}`);

const size = 4 * 512;
const old = Buffer.alloc(size, 'o');
const fresh = Buffer.alloc(size, 'n');

function start(label: string, options: Partial<DiskOptions> = {}) {
  const disk = createDisk({ random: createRandom(`${seed}/${label}`), ...options });
  const life = createProcess('first');
  return { disk, life, view: disk.disk(life) };
}

async function write(view: ProcessDisk, path: string, bytes: Buffer | string): Promise<void> {
  const file = await view.open(path, 'create');
  const given = Buffer.from(bytes);
  for (let count = 0; count < given.length; ) {
    count += await file.write(given.subarray(count), count);
  }
  await file.close();
}

async function sync(view: ProcessDisk, path: string): Promise<void> {
  const file = await view.open(path, 'write');
  await file.datasync();
  await file.close();
}

/** What a new process reads; undefined for a file that is not there. */
async function read(disk: SimulatedDisk, path: string): Promise<string | undefined> {
  const view = disk.disk(createProcess('reader'));
  if (!(await view.exists(path))) return undefined;
  const file = await view.open(path, 'read');
  const buffer = Buffer.alloc((await file.size()) + 1);
  return buffer.toString('latin1', 0, await file.read(buffer, 0));
}

/** What many power losses make of the same story, and how often. */
async function fates(
  tell: (view: ProcessDisk, disk: SimulatedDisk) => Promise<void>,
  classify: (content: string | undefined) => string,
  mutant: DiskMutant = {},
): Promise<Map<string, number>> {
  const counts = new Map<string, number>();
  for (let run = 0; run < 200; run += 1) {
    const { disk, view } = start(`fate ${run}`, { mutant });
    await tell(view, disk);
    disk.powerLoss();
    const fate = classify(await read(disk, 'file'));
    counts.set(fate, (counts.get(fate) ?? 0) + 1);
  }
  return counts;
}

/** `old`, `new`, `empty`, `gone`, or a mixture in which whole sectors or bytes differ. */
function classify(content: string | undefined): string {
  if (content === undefined) return 'gone';
  if (content === '') return 'empty';
  if (content === old.toString()) return 'old';
  if (content === fresh.toString()) return 'new';
  const sectors = content.match(/[\s\S]{1,512}/g) ?? [];
  return sectors.every((sector) => new Set(sector).size === 1) ? 'mixed' : 'torn';
}

async function layOld(view: ProcessDisk): Promise<void> {
  await write(view, 'file', old);
  await sync(view, 'file');
  await view.syncFolder('/');
}

t.test('when the power fails, then only what was synced is sure to stay', async (t) => {
  const overwrite = await fates(async (view) => {
    await layOld(view);
    await write(view, 'file', fresh);
  }, classify);
  t.match([...overwrite.keys()].sort(), ['mixed', 'new', 'old', 'torn'], 'unsynced bytes');

  const synced = await fates(async (view) => {
    await layOld(view);
    await write(view, 'file', fresh);
    await sync(view, 'file');
  }, classify);
  t.same([...synced.keys()], ['new'], 'synced bytes');

  const created = await fates(async (view) => {
    await write(view, 'file', fresh);
    await sync(view, 'file');
  }, classify);
  t.same([...created.keys()].sort(), ['gone', 'new'], 'a name that was not synced');

  const grown = await fates(async (view) => {
    await write(view, 'file', fresh);
    await view.syncFolder('/');
  }, classify);
  t.ok(grown.has('empty') && grown.has('new') && grown.has('mixed'), 'a length is its own');

  const cut = await fates(async (view) => {
    await layOld(view);
    const file = await view.open('file', 'write');
    await file.truncate(0);
  }, classify);
  t.ok(cut.has('old') && cut.has('empty'), 'a truncation');
});

t.test('when the power fails in a rename, then there is one file or the other', async (t) => {
  const counts = await fates(async (view) => {
    await layOld(view);
    await write(view, 'next', fresh);
    await sync(view, 'next');
    await view.rename('next', 'file');
  }, classify);
  t.same([...counts.keys()].sort(), ['new', 'old']);

  const synced = await fates(async (view) => {
    await layOld(view);
    await write(view, 'next', fresh);
    await sync(view, 'next');
    await view.rename('next', 'file');
    await view.syncFolder('/');
  }, classify);
  t.same([...synced.keys()], ['new']);

  const early = await fates(async (view) => {
    await layOld(view);
    await write(view, 'next', fresh);
    await view.rename('next', 'file');
    await view.syncFolder('/');
  }, classify);
  t.ok(early.has('empty'), 'renamed before it was synced, it is empty');
});

t.test('when a disk only claims to sync, then that is seen', async (t) => {
  async function tell(view: ProcessDisk): Promise<void> {
    await write(view, 'file', fresh);
    await sync(view, 'file');
    await view.syncFolder('/');
  }
  t.same([...(await fates(tell, classify)).keys()], ['new']);
  const withoutDatasync = await fates(tell, classify, { ignoreDatasync: true });
  t.ok(withoutDatasync.has('empty'));
  const withoutFolderSync = await fates(tell, classify, { ignoreFolderSync: true });
  t.ok(withoutFolderSync.has('gone'));
});

t.test('when a process is killed, then its calls end and the page cache stays', async (t) => {
  const seen = new Set<string>();
  const counts = await fates(async (view, disk) => {
    await layOld(view);
    const first = createProcess('killed');
    const killed = disk.disk(first);
    const file = await killed.open('file', 'write');
    const locks = (process: ProcessDisk) =>
      process.open('lock', 'create').then((file) => file.tryLock());
    await locks(killed);
    seen.add(`locked: ${!(await locks(view))}`);
    await file.write(fresh, 0);
    first.kill();
    for (const call of [file.datasync(), killed.list('/'), file.close()]) {
      call.finally(() => seen.add('a dead process was answered'));
    }
    seen.add(`free: ${await locks(view)}`);
    seen.add(`read back: ${classify(await read(disk, 'file'))}`);
  }, classify);
  t.same([...seen], ['locked: true', 'free: true', 'read back: new']);
  t.ok(counts.has('old') && counts.has('torn') && counts.has('new'), 'it was never synced');
});

t.test('when a file is locked, then only those who read may share it', async (t) => {
  const { disk, view } = start('locks');
  const other = disk.disk(createProcess('second'));
  await write(view, 'file', old);
  const writer = await view.open('file', 'write');
  const readers = [await view.open('file', 'read'), await other.open('file', 'read')];
  t.ok(await writer.tryLock());
  t.ok(await writer.tryLock(), 'it has it already');
  for (const reader of readers) t.notOk(await reader.tryLock());
  await writer.close();
  for (const reader of readers) t.ok(await reader.tryLock());
  const next = await other.open('file', 'write');
  t.notOk(await next.tryLock());
  for (const reader of readers) await reader.close();
  t.ok(await next.tryLock());
});

t.test('when the name of an open file is taken away, then the file can tell', async (t) => {
  const { view } = start('names');
  await write(view, 'file', old);
  const file = await view.open('file', 'read');
  t.ok(await file.isInPlace());
  await view.rename('file', 'moved');
  t.notOk(await file.isInPlace());
  await write(view, 'file', fresh);
  t.notOk(await file.isInPlace(), 'another file has the name');
  await view.rename('moved', 'file');
  t.ok(await file.isInPlace());
});

t.test('when a call is interrupted, then its effect is none, a part, or all', async (t) => {
  const seen = new Set<string>();
  for (let run = 0; run < 100; run += 1) {
    const { disk, life, view } = start(`interrupted ${run}`);
    const file = await view.open('file', 'create');
    disk.watch(({ name }) => {
      if (name === 'write') life.kill();
    });
    void file.write(fresh, 0).then(() => t.fail('a dead process was answered'));
    const length = (await read(disk, 'file'))?.length ?? 0;
    seen.add(length === 0 ? 'none' : length === size ? 'all' : 'part');
    seen.add(`${disk.calls.find(({ name }) => name === 'write')?.state}`);
  }
  t.same([...seen].sort(), ['all', 'begun', 'none', 'part']);
});

/** Overwrites a file, and has its sync fail. */
async function failToSync(view: ProcessDisk, disk: SimulatedDisk): Promise<void> {
  await layOld(view);
  await write(view, 'file', fresh);
  const lift = disk.fail({ at: ({ name }) => name === 'datasync', error: 'EIO' });
  const succeeded = await sync(view, 'file').then(
    () => true,
    () => false,
  );
  lift();
  if (succeeded) throw new Error('the sync did not fail');
}

t.test('when a sync fails, then what it did not write is never written', async (t) => {
  const readBack = new Set<string>();
  const counts = await fates(async (view, disk) => {
    await failToSync(view, disk);
    await sync(view, 'file');
    readBack.add(classify(await read(disk, 'file')));
  }, classify);
  t.same([...readBack], ['new'], 'the page cache does not say so');
  t.ok(counts.has('mixed') && counts.has('old'), 'the platter does');

  const rewritten = await fates(async (view, disk) => {
    await failToSync(view, disk);
    await write(view, 'file', fresh);
    await sync(view, 'file');
  }, classify);
  t.same([...rewritten.keys()], ['new'], 'unless it is written again');

  const dropped = await fates(async (view, disk) => {
    await failToSync(view, disk);
    disk.dropCaches();
    readBack.add(classify(await read(disk, 'file')));
  }, classify);
  t.same([...readBack].sort(), [...counts.keys()].sort(), 'when the platter is read again');
  t.same([...dropped.keys()].sort(), [...counts.keys()].sort());
});

t.test('when a call is to fail, then it does, and has no effect', async (t) => {
  const { disk, view } = start('faults', { shortWrites: 1 });
  await layOld(view);
  const number = disk.calls.length + 1;
  disk.fail({ at: number, error: 'EIO' });
  await t.rejects(view.rename('file', 'other'), { code: 'EIO' });
  t.equal(disk.calls.at(-1)?.state, 'EIO');
  await view.rename('file', 'other');
  t.same([...disk.files().keys()], ['/other']);
  t.same(disk.files().get('/other'), old, 'short writes were carried on');
  const writes = disk.calls.filter(({ name }) => name === 'write');
  t.ok(writes.length > 1);
});

t.test('when the disk is full, then writes fill it to the brim and then fail', async (t) => {
  const { disk, view } = start('full', { capacityBytes: 3 * 512 });
  const file = await view.open('file', 'create');
  t.equal(await file.write(fresh, 0), 3 * 512);
  await t.rejects(file.write(fresh, 3 * 512), { code: 'ENOSPC' });
  t.equal(await file.write(old.subarray(0, 512), 512), 512, 'what is there can be overwritten');
  await view.remove('file');
  const other = await view.open('other', 'create');
  await t.rejects(other.write(fresh, 0), { code: 'ENOSPC' }, 'an open file keeps its room');
  await file.close();
  t.equal(await other.write(fresh, 0), 3 * 512);
  disk.resize(undefined);
  t.equal(await other.write(fresh, 3 * 512), size);
});

t.test('when a call makes no sense, then it fails as on this machine', async (t) => {
  const { view } = start('nonsense');
  await t.rejects(view.open('none', 'read'), { code: 'ENOENT' });
  await t.rejects(view.open('none', 'write'), { code: 'ENOENT' });
  await t.rejects(view.open('folder/file', 'create'), { code: 'ENOENT' });
  await t.rejects(view.list('folder'), { code: 'ENOENT' });
  await t.rejects(view.syncFolder('folder'), { code: 'ENOENT' });
  await t.rejects(view.remove('none'), { code: 'ENOENT' });
  await view.makeFolder('folder/inner');
  await t.rejects(view.open('folder', 'create'), { code: 'EISDIR' });
  await write(view, 'folder/file', 'text');
  await write(view, 'folder/other', 'other');
  t.same((await view.list('folder')).sort(), ['file', 'inner', 'other']);
  await t.rejects(view.rename('folder/file', 'file'), { code: 'EXDEV' });
  await t.rejects(view.link('folder/file', 'folder/other'), { code: 'EEXIST' });
  await view.link('folder/file', 'folder/third');
  await view.rename('folder/file', 'folder/third');
  t.same((await view.list('folder')).sort(), ['file', 'inner', 'other', 'third']);
  const file = await view.open('folder/file', 'read');
  await t.rejects(file.write(old, 0), { code: 'EBADF' });
  await file.close();
  await t.rejects(file.size(), { code: 'EBADF' });
});

/** A random story about three files. After it, some contents are certain: these are returned. */
async function story(random: Random, view: ProcessDisk): Promise<Map<string, string>> {
  const certain = new Map<string, string>();
  for (let step = 0; step < 30; step += 1) {
    const path = `/${random.pick(['a', 'b', 'c'])}`;
    const bytes = Buffer.alloc(random.integer(2000), random.pick(['x', 'y', 'z']));
    certain.delete(path);
    const file = await view.open(path, 'create');
    if (random.chance(0.3)) await file.truncate(random.integer(1000));
    let count = random.integer(700);
    const end = count + bytes.length;
    while (count < end) count += await file.write(bytes.subarray(count - end), count);
    if (random.chance(0.6)) {
      await file.datasync();
      await view.syncFolder('/');
      const all = Buffer.alloc(await file.size());
      await file.read(all, 0);
      certain.set(path, all.toString('latin1'));
    }
    await file.close();
    if (random.chance(0.2)) {
      const other = `/${random.pick(['a', 'b', 'c'])}`;
      const content = certain.get(path);
      certain.delete(path);
      certain.delete(other);
      await view.rename(path, other);
      await view.syncFolder('/');
      if (content !== undefined) certain.set(other, content);
    }
  }
  return certain;
}

/** Whether some of what was certain is not there after a power loss. */
async function loses(run: number, mutant: DiskMutant): Promise<boolean> {
  const { disk, view } = start(`story ${run}`, { shortWrites: 0.2, mutant });
  const certain = await story(createRandom(`${seed}/telling ${run}`), view);
  disk.powerLoss();
  for (const [path, content] of certain) {
    if ((await read(disk, path)) !== content) return true;
  }
  return false;
}

t.test('when any story ends in a power loss, then what was synced is there', async (t) => {
  const law = (mutant: DiskMutant) =>
    fc.asyncProperty(fc.nat(), async (run) => !(await loses(run, mutant)));
  await fc.assert(law({}), { seed, numRuns: 150 });
  for (const mutant of [{ ignoreDatasync: true }, { ignoreFolderSync: true }]) {
    const { failed } = await fc.check(law(mutant), { seed, numRuns: 150 });
    t.ok(failed, `${Object.keys(mutant)} is caught`);
  }
});

t.test('when the seed is the same, then so is every call and every byte', async (t) => {
  async function trace(label: string): Promise<string> {
    const { disk, view } = start(label, { shortWrites: 0.3 });
    await story(createRandom(`${seed}/trace`), view);
    disk.powerLoss();
    const files = [...disk.files()].map(([path, bytes]) => [path, bytes.toString('latin1')]);
    return JSON.stringify([disk.calls, files]);
  }
  const first = await trace('one');
  t.equal(await trace('one'), first);
  t.not(await trace('other'), first);
});
