import { basename } from 'node:path';
import type { Disk, DiskFile } from '@bazar/storage';

/** A call that changes, or is to secure, what is on the disk. */
export interface Call {
  readonly name: 'open' | 'write' | 'datasync' | 'sync' | 'truncate' | 'rename' | 'syncFolder';
  /** Of the file or folder, without its path. */
  readonly file: string;
  readonly bytes: number;
}

export interface FaultyDisk {
  readonly disk: Disk;
  /** Asked before each such call: an error code makes it fail, a number makes a write short. */
  onCall: (call: Call) => string | number | undefined;
  /** How many files are open. */
  readonly openFiles: number;
  /** Drops every open file, and its lock, as a kill would. */
  crash(): Promise<void>;
}

/** A disk that can be told to fail, and that can be left behind in the middle of anything. */
export function faultyDisk(disk: Disk): FaultyDisk {
  const files = new Set<DiskFile>();
  const faulty: FaultyDisk = {
    disk: { ...disk },
    onCall: () => undefined,
    get openFiles() {
      return files.size;
    },
    crash,
  };

  async function crash(): Promise<void> {
    await Promise.all([...files].map((file) => file.close()));
    files.clear();
  }

  function ask(name: Call['name'], path: string, bytes = 0): number {
    const fault = faulty.onCall({ name, file: basename(path), bytes });
    if (typeof fault !== 'string') return Math.min(bytes, fault ?? bytes);
    throw Object.assign(new Error(`${fault}: ${name} ${basename(path)}`), { code: fault });
  }

  async function open(path: string, mode: Parameters<Disk['open']>[1]): Promise<DiskFile> {
    if (mode !== 'read') ask('open', path);
    const file = await disk.open(path, mode);
    files.add(file);
    return {
      ...file,
      async write(bytes, position) {
        const count = ask('write', path, bytes.length);
        return count === 0 ? 0 : file.write(bytes.subarray(0, count), position);
      },
      async datasync() {
        ask('datasync', path);
        await file.datasync();
      },
      async sync() {
        ask('sync', path);
        await file.sync();
      },
      async truncate(length) {
        ask('truncate', path);
        await file.truncate(length);
      },
      async close() {
        files.delete(file);
        await file.close();
      },
    };
  }

  Object.assign(faulty.disk, {
    open,
    async rename(from: string, to: string) {
      ask('rename', from);
      await disk.rename(from, to);
    },
    async syncFolder(path: string) {
      ask('syncFolder', path);
      await disk.syncFolder(path);
    },
  } satisfies Partial<Disk>);
  return faulty;
}

/** Spares a test the waiting where it is not about syncing. */
export function withoutSync(disk: Disk): Disk {
  return {
    ...disk,
    open: async (path, mode) => ({
      ...(await disk.open(path, mode)),
      datasync: async () => {},
      sync: async () => {},
    }),
    syncFolder: async () => {},
  };
}
