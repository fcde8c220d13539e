/** Entries are kept in blocks, so that growing never copies them. */
const blockBits = 14;
const blockSize = 1 << blockBits;

export type IdEntries = ReturnType<typeof createIdEntries>;

/** Ids of four words and their values, numbered 0, 1, 2, … as they come: 24 bytes each. */
export function createIdEntries(capacity: number) {
  const ids: Uint32Array[] = [];
  const values: Float64Array[] = [];
  let size = 0;

  function put(entry: number, value: number): void {
    const block = values[entry >>> blockBits];
    if (block !== undefined) block[entry & (blockSize - 1)] = value;
  }

  function check(entry: number): void {
    if (!(entry >= 0 && entry < size)) throw new RangeError(`there is no entry ${entry}`);
  }

  return {
    get size() {
      return size;
    },
    add(words: Uint32Array, value: number): number {
      if (size === capacity) throw new RangeError(`there are ${size} ids, and no more fit`);
      const entry = size;
      if (entry >>> blockBits === ids.length) {
        ids.push(new Uint32Array(blockSize * 4));
        values.push(new Float64Array(blockSize));
      }
      ids[entry >>> blockBits]?.set(words, (entry & (blockSize - 1)) << 2);
      size += 1;
      put(entry, value);
      return entry;
    },
    put,
    isAt(entry: number, words: Uint32Array): boolean {
      const block = ids[entry >>> blockBits];
      const at = (entry & (blockSize - 1)) << 2;
      return (
        block !== undefined &&
        block[at] === words[0] &&
        block[at + 1] === words[1] &&
        block[at + 2] === words[2] &&
        block[at + 3] === words[3]
      );
    },
    /** Copies the id of an entry into `words`. */
    load(entry: number, words: Uint32Array): void {
      check(entry);
      const block = ids[entry >>> blockBits];
      const at = (entry & (blockSize - 1)) << 2;
      for (let index = 0; index < 4; index += 1) words[index] = block?.[at + index] ?? 0;
    },
    valueAt(entry: number): number {
      check(entry);
      return values[entry >>> blockBits]?.[entry & (blockSize - 1)] ?? 0;
    },
  };
}
