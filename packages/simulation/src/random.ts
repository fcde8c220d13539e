import { createHash } from 'node:crypto';

/** A stream of pseudo-random draws; the same seed gives the same draws, on every machine. */
export interface Random {
  /** What to pass to `createRandom` to have this stream again. */
  readonly seed: string;
  /** From 0 up to, but not including, 1. */
  next(): number;
  /** A whole number from 0 to `below - 1`. @throws RangeError unless 1 <= below <= 2^32 */
  integer(below: number): number;
  /** From `shortest` up to, but not including, `longest`. */
  between(shortest: number, longest: number): number;
  /** True with this probability, from 0 to 1. */
  chance(probability: number): boolean;
  /** One item of a list. @throws RangeError when the list is empty */
  pick<Item>(list: readonly Item[]): Item;
  /** A copy in random order. */
  shuffle<Item>(list: readonly Item[]): Item[];
  /** A stream of its own: what is drawn from one of the two never shifts the other. */
  fork(label: string): Random;
  /** A UUID of version 4, in lower case. */
  uuid(): string;
}

const span = 2 ** 32;

/**
 * The generator is xoshiro128** (Blackman and Vigna, "Scrambled Linear Pseudorandom Number
 * Generators", 2018), its first state the SHA-256 of the seed, so that near seeds have nothing in
 * common. It is for simulations: whoever sees a few draws can tell the next.
 */
export function createRandom(seed: number | string): Random {
  const name = String(seed);
  const digest = createHash('sha256').update(name).digest();
  let a = digest.readInt32LE(0);
  let b = digest.readInt32LE(4);
  let c = digest.readInt32LE(8);
  let d = digest.readInt32LE(12);

  function word(): number {
    const result = Math.imul(rotate(Math.imul(b, 5), 7), 9) >>> 0;
    const shifted = b << 9;
    c ^= a;
    d ^= b;
    b ^= c;
    a ^= d;
    c ^= shifted;
    d = rotate(d, 11);
    return result;
  }

  function integer(below: number): number {
    if (!Number.isInteger(below) || below < 1 || below > span) {
      throw new RangeError(`a whole number below ${below} cannot be drawn`);
    }
    return Math.floor((word() / span) * below);
  }

  return {
    seed: name,
    next: () => word() / span,
    integer,
    between: (shortest, longest) => shortest + (word() / span) * (longest - shortest),
    chance: (probability) => word() / span < probability,
    pick(list) {
      const index = integer(list.length);
      for (const item of list.slice(index, index + 1)) return item;
      throw new RangeError('an empty list has nothing to pick');
    },
    shuffle<Item>(list: readonly Item[]) {
      const rest = [...list];
      const shuffled: Item[] = [];
      while (rest.length > 0) shuffled.push(...rest.splice(integer(rest.length), 1));
      return shuffled;
    },
    fork: (label) => createRandom(`${name}/${label}`),
    uuid() {
      const bytes = Buffer.alloc(16);
      for (let index = 0; index < 16; index += 4) bytes.writeUInt32LE(word(), index);
      bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x40;
      bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80;
      const part = (from: number, to: number) => bytes.toString('hex', from, to);
      return `${part(0, 4)}-${part(4, 6)}-${part(6, 8)}-${part(8, 10)}-${part(10, 16)}`;
    },
  };
}

function rotate(word: number, bits: number): number {
  return (word << bits) | (word >>> (32 - bits));
}
