/** What storage says instead of serving something wrong; the message is a sentence for people. */
export class StorageError extends Error {
  override name = 'StorageError';
}

/** A table that cannot be read: `catalog_data.csv, line 17: quantity must be …`. */
export class BadFile extends StorageError {
  override name = 'BadFile';
  readonly file: string;
  readonly line: number;
  readonly reason: string;

  /**
   * @param file the name of the file, without its folder
   * @param line counted from 1, the header included
   * @param reason half a sentence, for the person who edits the file
   */
  constructor(file: string, line: number, reason: string) {
    super(`${file}, line ${line}: ${reason}`);
    this.file = file;
    this.line = line;
    this.reason = reason;
  }
}

/** Nothing of the write was kept: the disk is full. The same write may succeed later. */
export class StorageFull extends StorageError {
  override name = 'StorageFull';
}

/** What is on the disk is unknown since a call failed: only a new start can find out. */
export class StorageBroken extends StorageError {
  override name = 'StorageBroken';
}

/**
 * For what was read twice and differs: it was only in the page cache, after a failed sync, and has
 * left it since. The next start reads what the disk holds, and nothing else.
 * @param file its name, without its folder
 */
export function changedMeanwhile(file: string): StorageBroken {
  return new StorageBroken(`${file} changed between two readings; start again`);
}

const fullCodes: readonly unknown[] = ['ENOSPC', 'EDQUOT', 'EFBIG'];

/** True for an error that says "no room", from a disk or from this package. */
export function isFull(error: unknown): boolean {
  if (error instanceof StorageFull) return true;
  return error instanceof Error && 'code' in error && fullCodes.includes(error.code);
}

/** An error of the disk as one of this package's, with a sentence that names the file. */
export function storageError(error: unknown, sentence: string): StorageError {
  if (error instanceof StorageError) return error;
  const message = `${sentence}: ${error instanceof Error ? error.message : error}`;
  return isFull(error)
    ? new StorageFull(message, { cause: error })
    : new StorageError(message, { cause: error });
}

/**
 * What a person can do something about, in a sentence: what this package found, or what the system
 * said of a folder (it may not be written, or is none). Undefined for a mistake in the program.
 */
export function troubleOf(error: unknown): string | undefined {
  if (error instanceof StorageError) return error.message;
  return error instanceof Error && 'syscall' in error ? error.message : undefined;
}
