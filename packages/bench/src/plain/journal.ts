import { existsSync, readFileSync } from 'node:fs';
import { open } from 'node:fs/promises';

export interface Journal {
  /** The rows that were there when the journal was opened. */
  readonly rows: readonly string[];
  /** Resolves when the row is on the disk. */
  append(row: string): Promise<void>;
}

/** A file to which one row at a time is added, each with an `fdatasync` of its own. */
export async function openJournal(path: string): Promise<Journal> {
  const rows = existsSync(path) ? readFileSync(path, 'utf8').split('\n').filter(Boolean) : [];
  const file = await open(path, 'a');
  return {
    rows,
    async append(row) {
      await file.write(`${row}\n`);
      await file.datasync();
    },
  };
}

/** Runs one task at a time, in the order of asking. */
export function createMutex(): <Result>(task: () => Promise<Result>) => Promise<Result> {
  let last: Promise<unknown> = Promise.resolve();
  return (task) => {
    const result = last.then(task);
    last = result.catch(() => undefined);
    return result;
  };
}
