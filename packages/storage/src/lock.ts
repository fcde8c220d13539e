import { basename, dirname } from 'node:path';
import type { Disk, DiskFile } from './disk.js';
import { InUse } from './errors.js';

export interface Lock {
  release(): Promise<void>;
}

/**
 * Makes this process the one writer of a set of files. Whoever removes the lock file makes way for
 * a second writer; so what is written is opened with `openAsWriter` besides.
 * @param path the lock file, such as `…/catalog.lock`; it stays behind, empty, and means nothing
 * @throws InUse with a sentence when another process holds the lock
 */
export async function lockFiles(disk: Disk, path: string): Promise<Lock> {
  const file = await openAsWriter(disk, path, 'create');
  return { release: file.close };
}

/**
 * Opens a file and locks it: it is the file itself that a second process finds in use.
 * @throws InUse with a sentence when another process holds the lock; the disk's error
 */
export async function openAsWriter(
  disk: Disk,
  path: string,
  mode: 'write' | 'create',
): Promise<DiskFile> {
  const file = await disk.open(path, mode);
  try {
    if (await file.tryLock()) return file;
    throw new InUse(
      `${dirname(path)} is in use by another process (it holds ${basename(path)}); ` +
        'stop that one first, or give this one another folder',
    );
  } catch (error) {
    await file.close();
    throw error;
  }
}
