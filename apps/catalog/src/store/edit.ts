import { type Book, maxQuantity } from '@bazar/contracts';
import { StorageError } from '@bazar/storage';
import type { Stock } from '../store.js';
import { toStock } from './book-file.js';

/** A person's edit of `catalog_data.csv`, as changes to the stocks as they are now. */
export interface Edit {
  readonly changes: readonly Stock[];
  /** One sentence a change, for the log. */
  readonly sentences: readonly string[];
}

/**
 * Merges an edited table cell by cell (a three-way merge): what differs from the image that the
 * file was made from is the person's wish; all else keeps what the shop has sold and changed since.
 * Quantities count as differences, so that no sale in between is undone.
 * @param base the books as the file showed them before the edit
 * @param edited the books as the file shows them now
 * @param current the stock of a book as the journal left it
 * @throws StorageError when a new row has an id that the shop has given away meanwhile
 */
export function mergeEdit(
  base: Iterable<Book>,
  edited: readonly Book[],
  current: (id: number) => Stock | undefined,
): Edit {
  const changes: Stock[] = [];
  const sentences: string[] = [];
  const removed = new Map([...base].map((book) => [book.id, book]));
  for (const book of edited) {
    const before = removed.get(book.id);
    removed.delete(book.id);
    const stock = current(book.id);
    if (before !== undefined && sameBook(before, book)) continue;
    if (before === undefined && stock !== undefined) {
      throw new StorageError(
        `catalog_data.csv: book ${book.id} is new in the file, but the shop has given that id to ` +
          `"${stock.title}" meanwhile; give the new book another id`,
      );
    }
    const next = mergeBook(before, book, stock);
    changes.push(next);
    sentences.push(describe(before, book, stock, next));
  }
  for (const before of removed.values()) {
    const stock = current(before.id);
    if (stock === undefined || stock.quantity === 0) continue;
    const next = { ...stock, quantity: 0, stocked: stock.sold };
    changes.push(next);
    sentences.push(`book ${stock.id} was removed: its stock of ${stock.quantity} is now 0`);
  }
  return { changes, sentences };
}

const cells = ['title', 'topic', 'quantity', 'price'] as const;

function sameBook(a: Book, b: Book): boolean {
  return cells.every((cell) => a[cell] === b[cell]);
}

function mergeBook(before: Book | undefined, book: Book, stock: Stock | undefined): Stock {
  if (stock === undefined) return toStock(book, book.quantity, 0);
  const base = before ?? stock;
  const wished = stock.quantity + book.quantity - base.quantity;
  const quantity = Math.min(maxQuantity, Math.max(0, wished));
  return {
    id: stock.id,
    title: book.title === base.title ? stock.title : book.title,
    topic: book.topic === base.topic ? stock.topic : book.topic,
    price: book.price === base.price ? stock.price : book.price,
    quantity,
    stocked: stock.stocked + quantity - stock.quantity,
    sold: stock.sold,
  };
}

function describe(
  before: Book | undefined,
  book: Book,
  stock: Stock | undefined,
  next: Stock,
): string {
  if (stock === undefined) return `book ${book.id} is new, with a stock of ${book.quantity}`;
  const parts: string[] = cells
    .filter((cell) => cell !== 'quantity' && before?.[cell] !== book[cell])
    .map((cell) => `${cell} is now ${JSON.stringify(next[cell])}`);
  const wished = book.quantity - (before?.quantity ?? 0);
  if (wished !== 0) {
    const sign = wished > 0 ? '+' : '';
    parts.push(`stock ${sign}${wished}: ${stock.quantity} is now ${next.quantity}`);
  }
  if (stock.quantity + wished < 0) {
    parts.push(`${-(stock.quantity + wished)} of the copies taken away were sold before`);
  }
  return `book ${book.id}: ${parts.join(', ')}`;
}
