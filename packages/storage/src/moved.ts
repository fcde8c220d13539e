import { join } from 'node:path';
import { type Disk, readFully } from './disk.js';
import { StorageError } from './errors.js';
import { writeNext } from './whole-file.js';

/** Where what the files of a folder hold has been taken. */
export interface MoveNote {
  /** Whose files they are: the id that was laid down with the first of them. */
  readonly id: string;
  /** The places, without their passwords. */
  readonly to: readonly string[];
  /** False while nobody has seen the move come to its end. */
  readonly isDone: boolean;
}

/** Stands in a folder whose files are no longer sold from; whoever deletes it decides otherwise. */
export const moveNoteName = 'moved_to_postgresql.json';

const maxBytes = 64 * 1024;

const meaning =
  'The shop of this folder was moved to PostgreSQL, or a move was begun. Sold from here and from ' +
  'there, its copies would be sold twice: so no service starts on these files while this one is ' +
  'here. To sell from them again, make sure that nobody sells from the databases, and delete it.';

/** @throws StorageError for a note that nobody can read */
export async function readMoveNote(disk: Disk, folder: string): Promise<MoveNote | undefined> {
  const path = join(folder, moveNoteName);
  if (!(await disk.exists(path))) return undefined;
  const file = await disk.open(path, 'read');
  try {
    const buffer = Buffer.alloc(maxBytes);
    const text = buffer.toString('utf8', 0, await readFully(file, buffer, 0));
    return checked(JSON.parse(text));
  } catch (error) {
    if (!(error instanceof SyntaxError || error instanceof TypeError)) throw error;
    throw new StorageError(`${path} is not as a move has written it`, { cause: error });
  } finally {
    await file.close();
  }
}

function checked(note: unknown): MoveNote {
  if (typeof note === 'object' && note !== null && 'id' in note && 'to' in note) {
    const { id, to } = note;
    const isDone = 'isDone' in note && note.isDone === true;
    if (typeof id === 'string' && Array.isArray(to)) return { id, to: to.map(String), isDone };
  }
  throw new TypeError('no note');
}

/** Resolves when the note is durable. */
export async function writeMoveNote(disk: Disk, folder: string, note: MoveNote): Promise<void> {
  const path = join(folder, moveNoteName);
  const text = `${JSON.stringify({ meaning, ...note }, undefined, 2)}\n`;
  await writeNext({ disk, path: `${path}.next`, slices: [text] });
  await disk.rename(`${path}.next`, path);
  await disk.syncFolder(folder);
}

/** Resolves when it is durably gone. */
export async function removeMoveNote(disk: Disk, folder: string): Promise<void> {
  const path = join(folder, moveNoteName);
  if (await disk.exists(path)) await disk.remove(path);
  await disk.syncFolder(folder);
}

/**
 * Asked by a start behind its lock: a move holds the same one until the note stands.
 * @throws StorageError with a sentence when the files are only a backup by now
 */
export async function refuseMoved(disk: Disk, folder: string): Promise<void> {
  if (!(await disk.exists(join(folder, moveNoteName)))) return;
  const { to, isDone } = (await readMoveNote(disk, folder)) ?? { to: [], isDone: false };
  const places = to.join(' and ');
  throw new StorageError(
    isDone
      ? `${folder} was moved to PostgreSQL (${places}), and its files are a backup: start with ` +
          'these databases instead. To sell from the files again, make sure that nobody sells ' +
          `from the databases, and delete ${moveNoteName}`
      : `a move of ${folder} to PostgreSQL (${places}) has not come to its end: run it again. To ` +
          `sell from the files instead, drop these databases, and delete ${moveNoteName}`,
  );
}
