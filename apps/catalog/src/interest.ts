import { guardSlotOf, guardSlots } from '@bazar/contracts/internal';

/** What one gateway may keep: the books that it has read since it was last told to forget them. */
export interface Interest {
  /** To be called before the book is read for the gateway. */
  note(itemId: number): void;
  isIn(itemId: number): boolean;
  /** A moment, for `drop`. */
  now(): number;
  /** The gateway has forgotten these books after that moment; what was read since then is kept. */
  drop(books: readonly number[], moment: number): void;
}

/**
 * A callback as in AFS (Howard et al., "Scale and Performance in a Distributed File System", 1988),
 * but in bounded memory: one number for each of the counters that the gateway itself has.
 */
export function createInterest(): Interest {
  const noted = new Float64Array(guardSlots);
  let time = 0;
  const momentOf = (itemId: number) => noted[guardSlotOf(itemId)] ?? 0;
  return {
    note(itemId) {
      time += 1;
      noted[guardSlotOf(itemId)] = time;
    },
    isIn: (itemId) => momentOf(itemId) !== 0,
    now: () => time,
    drop(books, moment) {
      for (const id of books) if (momentOf(id) <= moment) noted[guardSlotOf(id)] = 0;
    },
  };
}
