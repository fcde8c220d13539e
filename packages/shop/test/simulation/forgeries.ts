import type { Attempt, Evidence } from './evidence.js';
import type { Ending, LawName } from './laws.js';

/** What a story is judged by. */
export interface Case {
  readonly evidence: Evidence;
  readonly ending: Ending;
}

type Forge = (story: Case) => Partial<Evidence & Ending>;

/** An attempt of nobody in the story. */
const stranger = '00000000-0000-4000-8000-000000000000';

/** More copies than there are in any story: one more or less may be the truth of another moment. */
const neverStocked = 1_000_000;

/** For each law a change to a story that keeps all of them, after which it is broken. */
export const forgeries: Readonly<Record<LawName, Forge>> = {
  'stocked = remaining + sold, and sold = the rows of the log': ({ ending }) => ({
    stocks: ending.stocks.map((stock) => ({ ...stock, sold: stock.sold + 1 })),
  }),
  'acknowledged ⊆ logged ⊆ attempted': ({ evidence }) => ({
    attempts: evidence.attempts.map((attempt) => ({ ...attempt, key: stranger })),
  }),
  'no order twice, and sales are numbered 1, 2, 3, …': ({ ending }) => ({
    logged: ending.logged.slice(1),
  }),
  'the log says what the catalog recorded': ({ ending }) => ({
    logged: ending.logged.map((row) => ({ ...row, price: row.price + 1 })),
  }),
  'whoever asks on is told in the end': ({ evidence }) => ({
    attempted: new Map([...evidence.attempted, [stranger, new Set([1])]]),
  }),
  'one key, one outcome': ({ evidence }) => ({
    attempts: [
      ...evidence.attempts,
      ...evidence.attempts.map(
        (attempt) => ({ ...attempt, bought: { result: 'sold_out' } }) as const,
      ),
    ],
  }),
  'one key, one book': ({ evidence }) => ({
    attempts: evidence.attempts.map((attempt) => ({ ...attempt, itemId: attempt.itemId + 1 })),
  }),
  'sold out only while nothing was left': ({ evidence }) => ({
    attempts: [...evidence.attempts, { ...soldOutBefore(evidence), key: stranger }],
  }),
  'the stock is never negative': ({ ending }) => ({
    stocks: ending.stocks.map((stock) => ({ ...stock, quantity: -1 })),
  }),
  'every acknowledged update counts once': ({ evidence }) => ({
    updates: evidence.updates.slice(0, -1),
  }),
  'no stock is spent on buyers whom a full disk refuses': ({ ending }) => refusedAfterSale(ending),
  'one catalog is linearizable, book by book': ({ evidence }) => ({
    reads: evidence.reads.map(({ book, ...interval }) => ({
      ...interval,
      book: { ...book, quantity: book.quantity + neverStocked },
    })),
  }),
  'no gateway shows what was before an acknowledged change': ({ evidence }) => ({
    shopReads: evidence.shopReads.map(({ book, ...interval }) => ({
      ...interval,
      book: { ...book, quantity: book.quantity + neverStocked },
    })),
  }),
  'an acknowledged order is never denied': () => ({
    denials: [{ orderId: stranger, from: 0, to: 1 }],
  }),
  'no honest service refuses to start or stops': () => ({ refusals: ['catalog: no'] }),
  'no service makes a mistake': () => ({ mistakes: ['order: oh'] }),
};

/** Sold out before anybody had bought anything. */
function soldOutBefore({ attempts }: Evidence): Omit<Attempt, 'key'> {
  const first = Math.min(...attempts.map(({ from }) => from)) - 10;
  return { itemId: 1, bought: { result: 'sold_out' }, from: first - 1, to: first };
}

/** One is refused for want of room, then another one, whose sale stands in the log. */
function refusedAfterSale({ logged }: Ending): Partial<Evidence> {
  const [row] = logged;
  const at = Date.parse(row?.timestamp ?? '');
  const detail = 'the order log has no room';
  const bought = { result: 'unknown', code: 'storage_full', detail } as const;
  return {
    orderStarts: [],
    shortages: [{ from: at - 30, to: at + 30 }],
    attempts: [
      { key: stranger, itemId: 1, bought, from: at - 20, to: at - 10 },
      { key: row?.orderId ?? '', itemId: row?.itemId ?? 0, bought, from: at - 5, to: at + 5 },
    ],
  };
}
