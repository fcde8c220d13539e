import { randomUUID } from 'node:crypto';
import { type Batcher, BatcherClosed, createBatcher, QueueFull } from '@bazar/batching';
import {
  type Book,
  type BookChange,
  type BookTitle,
  Failure,
  type NewBook,
  type TopicCount,
} from '@bazar/contracts';
import {
  type After,
  type Changes,
  itemProblem,
  type LeaseEnd,
  type LeaseRequest,
  type SaleOperation,
  type SaleOutcome,
  withNothingDone,
} from '@bazar/contracts/internal';
import type { Leases } from './leases.js';
import { createSaleSignal } from './sale-signal.js';
import type { CatalogStore, Feed, Operation, Outcome, Totals } from './store.js';

export interface CatalogEffects {
  readonly store: CatalogStore;
  readonly leases: Leases;
  readonly after: After;
  /** Whether the disk has room again; asked for the health after a commit found none. */
  readonly hasRoom?: () => Promise<boolean>;
  /** `ok`, or why the storage cannot be asked at all. */
  readonly health?: () => Promise<'ok' | Failure>;
  /** Told of every sale that our side failed, once, with what is known of the reason. */
  readonly onFailure?: (failure: Failure, operation: SaleOperation) => void;
  /** Told of every sale that was decided. */
  readonly onDone?: (operation: SaleOperation, outcome: SaleOutcome) => void;
  /** Is told how many operations each commit carries. */
  readonly onBatch?: (operations: number) => void;
  /** Milliseconds on a clock that only goes forward. */
  readonly now?: () => number;
  /** Runs a batch soon, but not now. */
  readonly defer?: (run: () => void) => unknown;
  /** Names a batch. */
  readonly newId?: () => string;
}

/** One commit carries at most this many operations; more waiting than `maxQueue` is overload. */
const policy = { maxBatch: 1024, maxQueue: 20_000 };

export type Written<Result extends Outcome['result']> = Extract<Outcome, { result: Result }>;

/** What can be asked of the catalog; every method throws `Failure` and nothing else on purpose. */
export interface Catalog {
  /** @param keeper the gateway, if any, that may keep the answer under its lease */
  info(id: number, keeper?: string): Promise<Book>;
  search(topic: string, after: number, limit: number): Promise<readonly BookTitle[]>;
  topics(after: string, limit: number): Promise<readonly TopicCount[]>;
  /** Decides sales in the order given. Each gets its own outcome; none fails another. */
  sell(operations: readonly SaleOperation[]): Promise<SaleOutcome[]>;
  /** @param timeoutMs how long the caller waits: what is not begun by then is not done */
  change(
    id: string,
    itemId: number,
    change: BookChange,
    timeoutMs?: number,
  ): Promise<Written<'changed'>>;
  add(id: string, book: NewBook, timeoutMs?: number): Promise<Written<'added'>>;
  /** The feed that recovery reads: answers at once, or as soon as there is a sale after `after`. */
  operations(after: number, limit: number, waitMs: number): Promise<Feed>;
  totals(after: number, limit: number): Promise<Totals>;
  /** Confirms the lease of a gateway, or gives it a new one: its epoch. */
  lease(request: LeaseRequest): Promise<string>;
  /** Takes a lease back from a gateway that serves nothing under it any more. */
  endLease(lease: LeaseEnd): void | Promise<void>;
  /** `ok`, or why nothing can be written. */
  health(): Promise<'ok' | Failure>;
  /** How many operations wait for a commit. */
  waiting(): number;
  /** From now on nobody waits for a sale, as a stop must not wait for them. */
  hurry(): void;
  /** Answers everything accepted, then closes the store. */
  close(): Promise<void>;
}

export function createCatalog(effects: CatalogEffects): Catalog {
  // What arrives has been gathered already: to wait for more would cost a turn of the event loop.
  const { store, leases, after, onBatch, defer = process.nextTick } = effects;
  const { hasRoom = async () => true, health = async () => 'ok' as const } = effects;
  const { newId = randomUUID, now = () => performance.now() } = effects;
  const sales = createSaleSignal(after, store.lastSale);
  /** Why the last commit was refused for lack of room, until there is some. */
  let full: Failure | undefined;
  let looking: Promise<boolean> | undefined;
  const commits = createBatcher(
    async (items: readonly Waiting[]) => {
      const batch = newId();
      const time = now();
      // Work that nobody waits for is not started, however long it has waited for this commit.
      const operations = items.map(({ operation, expiresAt }) =>
        expiresAt > time ? operation : { ...operation, isLate: true },
      );
      const outcomes = await store.apply(operations, batch).catch((error: unknown) => {
        full = isFull(error) ? withNothingDone(error) : undefined;
        throw full ?? error;
      });
      full = undefined;
      if (outcomes.some(({ result }) => result === 'sold')) sales.notify();
      // The next batch need not wait for the gateways; whoever is in this one does.
      const changes = changesOf(operations, outcomes);
      const barrier = changes && leases.barrier(changes, batch);
      return outcomes.map((outcome, index) => ({
        outcome,
        barrier: isChange(outcome) ? barrier : pendingOf(operations[index]),
      }));
    },
    { ...policy, onFlush: onBatch, defer },
  );

  /** Who is told of a state that others made, as "sold out", is told when they are. */
  function pendingOf(operation: Operation | undefined): Promise<unknown> | undefined {
    if (operation === undefined || operation.kind === 'addition') return undefined;
    return leases.pending(operation.itemId);
  }

  async function write<Result extends Outcome['result']>(
    operation: Operation,
    result: Result,
    timeoutMs: number | undefined,
  ) {
    const outcome = await commit(commits, { operation, expiresAt: expiryOf(timeoutMs, now()) });
    if (outcome.result === 'failed') throw outcome.failure;
    if (!isResult(outcome, result)) throw new TypeError(`${operation.kind}: ${outcome.result}`);
    return outcome;
  }

  return {
    async info(id, keeper) {
      if (keeper !== undefined) leases.note(keeper, id);
      const book = await store.book(id);
      if (book === undefined) throw new Failure('book_not_found', `there is no book ${id}`);
      return book;
    },
    search: store.search,
    topics: store.topics,
    sell(operations) {
      const time = now();
      return Promise.all(
        operations.map((operation) =>
          sellOne(commits, operation, expiryOf(operation.timeout_ms, time), effects),
        ),
      );
    },
    change: (id, itemId, change, timeoutMs) =>
      write({ id, kind: 'change', itemId, change }, 'changed', timeoutMs),
    add: (id, book, timeoutMs) => write({ id, kind: 'addition', book }, 'added', timeoutMs),
    async operations(afterSale, limit, waitMs) {
      const seen = sales.count;
      const feed = await store.operations(afterSale, limit);
      if (feed.lastSale > afterSale || waitMs === 0) return feed;
      await sales.wait(seen, afterSale, waitMs);
      return store.operations(afterSale, limit);
    },
    totals: store.totals,
    lease: leases.renew,
    endLease: leases.end,
    async health() {
      if (full === undefined) return health();
      // One look at a time, however many ask: each writes and removes a file.
      looking ??= hasRoom().finally(() => {
        looking = undefined;
      });
      if (await looking) full = undefined;
      return full ?? health();
    },
    waiting: () => commits.waiting(),
    hurry: sales.end,
    async close() {
      await commits.close();
      await store.close();
    },
  };
}

/** What waits for a commit, and until when somebody waits for what becomes of it. */
interface Waiting {
  readonly operation: Operation;
  readonly expiresAt: number;
}

/** Until when somebody waits who came at `time`; for as long as it takes unless told. */
function expiryOf(timeoutMs: number | undefined, time: number): number {
  return timeoutMs === undefined ? Number.POSITIVE_INFINITY : time + timeoutMs;
}

/** An outcome, and what it has to wait for before anybody is told. */
interface Committed {
  readonly outcome: Outcome;
  readonly barrier: Promise<unknown> | undefined;
}

/** A repeat counts too: perhaps the service died before the gateways were told the first time. */
function isChange({ result }: Outcome): boolean {
  return result === 'sold' || result === 'changed' || result === 'added';
}

/** What a batch has changed, or may have changed when it was first decided. */
function changesOf(
  operations: readonly Operation[],
  outcomes: readonly Outcome[],
): Changes | undefined {
  const books = new Set<number>();
  let titles = false;
  for (const [index, operation] of operations.entries()) {
    const outcome = outcomes[index];
    if (outcome === undefined || !isChange(outcome)) continue;
    if (outcome.result === 'added') {
      // That there is no such book yet may be on its way to a reader, too.
      books.add(outcome.book.id);
      titles = true;
    } else if (operation.kind !== 'addition') {
      books.add(operation.itemId);
    }
  }
  return books.size === 0 && !titles ? undefined : { books: [...books], titles };
}

/** Of a batch that found no room nothing is kept, as every store promises. */
function isFull(error: unknown): error is Failure {
  return error instanceof Failure && error.code === 'storage_full';
}

function isResult<Result extends Outcome['result']>(
  outcome: Outcome,
  result: Result,
): outcome is Written<Result> {
  return outcome.result === result;
}

async function sellOne(
  commits: Batcher<Waiting, Committed>,
  operation: SaleOperation,
  expiresAt: number,
  { onFailure, onDone }: Pick<CatalogEffects, 'onFailure' | 'onDone'>,
): Promise<SaleOutcome> {
  const { operation_id, item_id: itemId } = operation;
  try {
    const sale = { id: operation_id, kind: 'sale', itemId } as const;
    const outcome = await commit(commits, { operation: sale, expiresAt });
    if (outcome.result === 'failed') throw outcome.failure;
    if (outcome.result === 'sold' || outcome.result === 'sold_out') {
      const decided = { operation_id, ...outcome };
      onDone?.(operation, decided);
      return decided;
    }
    throw new TypeError(`sale: ${outcome.result}`);
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    if (error.status >= 500) onFailure?.(error, operation);
    // Behind a catalog there is nobody but what it keeps its books in.
    return { operation_id, result: 'failed', problem: itemProblem(error, true) };
  }
}

async function commit(commits: Batcher<Waiting, Committed>, waiting: Waiting): Promise<Outcome> {
  try {
    const { outcome, barrier } = await commits.add(waiting);
    if (barrier !== undefined) await barrier;
    return outcome;
  } catch (error) {
    if (error instanceof QueueFull) {
      const options = { cause: error, nothingDone: true };
      throw new Failure('overloaded', 'too many operations are waiting', options);
    }
    if (error instanceof BatcherClosed) {
      const options = { cause: error, nothingDone: true };
      throw new Failure('unavailable', 'the service is stopping', options);
    }
    throw error;
  }
}
