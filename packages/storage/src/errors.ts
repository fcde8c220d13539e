/** What storage says instead of serving something wrong; the message is a sentence for people. */
export class StorageError extends Error {
  override name = 'StorageError';
}

/** Another process is the writer of these files. */
export class InUse extends StorageError {}

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

/**
 * Nothing of the write was kept: the disk is full, or too many files are open. The same write may
 * succeed later.
 */
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
/** No more files can be opened, by this process or on this machine. */
const handleCodes: readonly unknown[] = ['EMFILE', 'ENFILE'];

/**
 * True for an error that says "no room for the moment", on the disk or among the open files, from
 * a disk or from this package.
 */
export function isFull(error: unknown): boolean {
  if (error instanceof StorageFull || isOutOfHandles(error)) return true;
  return error instanceof Error && 'code' in error && fullCodes.includes(error.code);
}

/** True for an error that says that a file could not be opened because too many are open. */
export function isOutOfHandles(error: unknown): boolean {
  return error instanceof Error && 'code' in error && handleCodes.includes(error.code);
}

/** An error of the disk as one of this package's, with a sentence that names the file. */
export function storageError(error: unknown, sentence: string): StorageError {
  if (error instanceof StorageError) return error;
  const message = `${sentence}: ${error instanceof Error ? error.message : error}`;
  return isFull(error)
    ? new StorageFull(message, { cause: error })
    : new StorageError(message, { cause: error });
}

/** What the system's codes mean for a person, in half a sentence. */
const reasons: Readonly<Record<string, string>> = {
  EACCES: 'this user may not do that there',
  EPERM: 'this user may not do that there',
  EROFS: 'the disk is mounted to be read only',
  ENOENT: 'it is not there, and cannot be made',
  ENOTDIR: 'there is a file where a folder should be',
  ENAMETOOLONG: 'the name is too long',
  ELOOP: 'its links lead in a circle',
  EMFILE: 'too many files are open',
  ENFILE: 'too many files are open on this machine',
};

/**
 * What a person can do something about, in a sentence: what this package found, or what the system
 * said of a file or folder. Undefined for a mistake in the program.
 */
export function troubleOf(error: unknown): string | undefined {
  if (error instanceof StorageError) return error.message;
  if (!(error instanceof Error && 'syscall' in error && 'code' in error)) return undefined;
  const reason = reasons[String(error.code)];
  if (reason === undefined || !('path' in error)) return error.message;
  return `${error.path}: ${reason} (${error.code})`;
}
