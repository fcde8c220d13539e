import { randomFillSync } from 'node:crypto';
import { createIdEntries } from './id-entries.js';
import { createIdTable, maxEntries } from './id-table.js';
import { readUuid, writeUuid } from './uuid.js';

/** From 128-bit ids (UUIDs in lower case) to numbers, in about 32 bytes each. */
export interface IdIndex {
  readonly size: number;
  /**
   * Returns the number of the entry: 0, 1, 2, … in the order in which the ids first came.
   * @throws RangeError for an id that is not a UUID in lower case, and above 134 million ids
   */
  set(id: string, value: number): number;
  get(id: string): number | undefined;
  /** The number of the entry, or -1. */
  find(id: string): number;
  /** @throws RangeError for a number that no entry has */
  idAt(entry: number): string;
  /** @throws RangeError for a number that no entry has */
  valueAt(entry: number): number;
}

export interface IdIndexOptions {
  /** Fills a hash function with random bits: clients might choose their ids to collide. */
  readonly randomize?: (bits: Uint32Array) => void;
}

/** Makes an empty index. It grows in small steps: no single call has much to move. */
export function createIdIndex({ randomize = randomFillSync }: IdIndexOptions = {}): IdIndex {
  const random = new Uint32Array(16 * 256);
  randomize(random);
  const entries = createIdEntries(maxEntries);
  const table = createIdTable(entries, random);
  const words = new Uint32Array(4);
  const find = (id: string) => (readUuid(id, words) ? table.find(words) : -1);

  return {
    get size() {
      return entries.size;
    },
    set(id, value) {
      if (!readUuid(id, words)) throw new RangeError(`"${id}" is not a UUID in lower case`);
      const known = table.find(words);
      if (known !== -1) {
        entries.put(known, value);
        return known;
      }
      const entry = entries.add(words, value);
      table.add(words, entry);
      return entry;
    },
    get(id) {
      const entry = find(id);
      return entry === -1 ? undefined : entries.valueAt(entry);
    },
    find,
    idAt(entry) {
      entries.load(entry, words);
      return writeUuid(words);
    },
    valueAt: entries.valueAt,
  };
}
