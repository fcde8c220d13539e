import { createHash } from 'node:crypto';
import { basename } from 'node:path';
import { type Disk, type DiskFile, writeFully } from './disk.js';
import { storageError } from './errors.js';

export interface WriteNextOptions {
  readonly disk: Disk;
  /** The file beside the one to be replaced, such as `catalog_data.csv.next`. */
  readonly path: string;
  /** The text in parts; an asynchronous source may let others work between two of them. */
  readonly slices: AsyncIterable<string> | Iterable<string>;
}

export interface WrittenFile {
  /** Of the bytes, in hex. */
  readonly sha256: string;
  readonly bytes: number;
}

/**
 * Writes a whole file and syncs it. To put it in another's place, `disk.rename` and then
 * `disk.syncFolder` are the caller's, who has records to write in between.
 * @throws StorageFull or StorageError when that failed; what was written is removed again
 */
export async function writeNext({ disk, path, slices }: WriteNextOptions): Promise<WrittenFile> {
  let file: DiskFile | undefined;
  try {
    file = await disk.open(path, 'create');
    const written = await writeSlices(file, slices);
    await file.close();
    return written;
  } catch (error) {
    // Best effort: the error that is on its way says more than a second one would, and a left-over
    // is overwritten by the next attempt.
    await file?.close().catch(() => undefined);
    await disk.remove(path).catch(() => undefined);
    throw storageError(error, `${basename(path)} could not be written`);
  }
}

async function writeSlices(
  file: DiskFile,
  slices: AsyncIterable<string> | Iterable<string>,
): Promise<WrittenFile> {
  const hash = createHash('sha256');
  let bytes = 0;
  // A crash may have left a longer file of the same name.
  await file.truncate(0);
  for await (const slice of slices) {
    const part = Buffer.from(slice);
    await writeFully(file, part, bytes);
    hash.update(part);
    bytes += part.length;
  }
  await file.sync();
  return { sha256: hash.digest('hex'), bytes };
}

const readBytes = 1024 * 1024;

/** The SHA-256 of a file's bytes, in hex. */
export async function sha256OfFile(disk: Disk, path: string): Promise<string> {
  const hash = createHash('sha256');
  const buffer = Buffer.allocUnsafe(readBytes);
  const file = await disk.open(path, 'read');
  try {
    for (let position = 0; ; ) {
      const count = await file.read(buffer, position);
      if (count === 0) return hash.digest('hex');
      hash.update(buffer.subarray(0, count));
      position += count;
    }
  } finally {
    await file.close();
  }
}
