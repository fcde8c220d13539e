import { constants, copyFile, mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { StorageError } from '@bazar/storage';
import { auditFiles, type Conservation } from './conservation.js';
import { type Folders, ofCatalog, ofOrders, refuseBackupOfMoved } from './folders.js';

/** The catalog begins a journal and an image anew once a second at most, and copies take less. */
const maxAttempts = 20;

/**
 * Copies the files of a shop that may be selling. The order log comes first: what is sold after that
 * is in the catalog's files alone, and the next start logs it; the other way round there would be
 * orders that no catalog knows, and a start refuses that. The catalog's files are one state only if
 * none of them came or went meanwhile; else they are copied once more. A shop that was moved to
 * PostgreSQL is refused.
 *
 * @param to a folder that is not there yet; it appears under this name once it is whole
 * @param audit says what the copy comes to
 * @returns what the copy comes to
 * @throws StorageError in a sentence when there is no sound copy; then there is none at all
 */
export async function backUp(
  from: Folders,
  to: string,
  audit: (copies: Folders) => Promise<Conservation> = auditFiles,
): Promise<Conservation> {
  const unfinished = `${resolve(to)}.unfinished`;
  await refuseTaken(to);
  await refuseBackupOfMoved(from);
  await rm(unfinished, { recursive: true, force: true });
  await mkdir(unfinished, { recursive: true });
  try {
    await copyAll(from.order, unfinished, await listed(from.order, ofOrders));
    await copyCatalog(from.catalog, unfinished);
    await syncFolder(unfinished);
    const copies = { catalog: unfinished, order: unfinished };
    const found = await audit(copies);
    if (found.contradiction !== undefined) throw new StorageError(found.contradiction);
    if (!found.audit.balanced) throw new StorageError('what was copied does not balance.');
    await refuseTaken(to);
    // A move may have begun meanwhile; one that begins later is one after this backup.
    await refuseBackupOfMoved(from);
    await rename(unfinished, to);
    await syncFolder(dirname(resolve(to)));
    return found;
  } catch (error) {
    await rm(unfinished, { recursive: true, force: true });
    throw error;
  }
}

async function copyCatalog(from: string, to: string): Promise<void> {
  for (let attempt = 1; attempt <= maxAttempts; attempt += 1) {
    const names = await listed(from, ofCatalog);
    const isWhole = await copyAll(from, to, names).then(
      () => true,
      (error: unknown) => {
        if (isMissing(error)) return false;
        throw error;
      },
    );
    const after = await listed(from, ofCatalog);
    if (isWhole && after.join() === names.join()) return;
    for (const name of await listed(to, ofCatalog)) await rm(join(to, name));
  }
  throw new StorageError(`the files of the catalog in ${from} changed all the time.`);
}

/** In the order of their names, journals and images from the oldest on. */
async function listed(folder: string, kind: RegExp): Promise<string[]> {
  const all = await readdir(folder).catch((error: unknown) => {
    if (isMissing(error)) throw new StorageError(`there is no folder ${folder}.`);
    throw error;
  });
  const names = all.filter((name) => kind.test(name)).toSorted();
  if (names.length === 0) throw new StorageError(`${folder} holds no shop.`);
  return names;
}

async function copyAll(from: string, to: string, names: readonly string[]): Promise<void> {
  for (const name of names) {
    const copy = join(to, name);
    await copyFile(join(from, name), copy, constants.COPYFILE_FICLONE);
    const file = await open(copy, 'r+');
    await file.sync().finally(() => file.close());
  }
}

async function refuseTaken(to: string): Promise<void> {
  const names = await readdir(to).catch((error: unknown) => {
    if (isMissing(error)) return undefined;
    throw error;
  });
  if (names !== undefined) throw new StorageError(`${to} is there already: name a new folder.`);
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT';
}

async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  await handle.sync().finally(() => handle.close());
}
