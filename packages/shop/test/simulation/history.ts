import type { LoggedOrder } from '@bazar/order';
import { type Call, findAnomaly, type SequentialModel } from '@bazar/simulation';
import type { Attempt, Evidence } from './evidence.js';
import { firstBooks } from './people.js';

/** What was answered, in a form in which equal answers are equal; undefined for no outcome. */
export function outcomeOf({ bought }: Attempt): string | undefined {
  if (bought.result === 'sold') return JSON.stringify(bought.order);
  return bought.result === 'sold_out' ? 'sold out' : undefined;
}

/** Each key, from its first call to its first outcome: within this time it was decided. */
export function decisions({ attempts }: Evidence): (Attempt & { readonly from: number })[] {
  const firstCall = new Map<string, number>();
  const decided = new Map<string, Attempt>();
  for (const attempt of attempts) {
    const { key, itemId, from } = attempt;
    const place = `${key} ${itemId}`;
    firstCall.set(place, Math.min(from, firstCall.get(place) ?? from));
    const known = decided.get(key);
    if (outcomeOf(attempt) === undefined) continue;
    if (known === undefined || attempt.to < known.to) decided.set(key, attempt);
  }
  return [...decided.values()].map((attempt) => {
    const { key, itemId, from } = attempt;
    return { ...attempt, from: firstCall.get(`${key} ${itemId}`) ?? from };
  });
}

/** What a book can be asked, and how it answers. */
type BookInput =
  | { readonly kind: 'read' }
  | { readonly kind: 'sale' }
  | { readonly kind: 'change'; readonly delta: number; readonly price: number | undefined };

/** The stock and the price that the answer shows; a sale shows the price only. */
interface BookOutput {
  readonly result: 'shown' | 'sold' | 'sold_out';
  readonly quantity?: number;
  readonly price?: number;
}

interface BookState {
  readonly quantity: number;
  readonly price: number;
}

function bookModel(initial: BookState): SequentialModel<BookState, BookInput, BookOutput> {
  return {
    initial,
    apply(state, input, output) {
      const next = step(state, input);
      if (output.result === 'sold_out') return state.quantity === 0 ? state : undefined;
      if (next.quantity < 0) return undefined;
      if (output.price !== undefined && output.price !== next.price) return undefined;
      if (output.quantity !== undefined && output.quantity !== next.quantity) return undefined;
      return next;
    },
    keyOf: ({ quantity, price }) => `${quantity} ${price}`,
  };
}

function step(state: BookState, input: BookInput): BookState {
  if (input.kind === 'read') return state;
  if (input.kind === 'sale') return { ...state, quantity: state.quantity - 1 };
  return { quantity: state.quantity + input.delta, price: input.price ?? state.price };
}

/**
 * All that was asked of one book and answered; what was asked again is one operation. What the log
 * has, and its buyer never came back for, happened at some time after it was asked.
 */
function historyOf(
  evidence: Evidence,
  logged: readonly LoggedOrder[],
  item: number,
): Call<BookInput, BookOutput>[] {
  const reads = evidence.reads
    .filter(({ book }) => book.id === item)
    .map(({ book: { quantity, price }, from, to }) => ({
      input: { kind: 'read' } as const,
      output: { result: 'shown', quantity, price } as const,
      from,
      to,
    }));
  const decided = decisions(evidence);
  const known = new Set(decided.map(({ key }) => key));
  const unclaimed = logged
    .filter((row) => row.itemId === item && !known.has(row.orderId))
    .map(({ orderId, price }) => ({
      input: { kind: 'sale' } as const,
      output: { result: 'sold', price } as const,
      from: Math.min(...callsOf(evidence, orderId)),
      to: Number.POSITIVE_INFINITY,
    }));
  const sales = decided
    .filter(({ itemId }) => itemId === item)
    .map(({ bought, from, to }) => ({
      input: { kind: 'sale' } as const,
      output:
        bought.result === 'sold'
          ? ({ result: 'sold', price: bought.order.price } as const)
          : ({ result: 'sold_out' } as const),
      from,
      to,
    }));
  return [...reads, ...sales, ...unclaimed, ...changesOf(evidence, item)];
}

function callsOf({ attempts }: Evidence, wanted: string): number[] {
  return attempts.filter(({ key }) => key === wanted).map(({ from }) => from);
}

function changesOf({ updates }: Evidence, item: number): Call<BookInput, BookOutput>[] {
  const changes = new Map<string, Call<BookInput, BookOutput>>();
  const firstCall = new Map<string, number>();
  for (const { key, itemId, change, changed, from, to } of updates) {
    if (itemId !== item) continue;
    if (!firstCall.has(key)) firstCall.set(key, from);
    if (changed.result !== 'changed' || changes.has(key)) continue;
    const { quantity, price } = changed.book;
    changes.set(key, {
      input: { kind: 'change', delta: change.quantity_delta ?? 0, price: change.price },
      output: { result: 'shown', quantity, price },
      from: firstCall.get(key) ?? from,
      to,
    });
  }
  return [...changes.values()];
}

/**
 * Reads through gateways, each by itself: there must be an order of all purchases and updates in
 * which it comes after whatever was acknowledged before it began. Two of them may disagree about
 * what nobody was told of yet.
 */
export function nothingStale(evidence: Evidence, logged: readonly LoggedOrder[]): string[] {
  return firstBooks.flatMap(({ id, quantity, price }) => {
    const writes = historyOf({ ...evidence, reads: [] }, logged, id);
    const model = bookModel({ quantity, price });
    const shown = evidence.shopReads.filter(({ book }) => book.id === id);
    return shown.flatMap((read) => {
      const { from, to, book } = read;
      const output = { result: 'shown', quantity: book.quantity, price: book.price } as const;
      const history = [...writes, { input: { kind: 'read' } as const, output, from, to }];
      if (findAnomaly(history, model) === undefined) return [];
      return [`book ${id}: ${book.quantity} for ${book.price} from ${from} to ${to} is stale`];
    });
  });
}

/** Reads, purchases and updates of each book, against one that does one thing at a time. */
export function linearizable(evidence: Evidence, logged: readonly LoggedOrder[]): string[] {
  return firstBooks.flatMap(({ id, quantity, price }) => {
    const anomaly = findAnomaly(historyOf(evidence, logged, id), bookModel({ quantity, price }));
    return anomaly === undefined ? [] : [`book ${id}: ${JSON.stringify(anomaly)} has no place`];
  });
}
