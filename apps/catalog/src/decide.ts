import { Failure, maxId, maxQuantity } from '@bazar/contracts';
import type { Operation, Stock } from './store.js';

/** What an operation makes of the catalog: the result, and the stock after it if it changes any. */
export type Decision =
  | { readonly result: 'sold' | 'changed' | 'added'; readonly next: Stock }
  | { readonly result: 'sold_out' }
  | { readonly result: 'failed'; readonly failure: Failure };

/**
 * The rules of the shop, without any effect, so that every store decides alike.
 * @param current the book that the operation names, as all earlier operations left it
 * @param nextId the id that a new book would get
 */
export function decide(operation: Operation, current: Stock | undefined, nextId: number): Decision {
  if (operation.kind === 'addition') {
    if (nextId > maxId) return failed('malformed_request', `no id is left above ${maxId}`);
    const { quantity } = operation.book;
    return { result: 'added', next: { id: nextId, ...operation.book, stocked: quantity, sold: 0 } };
  }
  if (current === undefined)
    return failed('book_not_found', `there is no book ${operation.itemId}`);
  if (operation.kind === 'sale') {
    if (current.quantity === 0) return { result: 'sold_out' };
    const next = { ...current, quantity: current.quantity - 1, sold: current.sold + 1 };
    return { result: 'sold', next };
  }
  const { price = current.price, quantity_delta: delta = 0 } = operation.change;
  const quantity = operation.change.quantity ?? current.quantity + delta;
  if (quantity < 0) {
    return failed(
      'stock_below_zero',
      `quantity_delta: ${delta} would take the stock of book ${current.id} from ` +
        `${current.quantity} below zero`,
    );
  }
  if (quantity > maxQuantity) {
    return failed('malformed_request', `quantity_delta: the stock may not exceed ${maxQuantity}`);
  }
  const stocked = current.stocked + quantity - current.quantity;
  return { result: 'changed', next: { ...current, price, quantity, stocked } };
}

function failed(code: Failure['code'], detail: string): Decision {
  return { result: 'failed', failure: new Failure(code, detail) };
}
