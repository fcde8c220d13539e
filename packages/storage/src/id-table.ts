import type { IdEntries } from './id-entries.js';

/** The table is many small ones, so that no single insertion has to rebuild all of it. */
const shardBits = 10;
const firstShardSize = 16;
const growth = 2;
const maxLoad = 0.75;
/** A few bits of the hash beside the entry number spare most looks at ids that are others. */
const entryBits = 27;
const entryMask = 2 ** entryBits - 1;
/** The number of entries that a table can tell apart. */
export const maxEntries = entryMask;

interface Shard {
  /** Entry numbers plus one, and above them a few bits of the hash; 0 is free. */
  slots: Uint32Array;
  used: number;
}

/**
 * Finds entries by id: open addressing over simple tabulation hashing, whose expected cost with
 * linear probing is constant for any ids (Pătraşcu and Thorup, "The Power of Simple Tabulation
 * Hashing", 2011).
 * @param random 4096 random words, without which ids could be chosen to collide
 */
export function createIdTable(entries: IdEntries, random: Uint32Array) {
  const stored = new Uint32Array(4);
  const shards = Array.from(
    { length: 1 << shardBits },
    (): Shard => ({ slots: new Uint32Array(firstShardSize), used: 0 }),
  );

  function shardOf(hash: number): Shard {
    const shard = shards[hash >>> (32 - shardBits)];
    if (shard === undefined) throw new RangeError('a hash has 32 bits');
    return shard;
  }

  /** The slot of an id in its shard, or the free one where it belongs. */
  function slotOf({ slots }: Shard, hash: number, words: Uint32Array): number {
    let slot = firstSlot(hash, slots.length);
    for (;;) {
      const filled = slots[slot] ?? 0;
      if (filled === 0) return slot;
      const entry = (filled & entryMask) - 1;
      if (filled >>> entryBits === tagOf(hash) && entries.isAt(entry, words)) return slot;
      slot = slot + 1 === slots.length ? 0 : slot + 1;
    }
  }

  function grow(shard: Shard): void {
    const slots = new Uint32Array(shard.slots.length * growth);
    for (const filled of shard.slots) {
      if (filled === 0) continue;
      entries.load((filled & entryMask) - 1, stored);
      let slot = firstSlot(hashOf(random, stored), slots.length);
      while (slots[slot] !== 0) slot = slot + 1 === slots.length ? 0 : slot + 1;
      slots[slot] = filled;
    }
    shard.slots = slots;
  }

  return {
    /** The entry of an id, or -1. */
    find(words: Uint32Array): number {
      const hash = hashOf(random, words);
      const shard = shardOf(hash);
      return ((shard.slots[slotOf(shard, hash, words)] ?? 0) & entryMask) - 1;
    },
    /** Takes in an entry whose id `find` does not find. */
    add(words: Uint32Array, entry: number): void {
      const hash = hashOf(random, words);
      const shard = shardOf(hash);
      if (shard.used >= shard.slots.length * maxLoad) grow(shard);
      shard.slots[slotOf(shard, hash, words)] = (tagOf(hash) << entryBits) | (entry + 1);
      shard.used += 1;
    },
  };
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
  return Math.floor((((hash << shardBits) >>> 0) / 2 ** 32) * slots);
}

/** The low bits of a hash: the high ones choose the shard and the slot. */
function tagOf(hash: number): number {
  return hash & (2 ** (32 - entryBits) - 1);
}
