import { createHash } from 'node:crypto';

/** Stands between the cells of a row, as `chr(31)` does in SQL; no text of ours holds it. */
const separator = '\u001f';
/** 60 bits, which fit a bigint of PostgreSQL's. */
const hexDigits = 15;

/** Adds up rows, in whatever order they come, so that a row that differs shows in the sum. */
export interface Digest {
  readonly sum: bigint;
  add(cells: readonly (string | number | null)[]): void;
}

/**
 * The same sum as, over rows, that of
 * `('x' || left(encode(sha256(convert_to(concat_ws(chr(31), …), 'UTF8')), 'hex'), 15))::bit(60)::bigint`
 * with `coalesce(…::text, '')` for cells that may be NULL.
 */
export function createDigest(): Digest {
  let sum = 0n;
  return {
    get sum() {
      return sum;
    },
    add(cells) {
      const text = cells.map((cell) => cell ?? '').join(separator);
      const hash = createHash('sha256').update(text).digest('hex');
      sum += BigInt(`0x${hash.slice(0, hexDigits)}`);
    },
  };
}
