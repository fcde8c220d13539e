import { createIdIndex, type IdIndex, type Place } from '@bazar/storage';
import type { OutcomeRecord } from './record.js';

/** What memory holds of an outcome; the rest stands in the journal at `place`. */
export interface KnownOutcome {
  readonly kind: 'sale' | 'sold_out' | 'other';
  readonly itemId: number;
  readonly place: Pick<Place, 'segment' | 'offset' | 'length'>;
}

/** Sold-out and admin outcomes are told from sales by what stands in the place of their number. */
const soldOut = 0;
const other = -1;

/** The outcomes of one journal segment: 16 bytes of id and four numbers each. */
interface Generation {
  readonly segment: number;
  readonly ids: IdIndex;
  readonly items: number[];
  readonly sales: number[];
  /** The entry of each sale, from `firstSale` on. */
  readonly saleEntries: number[];
  readonly firstSale: number;
  lastAt: number;
}

/** How long outcomes are remembered; published in the API document. */
export interface Retention {
  /** At least this many of the newest outcomes. */
  readonly outcomes: number;
  /** None younger than this. */
  readonly ageMs: number;
}

/**
 * The outcomes that are remembered, in generations: one a journal segment, so that forgetting is
 * deleting the oldest file and its generation, and nothing is ever copied to be kept.
 */
export interface Outcomes {
  /** The lowest sale number that can still be named. */
  readonly firstSale: number;
  readonly lastSale: number;
  /** How many outcomes the newest generation holds. */
  readonly newest: number;
  begin(segment: number, lastSale: number): void;
  remember(record: OutcomeRecord, place: Place): void;
  find(id: string): KnownOutcome | undefined;
  sales(after: number, limit: number): { sale: number; operationId: string; itemId: number }[];
  /** Forgets generations that need no longer be kept; returns the last segment forgotten, or 0. */
  forget(retention: Retention, loggedThrough: number, now: number, before: number): number;
}

/** A line's place in its segment in one number: the offset below 2^37, the length below 2^16. */
const lengthSpan = 65_536;

export function createOutcomes(): Outcomes {
  const generations: Generation[] = [];

  function newestGeneration(): Generation {
    const newest = generations.at(-1);
    if (newest === undefined) throw new TypeError('no segment has begun');
    return newest;
  }

  function lastSaleOf({ firstSale, saleEntries }: Generation): number {
    return firstSale + saleEntries.length - 1;
  }

  return {
    get firstSale() {
      return generations[0]?.firstSale ?? 1;
    },
    get lastSale() {
      const newest = generations.at(-1);
      return newest === undefined ? 0 : lastSaleOf(newest);
    },
    get newest() {
      return generations.at(-1)?.ids.size ?? 0;
    },
    begin(segment, lastSale) {
      generations.push({
        segment,
        ids: createIdIndex(),
        items: [],
        sales: [],
        saleEntries: [],
        firstSale: lastSale + 1,
        lastAt: 0,
      });
    },
    remember(record, { offset, length }) {
      const generation = newestGeneration();
      const entry = generation.ids.set(record.id, offset * lengthSpan + length);
      generation.items[entry] = 'item' in record ? record.item : record.stock.id;
      generation.lastAt = record.at;
      if (record.kind !== 'sale') {
        generation.sales[entry] = record.kind === 'sold_out' ? soldOut : other;
        return;
      }
      const expected = lastSaleOf(generation) + 1;
      if (record.sale !== expected) {
        throw new TypeError(`has sale ${record.sale} where ${expected} is next`);
      }
      generation.sales[entry] = record.sale;
      generation.saleEntries.push(entry);
    },
    find(id) {
      for (let index = generations.length - 1; index >= 0; index -= 1) {
        const generation = generations[index];
        const entry = generation?.ids.find(id) ?? -1;
        if (generation === undefined || entry === -1) continue;
        const value = generation.ids.valueAt(entry);
        const sale = generation.sales[entry] ?? other;
        return {
          kind: sale === soldOut ? 'sold_out' : sale === other ? 'other' : 'sale',
          itemId: generation.items[entry] ?? 0,
          place: {
            segment: generation.segment,
            offset: Math.floor(value / lengthSpan),
            length: value % lengthSpan,
          },
        };
      }
      return undefined;
    },
    sales(after, limit) {
      const found: { sale: number; operationId: string; itemId: number }[] = [];
      for (const generation of generations) {
        const { firstSale, ids, items, saleEntries } = generation;
        const last = lastSaleOf(generation);
        for (let sale = Math.max(firstSale, after + 1); sale <= last; sale += 1) {
          if (found.length === limit) return found;
          const entry = saleEntries[sale - firstSale] ?? 0;
          found.push({ sale, operationId: ids.idAt(entry), itemId: items[entry] ?? 0 });
        }
      }
      return found;
    },
    forget({ outcomes, ageMs }, loggedThrough, now, before) {
      let forgotten = 0;
      for (;;) {
        const [oldest, ...later] = generations;
        if (oldest === undefined || oldest.segment >= before) return forgotten;
        const kept = later.reduce((sum, { ids }) => sum + ids.size, 0);
        const needed =
          kept < outcomes || lastSaleOf(oldest) > loggedThrough || now - oldest.lastAt < ageMs;
        if (needed) return forgotten;
        generations.shift();
        forgotten = oldest.segment;
      }
    },
  };
}
