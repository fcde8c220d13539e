import { constants, fstatSync, statSync, writeSync } from 'node:fs';
import {
  access,
  type FileHandle,
  link,
  mkdir,
  open,
  readdir,
  rename,
  rm,
  stat,
} from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { tryLock } from 'fs-native-extensions';
import { StorageError, StorageFull } from './errors.js';

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
  /** False once its path leads to another file, or to none: who writes here writes for nobody. */
  isInPlace(): Promise<boolean>;
  /**
   * Locks the file until it is closed, or its process dies. False while another open file has the
   * lock; files that were opened to read only may have it together.
   */
  tryLock(): Promise<boolean>;
  close(): Promise<void>;
}

/** `read`: only; `write`: read and write, must exist; `create`: likewise, made if absent. */
export type OpenMode = 'read' | 'write' | 'create';

/** The file system as an argument, so that a test can lose, tear and refuse writes. */
export interface Disk {
  /** @throws StorageError for a folder, a pipe or a device; the system's error */
  open(path: string, mode: OpenMode): Promise<DiskFile>;
  /** The names in a folder, without their path, in no order. */
  list(folder: string): Promise<string[]>;
  exists(path: string): Promise<boolean>;
  rename(from: string, to: string): Promise<void>;
  /** Gives a file a second name, which must be free. */
  link(path: string, name: string): Promise<void>;
  remove(path: string): Promise<void>;
  /**
   * Makes a folder and those above it, durably; one that exists is fine.
   * @throws StorageError where a file is in the way; the system's error
   */
  makeFolder(path: string): Promise<void>;
  /** Makes what was created, renamed and removed in a folder durable. */
  syncFolder(path: string): Promise<void>;
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
        if (isCode(error, 'ENOENT')) return false;
        throw error;
      },
    ),
  rename,
  link,
  remove: (path) => rm(path),
  makeFolder,
  syncFolder,
};

/** One by one: `mkdir` with `recursive` does not end where a folder cannot be, as under /proc. */
async function makeFolder(path: string): Promise<void> {
  const missing: string[] = [];
  let folder = resolve(path);
  for (; folder !== dirname(folder) && !(await isFolder(folder)); folder = dirname(folder)) {
    missing.unshift(folder);
  }
  for (const made of missing) {
    await mkdir(made).catch(async (error: unknown) => {
      // Another process may have made it meanwhile.
      if (!(await isFolder(made))) throw error;
    });
    // Each new folder is an entry in the one above, which a power loss may take back.
    await syncFolder(dirname(made));
  }
}

/** @throws StorageError for what is there, and is no folder */
async function isFolder(path: string): Promise<boolean> {
  const found = await statOf(path);
  if (found === undefined || found.isDirectory()) return found !== undefined;
  throw new StorageError(`${path} is a file where a folder should be`);
}

async function statOf(path: string) {
  try {
    return await stat(path);
  } catch (error) {
    // Below a file there is nothing either; what is in the way is found further up.
    if (isCode(error, 'ENOENT', 'ENOTDIR')) return undefined;
    throw error;
  }
}

function isCode(error: unknown, ...codes: readonly string[]): boolean {
  return error instanceof Error && 'code' in error && codes.includes(String(error.code));
}

/** To open a pipe would wait for its other end, for ever; and a folder or a device is no file. */
async function refuseStrange(path: string): Promise<void> {
  const found = await statOf(path);
  if (found === undefined || found.isFile()) return;
  const kind = found.isDirectory() ? 'a folder' : 'a pipe or a device';
  throw new StorageError(`${path} is ${kind} where a file should be`);
}

/**
 * What of a file is locked. On Windows nobody else can read what is locked, so it is a byte that no
 * file ever has; elsewhere a lock concerns lockers only, and macOS knows none but of a whole file.
 */
const lockRange =
  process.platform === 'win32' ? { offset: 2 ** 52, length: 1 } : { offset: 0, length: 0 };

/** A handle that nobody refers to is closed by the garbage collector, and its lock goes with it. */
const locked = new Set<FileHandle>();

/** So much of a file may wait for a sync before its writes are left to a thread. */
const maxBytesAtOnce = 64 * 1024;

async function openFile(path: string, mode: OpenMode): Promise<DiskFile> {
  await refuseStrange(path);
  const handle = await open(path, flags[mode], 0o644);
  /** Bytes that were written since the last sync began. */
  let waiting = 0;
  return {
    read: async (buffer, position) =>
      (await handle.read(buffer, 0, buffer.length, position)).bytesRead,
    // Few bytes are in the kernel's memory before a thread would have woken up to write them; what
    // has to wait for the disk is the sync. Of a long file that is written without one the kernel
    // may ask to wait at any write.
    async write(bytes, position) {
      waiting += bytes.length;
      return waiting <= maxBytesAtOnce
        ? writeSync(handle.fd, bytes, 0, bytes.length, position)
        : (await handle.write(bytes, 0, bytes.length, position)).bytesWritten;
    },
    datasync() {
      waiting = 0;
      return handle.datasync();
    },
    sync() {
      waiting = 0;
      return handle.sync();
    },
    truncate: (length) => handle.truncate(length),
    // These two are asked before every append. What they ask for is in the kernel's memory: by way
    // of a thread the answer would take ten times as long.
    size: async () => fstatSync(handle.fd).size,
    isInPlace: async () => isSameFile(handle, path),
    async tryLock() {
      const { offset, length } = lockRange;
      const isLocked = tryLock(handle.fd, offset, length, { shared: mode === 'read' });
      if (isLocked) locked.add(handle);
      return isLocked;
    },
    close() {
      locked.delete(handle);
      return handle.close();
    },
  };
}

/** Numbers of files may be larger than a double holds. */
function isSameFile({ fd }: FileHandle, path: string): boolean {
  const here = fstatSync(fd, { bigint: true });
  const there = statSync(path, { bigint: true, throwIfNoEntry: false });
  return here.ino === there?.ino && here.dev === there.dev;
}

async function syncFolder(path: string): Promise<void> {
  const handle = await open(path, constants.O_RDONLY);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
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
