import { dirname } from 'node:path';
import type { Inode } from './inode.js';
import type { Random } from './random.js';

/** Names that come or go at one stroke: a rename is one change of two names. */
type Change = readonly (readonly [path: string, inode: Inode | undefined])[];

/** The names of files twice: as processes see them, and as a power loss would leave them. */
export interface Entries {
  get(path: string): Inode | undefined;
  /** Every path and its file, as processes see them. */
  all(): IterableIterator<[string, Inode]>;
  /** Applies a change of names in one folder. */
  change(change: Change): void;
  /** All changes in a folder reach the platter. */
  sync(folder: string): void;
  /** Of the changes that did not reach the platter, any may have done so and any may not. */
  losePower(): void;
}

export function createEntries(random: Random): Entries {
  const present = new Map<string, Inode>();
  const platter = new Map<string, Inode>();
  let pending: Change[] = [];

  function apply(names: Map<string, Inode>, change: Change): void {
    for (const [path, inode] of change) {
      if (inode === undefined) names.delete(path);
      else names.set(path, inode);
    }
  }

  return {
    get: (path) => present.get(path),
    all: () => present.entries(),
    change(change) {
      apply(present, change);
      pending.push(change);
    },
    sync(folder) {
      pending = pending.filter((change) => {
        if (change.some(([path]) => dirname(path) !== folder)) return true;
        apply(platter, change);
        return false;
      });
    },
    losePower() {
      const kept = random.pick([0, 0.5, 1]);
      for (const change of pending) if (random.chance(kept)) apply(platter, change);
      pending = [];
      present.clear();
      for (const [path, inode] of platter) present.set(path, inode);
    },
  };
}
