import type { LogRow } from '../crash/holdings.js';
import type { Book, Table } from './table.js';

/** An edit that was adopted. */
export interface Adoption {
  /** Which edit it was, for a report. */
  readonly number: number;
  /** All sales up to this number were made before it. */
  readonly afterSale: number;
  /** What the shop showed in the place of the edit. */
  readonly shown: Table;
  readonly wanted: Table;
}

/** What a shop should have in the end, and what its log says that it should not. */
export interface Account {
  readonly books: Table;
  /** Book → copies put on the shelf, by edits and by the first start. */
  readonly stocked: ReadonlyMap<number, number>;
  readonly breaches: readonly string[];
}

/**
 * Tells again, from the order log and from the edits alone, what must have happened: cell by cell
 * an edit differs from what was shown, quantities as differences, a removed row as no stock; and
 * each sale is made at the title and the price of its time.
 */
export function accountOf(
  first: Table,
  adoptions: readonly Adoption[],
  log: readonly LogRow[],
): Account {
  const books = new Map(first);
  const stocked = new Map([...first.values()].map(({ id, quantity }) => [id, quantity]));
  const breaches: string[] = [];
  const waiting = [...adoptions].sort((one, other) => one.number - other.number);

  function put(book: Book): void {
    const before = books.get(book.id)?.quantity ?? 0;
    stocked.set(book.id, (stocked.get(book.id) ?? 0) + book.quantity - before);
    books.set(book.id, book);
  }

  function adopt({ shown, wanted }: Adoption): void {
    for (const book of wanted.values()) put(merge(shown.get(book.id), book, books.get(book.id)));
    for (const id of shown.keys()) {
      const book = books.get(id);
      if (!wanted.has(id) && book !== undefined) put({ ...book, quantity: 0 });
    }
  }

  function adoptUntil(sale: number): void {
    for (let next = waiting[0]; next !== undefined && next.afterSale < sale; [next] = waiting) {
      adopt(next);
      waiting.shift();
    }
  }

  for (const { sale, itemId, title, price } of [...log].sort((a, b) => a.sale - b.sale)) {
    adoptUntil(sale);
    const book = books.get(itemId);
    if (book === undefined || book.quantity === 0) {
      breaches.push(`sale ${sale}: there was no copy of book ${itemId}`);
      continue;
    }
    if (book.title !== title || book.price !== price) {
      breaches.push(
        `sale ${sale}: "${title}" at ${price}, where it was "${book.title}" at ${book.price}`,
      );
    }
    books.set(itemId, { ...book, quantity: book.quantity - 1 });
  }
  adoptUntil(Number.POSITIVE_INFINITY);
  return { books, stocked, breaches };
}

function merge(shown: Book | undefined, wanted: Book, now: Book | undefined): Book {
  if (shown === undefined || now === undefined) return wanted;
  return {
    id: now.id,
    title: wanted.title === shown.title ? now.title : wanted.title,
    topic: wanted.topic === shown.topic ? now.topic : wanted.topic,
    price: wanted.price === shown.price ? now.price : wanted.price,
    quantity: Math.max(0, now.quantity + wanted.quantity - shown.quantity),
  };
}

const cells = ['title', 'topic', 'quantity', 'price'] as const;

/** Every cell in which a file differs from what it should be, in a sentence each. */
export function differences(expected: Table, found: Table): string[] {
  return [...new Set([...expected.keys(), ...found.keys()])].flatMap((id) => {
    const [wanted, book] = [expected.get(id), found.get(id)];
    if (wanted === undefined) return [`book ${id} should not be there`];
    if (book === undefined) return [`book ${id} is not there`];
    return cells
      .filter((cell) => book[cell] !== wanted[cell])
      .map((cell) => `book ${id}: ${cell} ${book[cell]}, which should be ${wanted[cell]}`);
  });
}
