import { basename, dirname, resolve } from 'node:path';
import type { Machine, OpenFile } from './disk.js';
import { type DiskCallName, type DiskCalls, diskError, type Effect } from './disk-call.js';
import type { Inode } from './inode.js';
import type { Process } from './process.js';
import type { Random } from './random.js';

/** An open file; the same shape as in the storage package. */
export interface ProcessFile {
  read(buffer: Buffer, position: number): Promise<number>;
  /** Resolves to the count of bytes written, which may be short. */
  write(bytes: Buffer, position: number): Promise<number>;
  datasync(): Promise<void>;
  sync(): Promise<void>;
  truncate(length: number): Promise<void>;
  size(): Promise<number>;
  /** False once its path leads to another file, or to none. */
  isInPlace(): Promise<boolean>;
  /** Until it is closed or its process dies; those that are open to read only may share it. */
  tryLock(): Promise<boolean>;
  close(): Promise<void>;
}

/**
 * A disk as one process sees it; the same shape as in the storage package. Errors have a `code`;
 * no call is answered any more once the process is dead.
 */
export interface ProcessDisk {
  open(path: string, mode: 'read' | 'write' | 'create'): Promise<ProcessFile>;
  list(folder: string): Promise<string[]>;
  exists(path: string): Promise<boolean>;
  /** Within one folder. */
  rename(from: string, to: string): Promise<void>;
  link(path: string, name: string): Promise<void>;
  remove(path: string): Promise<void>;
  makeFolder(path: string): Promise<void>;
  syncFolder(path: string): Promise<void>;
}

/** How often some unsynced sectors reach the platter by themselves before a write. */
const writeBackChance = 0.125;

export function createProcessDisk(
  process: Process,
  machine: Machine,
  { perform }: DiskCalls,
  random: Random,
): ProcessDisk {
  const { entries, folders } = machine;

  function ask<Result>(name: DiskCallName, path: string, whole: (absolute: string) => Result) {
    const absolute = resolve('/', path);
    return perform({ process, name, path: absolute }, { whole: () => whole(absolute) });
  }

  function named(path: string, name: DiskCallName): Inode {
    const inode = entries.get(path);
    if (inode === undefined) throw diskError('ENOENT', name, path);
    return inode;
  }

  function make(path: string, name: DiskCallName): Inode {
    if (!folders.has(dirname(path))) throw diskError('ENOENT', name, path);
    const inode = machine.createInode();
    entries.change([[path, inode]]);
    return inode;
  }

  return {
    open: (path, mode) =>
      ask('open', path, (absolute) => {
        if (folders.has(absolute)) throw diskError('EISDIR', 'open', absolute);
        const inode = entries.get(absolute);
        if (inode === undefined && mode !== 'create') throw diskError('ENOENT', 'open', absolute);
        const found = inode ?? make(absolute, 'open');
        const access = { path: absolute, inode: found, writable: mode !== 'read' };
        return createProcessFile(process, machine, perform, random, access);
      }),
    list: (folder) =>
      ask('list', folder, (absolute) => {
        if (!folders.has(absolute)) throw diskError('ENOENT', 'list', absolute);
        const paths = [...folders, ...[...entries.all()].map(([path]) => path)];
        const within = paths.filter((path) => dirname(path) === absolute && path !== absolute);
        return random.shuffle(within.map((path) => basename(path)));
      }),
    exists: (path) =>
      ask(
        'exists',
        path,
        (absolute) => folders.has(absolute) || entries.get(absolute) !== undefined,
      ),
    rename: (from, to) =>
      ask('rename', from, (absolute) => {
        const target = resolve('/', to);
        const inode = named(absolute, 'rename');
        if (dirname(target) !== dirname(absolute)) throw diskError('EXDEV', 'rename', absolute);
        // Two names of the same file both stay: so POSIX wants it.
        if (entries.get(target) === inode) return;
        entries.change([
          [absolute, undefined],
          [target, inode],
        ]);
      }),
    link: (path, name) =>
      ask('link', path, (absolute) => {
        const target = resolve('/', name);
        const inode = named(absolute, 'link');
        if (entries.get(target) !== undefined) throw diskError('EEXIST', 'link', target);
        entries.change([[target, inode]]);
      }),
    remove: (path) =>
      ask('remove', path, (absolute) => {
        named(absolute, 'remove');
        entries.change([[absolute, undefined]]);
      }),
    makeFolder: (path) =>
      ask('makeFolder', path, (absolute) => {
        for (let folder = absolute; !folders.has(folder); folder = dirname(folder)) {
          folders.add(folder);
        }
      }),
    syncFolder: (path) =>
      ask('syncFolder', path, (absolute) => {
        if (!folders.has(absolute)) throw diskError('ENOENT', 'syncFolder', absolute);
        if (machine.mutant.ignoreFolderSync !== true) entries.sync(absolute);
      }),
  };
}

/** A file that was opened. */
interface Access {
  readonly path: string;
  readonly inode: Inode;
  readonly writable: boolean;
}

function createProcessFile(
  process: Process,
  machine: Machine,
  perform: DiskCalls['perform'],
  random: Random,
  { path, inode, writable }: Access,
): ProcessFile {
  const descriptor = {};
  const opened: OpenFile = { inode, process, lock: 'none' };
  machine.open.set(descriptor, opened);

  function check(name: DiskCallName): void {
    const writes = name === 'write' || name === 'truncate';
    if (!machine.open.has(descriptor) || (writes && !writable)) {
      throw diskError('EBADF', name, path);
    }
  }

  function ask<Result>(
    name: DiskCallName,
    { whole, half, failed }: Effect<Result>,
    place: { readonly bytes?: number; readonly position?: number } = {},
  ): Promise<Result> {
    const checked = () => {
      check(name);
      return whole();
    };
    return perform({ process, name, path, ...place }, { whole: checked, half, failed });
  }

  function write(bytes: Buffer, position: number): number {
    const room = machine.fitting(inode, bytes.length, position);
    if (room === 0 && bytes.length > 0) throw diskError('ENOSPC', 'write', path);
    const count = room > 1 && machine.isShort() ? 1 + random.integer(room - 1) : room;
    if (random.chance(writeBackChance)) inode.writeBack();
    inode.write(bytes.subarray(0, count), position);
    return count;
  }

  function writeHalf(bytes: Buffer, position: number): void {
    const room = machine.fitting(inode, bytes.length, position);
    if (!writable || !machine.open.has(descriptor) || room === 0) return;
    inode.write(bytes.subarray(0, random.integer(room)), position);
  }

  function sync(name: 'datasync' | 'sync'): Promise<void> {
    if (name === 'datasync' && machine.mutant.ignoreDatasync === true) {
      return ask(name, { whole: () => undefined });
    }
    return ask(name, { whole: inode.sync, half: inode.writeBack, failed: inode.failSync });
  }

  function lock(): boolean {
    const wished = writable ? 'own' : 'shared';
    for (const other of machine.open.values()) {
      const holds = other !== opened && other.inode === inode && other.process.alive;
      if (holds && (other.lock === 'own' || (other.lock === 'shared' && writable))) return false;
    }
    opened.lock = wished;
    return true;
  }

  return {
    read(buffer, position) {
      const whole = () => inode.read(buffer, position);
      return ask('read', { whole }, { bytes: buffer.length, position });
    },
    write(bytes, position) {
      const whole = () => write(bytes, position);
      const half = () => writeHalf(bytes, position);
      return ask('write', { whole, half }, { bytes: bytes.length, position });
    },
    datasync: () => sync('datasync'),
    sync: () => sync('sync'),
    truncate: (length) =>
      ask('truncate', { whole: () => inode.truncate(length) }, { bytes: length }),
    size: () => ask('size', { whole: () => inode.size }),
    isInPlace: () => ask('isInPlace', { whole: () => machine.entries.get(path) === inode }),
    tryLock: () => ask('tryLock', { whole: lock }),
    close: () => ask('close', { whole: () => void machine.open.delete(descriptor) }),
  };
}
