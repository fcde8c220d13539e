import { randomFillSync } from 'node:crypto';

/** From 128-bit ids (UUIDs in lower case) to numbers, in 24 bytes and a few for the table. */
export interface IdIndex {
  readonly size: number;
  /** Returns the number of the entry: 0, 1, 2, … in the order in which the ids first came. */
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
  /** Fills the hash tables with random bits; ids come from clients, who might choose them to collide. */
  readonly randomize?: (table: Uint32Array) => void;
}

/** Entries are kept in blocks, so that growing never copies them. */
const blockBits = 14;
const blockSize = 1 << blockBits;
/** The table is many small ones, so that no single insertion has to rebuild all of it. */
const shardBits = 10;
const firstShardSize = 16;
const growth = 2;
const maxLoad = 0.75;
/** A few bits of the hash beside the entry number spare most looks at ids that are others. */
const entryBits = 27;
const entryMask = 2 ** entryBits - 1;

interface Shard {
  /** Entry numbers plus one, and above them a few bits of the hash; 0 is free. */
  slots: Uint32Array;
  used: number;
}

/**
 * Makes an empty index: open addressing over simple tabulation hashing, whose expected cost with
 * linear probing is constant for any ids (Pătraşcu and Thorup, "The Power of Simple Tabulation
 * Hashing", 2011).
 */
export function createIdIndex({ randomize = randomFillSync }: IdIndexOptions = {}): IdIndex {
  const random = new Uint32Array(16 * 256);
  randomize(random);
  const shards: Shard[] = [];
  for (let index = 0; index < 1 << shardBits; index += 1) {
    shards.push({ slots: new Uint32Array(firstShardSize), used: 0 });
  }
  const ids: Uint32Array[] = [];
  const values: Float64Array[] = [];
  const wanted = new Uint32Array(4);
  const stored = new Uint32Array(4);
  let size = 0;

  function load(entry: number): void {
    const block = ids[entry >>> blockBits];
    const at = (entry & (blockSize - 1)) << 2;
    for (let index = 0; index < 4; index += 1) stored[index] = block?.[at + index] ?? 0;
  }

  function isWanted(entry: number): boolean {
    const block = ids[entry >>> blockBits];
    const at = (entry & (blockSize - 1)) << 2;
    return (
      block !== undefined &&
      block[at] === wanted[0] &&
      block[at + 1] === wanted[1] &&
      block[at + 2] === wanted[2] &&
      block[at + 3] === wanted[3]
    );
  }

  function shardOf(hash: number): Shard {
    const shard = shards[hash >>> (32 - shardBits)];
    if (shard === undefined) throw new RangeError('a hash has 32 bits');
    return shard;
  }

  /** The slot of the wanted id in its shard, or the free one where it belongs. */
  function slotOf({ slots }: Shard, hash: number): number {
    let slot = firstSlot(hash, slots.length);
    for (;;) {
      const filled = slots[slot] ?? 0;
      if (filled === 0) return slot;
      if (filled >>> entryBits === tagOf(hash) && isWanted((filled & entryMask) - 1)) return slot;
      slot = slot + 1 === slots.length ? 0 : slot + 1;
    }
  }

  function grow(shard: Shard): void {
    const old = shard.slots;
    const slots = new Uint32Array(old.length * growth);
    for (const filled of old) {
      if (filled === 0) continue;
      load((filled & entryMask) - 1);
      let slot = firstSlot(hashOf(random, stored), slots.length);
      while (slots[slot] !== 0) slot = slot + 1 === slots.length ? 0 : slot + 1;
      slots[slot] = filled;
    }
    shard.slots = slots;
  }

  function add(value: number): number {
    if (size === entryMask) throw new RangeError(`there are ${size} ids, and no more fit`);
    const block = size >>> blockBits;
    if (block === ids.length) {
      ids.push(new Uint32Array(blockSize * 4));
      values.push(new Float64Array(blockSize));
    }
    ids[block]?.set(wanted, (size & (blockSize - 1)) << 2);
    size += 1;
    put(size - 1, value);
    return size - 1;
  }

  function put(entry: number, value: number): void {
    const block = values[entry >>> blockBits];
    if (block !== undefined) block[entry & (blockSize - 1)] = value;
  }

  function valueAt(entry: number): number {
    checkEntry(entry, size);
    return values[entry >>> blockBits]?.[entry & (blockSize - 1)] ?? 0;
  }

  function find(id: string): number {
    if (!parseId(id, wanted)) return -1;
    const hash = hashOf(random, wanted);
    const shard = shardOf(hash);
    return entryIn(shard, slotOf(shard, hash));
  }

  return {
    get size() {
      return size;
    },
    set(id, value) {
      if (!parseId(id, wanted)) throw new RangeError(`"${id}" is not a UUID in lower case`);
      const hash = hashOf(random, wanted);
      const shard = shardOf(hash);
      if (shard.used >= shard.slots.length * maxLoad) grow(shard);
      const slot = slotOf(shard, hash);
      const known = entryIn(shard, slot);
      if (known !== -1) {
        put(known, value);
        return known;
      }
      const entry = add(value);
      shard.slots[slot] = (tagOf(hash) << entryBits) | (entry + 1);
      shard.used += 1;
      return entry;
    },
    get(id) {
      const entry = find(id);
      return entry === -1 ? undefined : valueAt(entry);
    },
    find,
    idAt(entry) {
      checkEntry(entry, size);
      load(entry);
      return formatId(stored);
    },
    valueAt,
  };
}

/** The low bits of a hash: the high ones choose the shard and the slot. */
function tagOf(hash: number): number {
  return hash & (2 ** (32 - entryBits) - 1);
}

function entryIn({ slots }: Shard, slot: number): number {
  return ((slots[slot] ?? 0) & entryMask) - 1;
}

function checkEntry(entry: number, size: number): void {
  if (!(entry >= 0 && entry < size)) throw new RangeError(`there is no entry ${entry}`);
}

function hashOf(random: Uint32Array, id: Uint32Array): number {
  let hash = 0;
  for (let index = 0; index < 4; index += 1) {
    const bits = id[index] ?? 0;
    const table = index << 10;
    hash ^= random[table | (bits & 255)] ?? 0;
    hash ^= random[table | 256 | ((bits >>> 8) & 255)] ?? 0;
    hash ^= random[table | 512 | ((bits >>> 16) & 255)] ?? 0;
    hash ^= random[table | 768 | (bits >>> 24)] ?? 0;
  }
  return hash >>> 0;
}

/** Spreads the bits that did not choose the shard over its slots. */
function firstSlot(hash: number, slots: number): number {
  const fraction = ((hash << shardBits) >>> 0) / 2 ** 32;
  return Math.floor(fraction * slots);
}

const uuidLength = 36;
const hyphen = 0x2d;

/** Reads a UUID into four words; false if it is not one in lower case. */
function parseId(id: string, words: Uint32Array): boolean {
  if (id.length !== uuidLength) return false;
  let digits = 0;
  let bits = 0;
  for (let position = 0; position < uuidLength; position += 1) {
    const code = id.charCodeAt(position);
    if (position === 8 || position === 13 || position === 18 || position === 23) {
      if (code !== hyphen) return false;
      continue;
    }
    const digit = code >= 0x61 ? code - 0x57 : code - 0x30;
    if (digit < 0 || digit > 15 || (digit > 9 && code < 0x61)) return false;
    bits = (bits << 4) | digit;
    digits += 1;
    if (digits % 8 === 0) words[digits / 8 - 1] = bits;
  }
  return true;
}

function formatId(words: Uint32Array): string {
  const bytes = Buffer.allocUnsafe(16);
  for (let index = 0; index < 4; index += 1) bytes.writeUInt32BE(words[index] ?? 0, index * 4);
  const part = (from: number, to: number) => bytes.toString('hex', from, to);
  return `${part(0, 4)}-${part(4, 6)}-${part(6, 8)}-${part(8, 10)}-${part(10, 16)}`;
}
