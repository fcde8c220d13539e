import { basename, dirname } from 'node:path';
import { crc32 } from 'node:zlib';
import { type Disk, type DiskFile, readFully, writeFully } from './disk.js';
import {
  changedMeanwhile,
  isFull,
  isOutOfHandles,
  StorageBroken,
  StorageFull,
  storageError,
} from './errors.js';
import { openAsWriter } from './lock.js';

export interface AppendFileOptions {
  readonly disk: Disk;
  readonly path: string;
  /** The file, if `openAsWriter` has opened it already; it is closed when this fails. */
  readonly file?: DiskFile | undefined;
  /** Called once, when the file can no longer be trusted: the process must stop. */
  readonly onBroken: (error: StorageBroken) => void;
  /** How much of an existing file is valid, in bytes; what follows is cut off. Default: all. */
  readonly validBytes?: number;
  /** How much of it was surely synced; the rest is written again. Default: nothing. */
  readonly syncedBytes?: number;
  /** The CRC32 of that rest as its reader found it. Default: not checked. */
  readonly unsyncedCrc32?: number | undefined;
}

export interface AppendFile {
  /** The length in bytes of what is surely on the disk. */
  readonly synced: number;
  /**
   * Writes at the end, and resolves once the bytes are on stable storage, to the offset of the
   * first. One call at a time: the caller batches.
   * @throws StorageFull when there was no room and nothing was kept; StorageBroken when it is
   * unknown what was kept, now and at every later call
   */
  append(bytes: Buffer): Promise<number>;
  /**
   * Makes sure that the file is still the one that its path leads to, and not cut short; each
   * append does so by itself.
   * @throws StorageBroken when it is not, now and at every later call
   */
  verify(): Promise<void>;
  /** Reads from a byte position; short at the end of the file. */
  read(position: number, length: number): Promise<Buffer>;
  close(): Promise<void>;
}

/**
 * Opens a file that grows at its end as its one writer, and makes it if absent. What the file holds
 * was perhaps never synced, or its sync failed and the page cache does not say so (Rebello et al.,
 * "Can Applications Recover from fsync Failures?", 2020): all but `syncedBytes` is therefore
 * written again in its place before the first append.
 * @throws StorageFull when there was no room; StorageBroken when a sync failed, or when the rest is
 * no longer what its reader found; StorageError
 */
export async function openAppendFile(options: AppendFileOptions): Promise<AppendFile> {
  const { disk, path } = options;
  const name = basename(path);
  try {
    const file = options.file ?? (await openAsWriter(disk, path, 'create'));
    try {
      const validBytes = options.validBytes ?? (await file.size());
      const found = await rewrite(file, options.syncedBytes ?? 0, validBytes);
      await file.truncate(validBytes);
      await syncWithFolder(disk, file, path);
      if (found !== (options.unsyncedCrc32 ?? found)) throw changedMeanwhile(name);
      return appendTo(file, validBytes, options);
    } catch (error) {
      await file.close();
      throw error;
    }
  } catch (error) {
    throw storageError(error, `${name} could not be made ready for writing`);
  }
}

async function syncWithFolder(disk: Disk, file: DiskFile, path: string): Promise<void> {
  try {
    await file.sync();
    await disk.syncFolder(dirname(path));
  } catch (error) {
    // The folder could not even be opened: nothing was synced, and nothing failed to be.
    if (isOutOfHandles(error)) throw error;
    throw broken(basename(path), 'could not be synced', error);
  }
}

function broken(name: string, what: string, cause: unknown): StorageBroken {
  const reason = cause instanceof Error ? cause.message : cause;
  const sentence = `${name} ${what} (${reason}); what the disk holds is unknown until a new start`;
  return new StorageBroken(sentence, { cause });
}

const rewriteBytes = 1024 * 1024;

/** Resolves to the CRC32 of what was written. */
async function rewrite(file: DiskFile, from: number, to: number): Promise<number> {
  const buffer = Buffer.allocUnsafe(Math.min(rewriteBytes, to - from));
  let checksum = 0;
  for (let position = from; position < to; position += buffer.length) {
    const part = buffer.subarray(0, Math.min(buffer.length, to - position));
    const count = await readFully(file, part, position);
    if (count < part.length) throw new RangeError('the file is shorter than its valid part');
    await writeFully(file, part, position);
    checksum = crc32(part, checksum);
  }
  return checksum;
}

function appendTo(file: DiskFile, size: number, options: AppendFileOptions): AppendFile {
  const { path, onBroken } = options;
  const name = basename(path);
  let synced = size;
  let busy = false;
  let closed = false;
  let broke: StorageBroken | undefined;

  function breaks(error: unknown, what: string): StorageBroken {
    // A look and an append may find the same at the same time.
    if (broke !== undefined) return broke;
    broke = broken(name, what, error);
    onBroken(broke);
    return broke;
  }

  /**
   * What is written to a file that was removed, replaced or cut is lost though its sync succeeds.
   * @param isWrong tells of a length in bytes
   */
  async function look(isWrong: (size: number) => boolean): Promise<void> {
    const reason = await findFault(isWrong).catch((error: unknown) => error);
    if (reason === undefined || closed) return;
    throw breaks(reason, 'is not as this process left it');
  }

  async function findFault(isWrong: (size: number) => boolean): Promise<string | undefined> {
    if (!(await file.isInPlace())) return `${path} was removed or replaced`;
    const length = await file.size();
    return isWrong(length) ? `it has ${length} bytes, and ${synced} were written` : undefined;
  }

  async function write(bytes: Buffer): Promise<void> {
    try {
      await writeFully(file, bytes, synced);
    } catch (error) {
      // Anything but a full disk is a failing one: a cut back there would only be hoped for.
      if (!isFull(error)) throw breaks(error, 'could not be written');
      await cutBack();
      throw new StorageFull(`there is no room for ${name} to grow`, { cause: error });
    }
  }

  async function cutBack(): Promise<void> {
    try {
      await file.truncate(synced);
      // Else a power loss could bring back the end of this batch behind the beginning of the next.
      await file.sync();
    } catch (error) {
      throw breaks(error, 'could not be cut back after a failed write');
    }
  }

  async function sync(): Promise<void> {
    try {
      await file.datasync();
    } catch (error) {
      // A second fdatasync would succeed without having written the pages that failed.
      throw breaks(error, 'could not be synced');
    }
  }

  return {
    get synced() {
      return synced;
    },
    async append(bytes) {
      if (broke !== undefined) throw broke;
      if (busy) throw new Error(`${name}: an append began before the last one ended`);
      busy = true;
      try {
        await look((length) => length !== synced);
        await write(bytes);
        await sync();
        const offset = synced;
        synced += bytes.length;
        return offset;
      } finally {
        busy = false;
      }
    },
    async verify() {
      if (broke !== undefined) throw broke;
      // Not before it was asked, for an append may be under way: then the file is longer.
      const atLeast = synced;
      await look((length) => length < atLeast);
    },
    async read(position, length) {
      const buffer = Buffer.allocUnsafe(length);
      return buffer.subarray(0, await readFully(file, buffer, position));
    },
    async close() {
      if (busy) throw new Error(`${name}: closed before the last append ended`);
      closed = true;
      await file.close();
    },
  };
}
