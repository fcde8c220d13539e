import { topicOf } from './books.js';

/** What clients ask for: books, topics, copies; or nine books and one copy in turn. */
export const kinds = ['info', 'search', 'purchase', 'mixed'] as const;
export type Kind = (typeof kinds)[number];

export interface Asked {
  readonly method: 'GET' | 'POST';
  readonly path: string;
}

/** Every connection repeats a list of this many requests. */
const listLength = 200;
const purchasePeriod = 10;

/**
 * The requests that one connection repeats. The books are spread over all of the catalog by a
 * multiplicative hash (Knuth, TAOCP 6.4), so that every run asks for the same ones.
 *
 * @param client the number of the connection: each begins at another place, or all would buy at once
 */
export function requestsOf(kind: Kind, books: number, client: number): Asked[] {
  return Array.from({ length: listLength }, (_, index) => {
    const place = client * listLength + index;
    const id = 1 + ((Math.imul(place, 0x9e3779b1) >>> 0) % books);
    const isPurchase = kind === 'purchase' || (kind === 'mixed' && isTurn(client, index));
    if (isPurchase) return { method: 'POST', path: `/purchase/${id}` };
    if (kind === 'search') {
      return { method: 'GET', path: `/search/${encodeURIComponent(topicOf(id, books))}` };
    }
    return { method: 'GET', path: `/info/${id}` };
  });
}

function isTurn(client: number, index: number): boolean {
  return (client + index) % purchasePeriod === 0;
}
