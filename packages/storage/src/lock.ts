import { basename, dirname } from 'node:path';
import type { Disk, Lock } from './disk.js';
import { StorageError } from './errors.js';

/**
 * Makes this process the one writer of a set of files.
 * @param path the lock file, such as `…/catalog.lock`; it stays behind, empty, and means nothing
 * @throws StorageError with a sentence when another process holds the lock
 */
export async function lockFiles(disk: Disk, path: string): Promise<Lock> {
  const lock = await disk.tryLock(path);
  if (lock !== undefined) return lock;
  throw new StorageError(
    `${dirname(path)} is in use by another process (it holds ${basename(path)}); ` +
      'stop that one first, or give this one another folder',
  );
}
