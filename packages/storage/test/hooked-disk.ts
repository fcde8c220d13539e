import { basename } from 'node:path';
import type { Disk, DiskFile } from '../src/disk.js';

/** A call that changes, or is to secure, what is on the disk. */
export interface Call {
  readonly name: string;
  /** Of the file or folder, without its path. */
  readonly file: string;
  readonly bytes: number;
  readonly position: number;
}

/** What happens to a call: an error with this code, or a write of so many bytes only. */
export type Fault = { readonly code: string } | { readonly short: number };

/** A disk that asks `onCall` before each such call, and obeys it. */
export function hookedDisk(disk: Disk, onCall: (call: Call) => Fault | undefined): Disk {
  function ask(name: string, path: string, bytes = 0, position = 0): number {
    const fault = onCall({ name, file: basename(path), bytes, position });
    if (fault === undefined) return bytes;
    if ('short' in fault) return Math.min(bytes, fault.short);
    throw Object.assign(new Error(`${fault.code}: ${name}`), { code: fault.code });
  }

  function hookedFile(file: DiskFile, path: string): DiskFile {
    return {
      ...file,
      async write(bytes, position) {
        const count = ask('write', path, bytes.length, position);
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
        ask('truncate', path, 0, length);
        await file.truncate(length);
      },
    };
  }

  return {
    ...disk,
    async open(path, mode) {
      if (mode === 'create') ask('open', path);
      return hookedFile(await disk.open(path, mode), path);
    },
    async rename(from, to) {
      ask('rename', from);
      await disk.rename(from, to);
    },
    async remove(path) {
      ask('remove', path);
      await disk.remove(path);
    },
    async syncFolder(path) {
      ask('syncFolder', path);
      await disk.syncFolder(path);
    },
  };
}

/** Spares the test the waiting where it is not about syncing. */
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

/** A disk whose open files can be dropped all at once, as when a process is killed. */
export function crashingDisk(disk: Disk): { disk: Disk; crash: () => Promise<void> } {
  const files: DiskFile[] = [];
  return {
    disk: {
      ...disk,
      async open(path, mode) {
        const file = await disk.open(path, mode);
        files.push(file);
        return file;
      },
    },
    async crash() {
      for (const file of files.splice(0)) await file.close();
    },
  };
}
