import type { CatalogSums } from '@bazar/catalog';
import type { OrderSums } from '@bazar/order';

/** What a shop comes to, wherever it is kept. */
export type ShopSums = CatalogSums & OrderSums;

/** What people read of it; two digests stand for the rows themselves. */
const names = {
  books: 'books',
  stocked: 'stocked',
  remaining: 'remaining',
  sold: 'sold',
  orders: 'orders',
  cents: 'sum of prices',
  outcomes: 'outcomes remembered',
  lastSale: 'last sale',
  nextBook: 'next book',
} as const satisfies Partial<Record<keyof ShopSums, string>>;

const digests = {
  bookDigest: 'a book',
  outcomeDigest: 'a remembered outcome',
  orderDigest: 'an order',
} as const satisfies Partial<Record<keyof ShopSums, string>>;

function isName(key: string): key is keyof typeof names {
  return Object.hasOwn(names, key);
}

function shown(key: keyof typeof names, value: bigint): string {
  if (key !== 'cents') return String(value);
  const digits = String(value).padStart(3, '0');
  return `${digits.slice(0, -2)}.${digits.slice(-2)}`;
}

/**
 * What two accounts of the same rows do not agree about, in half sentences; none if they agree.
 * @param there of some of the sums, or of all
 */
export function differences<Some extends Partial<ShopSums>>(here: ShopSums, there: Some): string[] {
  const found: string[] = [];
  for (const [key, value] of Object.entries(there)) {
    if (!isName(key) || typeof value !== 'bigint' || value === here[key]) continue;
    found.push(`${names[key]} ${shown(key, value)} instead of ${shown(key, here[key])}`);
  }
  // Where the sums agree already, this is what is left: a title, or two rows that changed places.
  if (found.length > 0) return found;
  return Object.entries(digests).flatMap(([key, what]) => {
    const value = Object.entries(there).find(([name]) => name === key)?.[1];
    const expected = Object.entries(here).find(([name]) => name === key)?.[1];
    return value === undefined || value === expected ? [] : [`${what} is not as in the files`];
  });
}

/** Both sides beside each other, a sum a line. */
export function comparison(here: ShopSums, there: ShopSums): string[] {
  const rows = Object.keys(names)
    .filter(isName)
    .map((key) => [names[key], shown(key, here[key]), shown(key, there[key])] as const);
  const all = [['', 'files', 'PostgreSQL'] as const, ...rows];
  const width = (column: 0 | 1 | 2) => Math.max(...all.map((row) => row[column].length));
  return all.map(([name, left, right]) =>
    [name.padEnd(width(0)), left.padStart(width(1)), right.padStart(width(2))].join('  '),
  );
}
