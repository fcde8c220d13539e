import type { Book, BookChange, Order } from '@bazar/contracts';

/** When somebody asked, and when there was an answer, on the clock of the world. */
export interface Interval {
  readonly from: number;
  readonly to: number;
}

/** What a buyer was told; `unknown` for no answer, or one that says so. */
export type Bought =
  | { readonly result: 'sold'; readonly order: Order }
  | { readonly result: 'sold_out' }
  | { readonly result: 'refused' | 'unknown'; readonly code: string; readonly detail: string };

export interface Attempt extends Interval {
  readonly key: string;
  readonly itemId: number;
  readonly bought: Bought;
}

/** What the keeper was told of a change. */
export type Changed =
  | { readonly result: 'changed'; readonly book: Book }
  | { readonly result: 'refused' | 'unknown'; readonly code: string };

export interface Update extends Interval {
  readonly key: string;
  readonly itemId: number;
  readonly change: BookChange;
  readonly changed: Changed;
}

export interface Read extends Interval {
  readonly book: Book;
}

/** The order service said that there is no such order, after somebody was told that there is. */
export interface Denial extends Interval {
  readonly orderId: string;
}

/** A time in which the order service had no room on its disk. */
export interface Shortage {
  readonly from: number;
  to: number;
}

/** What the people of the simulated world saw, in the order in which they saw it. */
export interface Evidence {
  /** Which keys were ever sent, and for which books. */
  readonly attempted: Map<string, Set<number>>;
  readonly attempts: Attempt[];
  readonly updates: Update[];
  /** At the catalog. */
  readonly reads: Read[];
  /** Through gateways. */
  readonly shopReads: Read[];
  readonly denials: Denial[];
  readonly shortages: Shortage[];
  /** When a process of the order service came to be. */
  readonly orderStarts: number[];
  /** Why a service refused to start, or stopped for good, one sentence each. */
  readonly refusals: string[];
  /** What a service answered with a 500, one sentence each. */
  readonly mistakes: string[];
  readonly counts: Record<string, number>;
}

export function createEvidence(): Evidence {
  return {
    attempted: new Map(),
    attempts: [],
    updates: [],
    reads: [],
    shopReads: [],
    denials: [],
    shortages: [],
    orderStarts: [],
    refusals: [],
    mistakes: [],
    counts: {},
  };
}

export function count(evidence: Evidence, what: string, by = 1): void {
  evidence.counts[what] = (evidence.counts[what] ?? 0) + by;
}
