import { readdir } from 'node:fs/promises';
import { nodeDisk, readMoveNote, StorageError } from '@bazar/storage';

export interface Folders {
  /** Of the catalog's files. */
  readonly catalog: string;
  /** Of the order log. */
  readonly order: string;
}

/** What a shop cannot be opened without. `catalog_data.csv` is written again from the other two. */
export const ofOrders = /^order_log\.(csv|catalog)$/;
export const ofCatalog = /^catalog_(image-\d+\.csv|journal-\d+\.log)$/;
/** An audit needs no more than the file for people, and its shop may have no more. */
const anyOfCatalog = /^catalog_(data|image|journal)/;

/** Which of the folders that a person named is whose: two are told apart by what they hold. */
export async function foldersNamed(first: string, second: string = first): Promise<Folders> {
  const [one, other] = [await namesIn(first), await namesIn(second)];
  const holds = (names: readonly string[], kind: RegExp) => names.some((name) => kind.test(name));
  const isOrders = holds(one, ofOrders) && !holds(one, anyOfCatalog);
  const isCatalog = holds(other, anyOfCatalog) && !holds(other, ofOrders);
  return isOrders && isCatalog
    ? { catalog: second, order: first }
    : { catalog: first, order: second };
}

/** None for a folder that cannot be read: whoever needs its files says so. */
async function namesIn(folder: string): Promise<string[]> {
  return readdir(folder).catch(() => []);
}

/**
 * Copies sold from PostgreSQL are not in the files that were moved there, and a copy of these, which
 * has no note of the move, would sell them again.
 *
 * @throws StorageError where a move has been, or was begun
 */
export async function refuseBackupOfMoved({ catalog, order }: Folders): Promise<void> {
  for (const folder of new Set([catalog, order])) {
    const note = await readMoveNote(nodeDisk, folder);
    if (note === undefined) continue;
    const places = note.to.join(' and ');
    throw new StorageError(
      note.isDone
        ? `${folder} was moved to PostgreSQL (${places}), where the shop sells now: back up these ` +
            'databases, with pg_dump. What they have sold since is not in the files.'
        : `a move of ${folder} to PostgreSQL (${places}) has not come to its end: run it again ` +
            'first.',
    );
  }
}
