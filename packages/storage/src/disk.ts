import { close as closeWithCallback, constants, open as openWithCallback } from 'node:fs';
import { access, link, mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { promisify } from 'node:util';
import { tryLock } from 'fs-native-extensions';
import { StorageFull } from './errors.js';

/** An open file. Every call may reject with an error that has a `code` such as `ENOSPC`. */
export interface DiskFile {
  /** Reads into the buffer from a byte position; resolves to the count, 0 at the end of the file. */
  read(buffer: Buffer, position: number): Promise<number>;
  /** Writes at a byte position; resolves to the count of bytes written, which may be short. */
  write(bytes: Buffer, position: number): Promise<number>;
  /** Resolves once the contents, and the length, are on stable storage. */
  datasync(): Promise<void>;
  sync(): Promise<void>;
  truncate(length: number): Promise<void>;
  size(): Promise<number>;
  close(): Promise<void>;
}

export interface Lock {
  release(): Promise<void>;
}

/** `read`: only; `write`: read and write, must exist; `create`: likewise, made if absent. */
export type OpenMode = 'read' | 'write' | 'create';

/** The file system as an argument, so that a test can lose, tear and refuse writes. */
export interface Disk {
  open(path: string, mode: OpenMode): Promise<DiskFile>;
  /** The names in a folder, without their path, in no order. */
  list(folder: string): Promise<string[]>;
  exists(path: string): Promise<boolean>;
  rename(from: string, to: string): Promise<void>;
  /** Gives a file a second name, which must be free. */
  link(path: string, name: string): Promise<void>;
  remove(path: string): Promise<void>;
  /** Makes a folder and those above it, durably; one that exists is fine. */
  makeFolder(path: string): Promise<void>;
  /** Makes what was created, renamed and removed in a folder durable. */
  syncFolder(path: string): Promise<void>;
  /** The lock on a file (made if absent), or undefined while another holder has it. */
  tryLock(path: string): Promise<Lock | undefined>;
}

const flags = {
  read: constants.O_RDONLY,
  write: constants.O_RDWR,
  create: constants.O_RDWR | constants.O_CREAT,
} satisfies Record<OpenMode, number>;

/** The disk of this machine. */
export const nodeDisk: Disk = {
  open: openFile,
  list: (folder) => readdir(folder),
  exists: (path) =>
    access(path).then(
      () => true,
      (error: unknown) => {
        if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return false;
        throw error;
      },
    ),
  rename,
  link,
  remove: (path) => rm(path),
  async makeFolder(path) {
    const first = await mkdir(path, { recursive: true });
    if (first === undefined) return;
    // Each new folder is an entry in the one above, which a power loss may take back.
    const above = dirname(resolve(first));
    for (let folder = dirname(resolve(path)); folder.length >= above.length; ) {
      await syncFolder(folder);
      if (folder === dirname(folder)) break;
      folder = dirname(folder);
    }
  },
  syncFolder,
  tryLock: lockFile,
};

async function openFile(path: string, mode: OpenMode): Promise<DiskFile> {
  const handle = await open(path, flags[mode], 0o644);
  return {
    read: async (buffer, position) =>
      (await handle.read(buffer, 0, buffer.length, position)).bytesRead,
    write: async (bytes, position) =>
      (await handle.write(bytes, 0, bytes.length, position)).bytesWritten,
    datasync: () => handle.datasync(),
    sync: () => handle.sync(),
    truncate: (length) => handle.truncate(length),
    size: async () => (await handle.stat()).size,
    close: () => handle.close(),
  };
}

async function syncFolder(path: string): Promise<void> {
  const handle = await open(path, constants.O_RDONLY);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

const openDescriptor = promisify(openWithCallback);
const closeDescriptor = promisify(closeWithCallback);

/**
 * A lock of the operating system on the whole file: it stays while its holder is stopped and goes
 * with its holder's death, unlike a lock file with a stale time.
 */
async function lockFile(path: string): Promise<Lock | undefined> {
  // A bare descriptor: a FileHandle that nobody refers to is closed by the garbage collector, and
  // the lock would be gone while its holder still writes.
  const descriptor = await openDescriptor(path, flags.create, 0o644);
  try {
    if (tryLock(descriptor)) return { release: () => closeDescriptor(descriptor) };
  } catch (error) {
    await closeDescriptor(descriptor);
    throw error;
  }
  await closeDescriptor(descriptor);
  return undefined;
}

/** Fills the buffer from a byte position; resolves to the count, short only at the file's end. */
export async function readFully(file: DiskFile, buffer: Buffer, position: number): Promise<number> {
  let count = 0;
  while (count < buffer.length) {
    const read = await file.read(buffer.subarray(count), position + count);
    if (read === 0) break;
    count += read;
  }
  return count;
}

/**
 * Writes all the bytes at a byte position, however short the single writes are.
 * @throws StorageFull for a write that wrote nothing, else the disk's error; what was written until
 * then is left to the caller
 */
export async function writeFully(file: DiskFile, bytes: Buffer, position: number): Promise<void> {
  let count = 0;
  while (count < bytes.length) {
    const written = await file.write(bytes.subarray(count), position + count);
    if (written === 0) throw new StorageFull('a write of several bytes wrote none');
    count += written;
  }
}
