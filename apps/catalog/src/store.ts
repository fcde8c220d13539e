import type { Book, BookChange, BookTitle, Failure, NewBook, TopicCount } from '@bazar/contracts';

/** A book with its durable running totals; the conservation law is stocked = quantity + sold. */
export interface Stock extends Book {
  readonly stocked: number;
  readonly sold: number;
}

/** A wish to change the catalog. */
export type Operation = Asked &
  (
    | { readonly kind: 'sale'; readonly itemId: number }
    | { readonly kind: 'change'; readonly itemId: number; readonly change: BookChange }
    | { readonly kind: 'addition'; readonly book: NewBook }
  );

interface Asked {
  /** Makes it safe to repeat. */
  readonly id: string;
  /**
   * Nobody waits for it any more: it is answered if it was decided before, as whoever looks for a
   * lost answer needs, and else not begun.
   */
  readonly isLate?: boolean;
}

/** What became of an operation. Sold, sold out, changed and added are remembered under its id. */
export type Outcome =
  | {
      readonly result: 'sold';
      readonly replayed: boolean;
      /** 1, 2, 3, … without gaps, in commit order. */
      readonly sale: number;
      readonly title: string;
      readonly price: number;
      readonly timestamp: string;
    }
  | { readonly result: 'sold_out'; readonly replayed: boolean }
  | { readonly result: 'changed'; readonly replayed: boolean; readonly book: Book }
  | { readonly result: 'added'; readonly replayed: boolean; readonly book: Book }
  | { readonly result: 'failed'; readonly failure: Failure };

/** The sales after a number, by name only; `firstSale` is the lowest that can still be named. */
export interface Feed {
  readonly catalogId: string;
  readonly firstSale: number;
  readonly lastSale: number;
  readonly operations: readonly { sale: number; operationId: string; itemId: number }[];
}

/** The running totals of some books, all as they were at one sale number. */
export interface Totals {
  readonly sale: number;
  readonly books: readonly Stock[];
}

/**
 * Where books, totals and outcomes are kept. Every store passes the same suite.
 * `after` is exclusive; lists come in the order they page by.
 */
export interface CatalogStore {
  /**
   * Decides the operations in order and makes all of them durable with one commit; only then are
   * they visible to the readers below. Resolves with one outcome per operation, by index.
   * @param batch under what name to note, with the commit, what it changes, where there are other
   *   replicas that have to know
   * @throws Failure `storage_full` when nothing of the batch was kept.
   */
  apply(operations: readonly Operation[], batch?: string): Promise<readonly Outcome[]>;
  book(id: number): Promise<Book | undefined>;
  /** The books of a topic, matched whole and ignoring case, by id. */
  search(topic: string, after: number, limit: number): Promise<readonly BookTitle[]>;
  /** Topics by their folded name. */
  topics(after: string, limit: number): Promise<readonly TopicCount[]>;
  /** The feed; `after` also says that the order log is complete up to that sale. */
  operations(after: number, limit: number): Promise<Feed>;
  /** The number of the last sale, cheap to ask; only where there are other replicas that sell. */
  readonly lastSale?: () => Promise<number>;
  totals(after: number, limit: number): Promise<Totals>;
  close(): Promise<void>;
}
