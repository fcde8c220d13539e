import type { Audit, Difference } from '@bazar/contracts';
import type { ReadFeed } from './recovery.js';
import type { OrderStore } from './store.js';

interface BookTotals {
  readonly item_id: number;
  readonly stocked: number;
  readonly remaining: number;
  readonly sold: number;
}

export interface AuditEffects {
  readonly store: OrderStore;
  /** A page of the catalog's running totals, all as they were at one sale number. */
  readonly readTotals: (
    after: number,
    limit: number,
  ) => Promise<{ sale: number; books: readonly BookTotals[] }>;
  readonly readFeed: ReadFeed;
}

const pageSize = 1000;
const maxDifferences = 1000;

/**
 * Checks the conservation law on a running shop: for every book stocked = remaining + sold, and
 * sold = the rows of the log, compared at the sale number that the catalog's totals were taken at.
 * Sales that the catalog made and the log does not have yet are pending, not missing.
 */
export async function auditShop(effects: AuditEffects): Promise<Audit> {
  const tally = createTally(effects);
  const report = createReport(tally);
  const compared = new Set<number>();
  let sale = 0;
  // A person's file may have a book 0, which comes after no other.
  for (let after = -1; ; ) {
    const page = await effects.readTotals(after, pageSize);
    sale = page.sale;
    await tally.reach(sale);
    for (const book of page.books) {
      compared.add(book.item_id);
      report.add(book);
    }
    const last = page.books.at(-1);
    if (last === undefined || page.books.length < pageSize) break;
    after = last.item_id;
  }
  // Copies of books that the catalog does not have are a difference too.
  for (const item_id of tally.items()) {
    if (!compared.has(item_id)) report.add({ item_id, stocked: 0, remaining: 0, sold: 0 });
  }
  return report.at(sale);
}

function createReport(tally: ReturnType<typeof createTally>) {
  const sums = { books: 0, stocked: 0, remaining: 0, sold: 0, logged: 0, pending: 0 };
  const differences: Difference[] = [];
  let balanced = true;
  return {
    add(book: BookTotals): void {
      const line = {
        ...book,
        logged: tally.logged(book.item_id),
        pending: tally.pending(book.item_id),
      };
      sums.books += 1;
      sums.stocked += line.stocked;
      sums.remaining += line.remaining;
      sums.sold += line.sold;
      sums.logged += line.logged;
      sums.pending += line.pending;
      if (line.stocked === line.remaining + line.sold && line.sold === line.logged + line.pending) {
        return;
      }
      balanced = false;
      if (differences.length < maxDifferences) differences.push(line);
    },
    at: (sale: number): Audit => ({ balanced, sale, ...sums, differences }),
  };
}

/** Counts logged and pending copies per book up to a sale number that only grows. */
function createTally({ store, readFeed }: AuditEffects) {
  const logged = new Map<number, number>();
  const pending = new Map<number, number>();
  let reached = 0;

  async function name(lacking: readonly number[]): Promise<void> {
    const numbers = new Set(lacking);
    let after = (lacking[0] ?? 1) - 1;
    while (numbers.size > 0) {
      const { operations } = await readFeed(after, pageSize, 0);
      for (const { sale, item_id } of operations) {
        if (numbers.delete(sale)) pending.set(item_id, (pending.get(item_id) ?? 0) + 1);
      }
      const last = operations.at(-1);
      if (last === undefined) return;
      after = last.sale;
    }
  }

  return {
    async reach(sale: number): Promise<void> {
      const { copies, lacking } = await store.sales(reached, sale);
      reached = sale;
      for (const [item, count] of copies) logged.set(item, (logged.get(item) ?? 0) + count);
      await name(lacking);
    },
    /** The books of which copies were counted. */
    items: () => new Set([...logged.keys(), ...pending.keys()]),
    logged: (item: number) => logged.get(item) ?? 0,
    pending: (item: number) => pending.get(item) ?? 0,
  };
}
