import { isDeepStrictEqual } from 'node:util';
import type { Random } from '@bazar/simulation';
import type { Damage } from './damages.js';
import { type Build, Refusal, type State, startLife } from './life.js';
import { type Past, shelfOf } from './past.js';

/** What became of a damaged shop. */
export type Ending =
  | { readonly kind: 'refused'; readonly sentence: string }
  | { readonly kind: 'opened'; readonly state: State; readonly lines: readonly string[] };

/** What may become of it; everything else is a broken promise, said in a sentence. */
export type Verdict =
  | 'refused'
  /** The stock and the log are what they were. */
  | 'exact'
  /**
   * `catalog_data.csv` was taken for a person's edit, and the log names each book that differs. Of
   * a damaged journal only where a kill amid a snapshot left the file ahead of it.
   */
  | 'edited'
  /**
   * The end of the journal is gone, and with it only what no other file knows of: what a keeper
   * did since the last snapshot, or a sale whose buyer was told nothing. No acknowledged order is.
   */
  | 'cut'
  /** The same, and the end that is left is one that a kill could have left: nobody could tell. */
  | 'unseen';

/** Starts the shop on the damaged files. */
export async function startDamaged(damage: Damage, random: Random, build?: Build): Promise<Ending> {
  try {
    const { files } = damage;
    const life = await startLife({ files, random, ...(build !== undefined && { build }) });
    const state = await life.state();
    const { lines } = life;
    life.kill();
    return { kind: 'opened', state, lines };
  } catch (error) {
    if (error instanceof Refusal) return { kind: 'refused', sentence: error.message };
    throw error;
  }
}

/** A file, or the sales or the catalog that do not belong together. */
const place =
  /catalog_(journal|image|data)|order_log\.c|the catalog('s)? journal|sales? \d+|catalog [0-9a-f-]{36}/;

/** Whether whoever reads this knows where to look. */
export function isPlaceNamed(sentence: string): boolean {
  return place.test(sentence);
}

/** @returns the verdict, or in a sentence what is broken */
export function judge(past: Past, damage: Damage, ending: Ending): { verdict: Verdict } | string {
  if (ending.kind === 'refused') {
    if (isPlaceNamed(ending.sentence)) return { verdict: 'refused' };
    return `it was refused, but without naming a place: ${ending.sentence}`;
  }
  const { state, lines } = ending;
  if (isDeepStrictEqual(state, past.truth)) return { verdict: 'exact' };
  const broken = unbalanced(state) ?? lostOrder(past, state);
  if (broken !== undefined) return broken;
  if (damage.target === 'data' || (damage.target === 'journal' && past.ending === 'amid')) {
    const silent = silentBook(past, state, lines);
    if (silent === undefined) return { verdict: 'edited' };
    if (damage.target === 'data') return `book ${silent} differs silently`;
  }
  if (hasLostItsEnd(past, damage, state)) {
    return {
      verdict: lines.some((line) => /cut off|never finished/.test(line)) ? 'cut' : 'unseen',
    };
  }
  return 'the stock or the log differs silently';
}

/** The law: stocked = remaining + sold, and sold = the rows of the log. */
function unbalanced({ stocks, log }: State): string | undefined {
  const sold = new Map<number, number>();
  for (const { itemId } of log) sold.set(itemId, (sold.get(itemId) ?? 0) + 1);
  for (const { id, stocked, quantity, sold: copies } of stocks) {
    const rows = sold.get(id) ?? 0;
    sold.delete(id);
    if (stocked !== quantity + copies) return `book ${id}: ${stocked} stocked is not the sum`;
    if (copies !== rows) return `book ${id}: ${copies} sold, but ${rows} logged`;
  }
  const [stray] = sold.keys();
  return stray === undefined ? undefined : `book ${stray} was sold, but is not there`;
}

function lostOrder({ truth, acknowledged }: Past, { log }: State): string | undefined {
  const known = new Map(truth.log.map((order) => [order.orderId, order]));
  for (const order of log) {
    if (!isDeepStrictEqual(order, known.get(order.orderId))) return `order ${order.orderId} is new`;
    known.delete(order.orderId);
  }
  const lost = [...known.keys()].find((id) => acknowledged.has(id));
  return lost === undefined ? undefined : `order ${lost} was acknowledged, and is lost`;
}

function silentBook(past: Past, state: State, lines: readonly string[]): number | undefined {
  const [before, now] = [past.truth, state].map(
    ({ stocks }) => new Map(stocks.map((s) => [s.id, s])),
  );
  const ids = new Set([...(before?.keys() ?? []), ...(now?.keys() ?? [])]);
  return [...ids].find(
    (id) =>
      !isDeepStrictEqual(before?.get(id), now?.get(id)) &&
      !lines.some((line) => new RegExp(`\\bbook ${id}\\b`).test(line)),
  );
}

/** A clean stop leaves a snapshot behind, and a journal that ends before it is refused. */
function hasLostItsEnd(past: Past, { target }: Damage, state: State): boolean {
  const isTail = target === 'catalog' || (target === 'journal' && past.ending !== 'stop');
  const now = shelfOf(state);
  return isTail && past.shelves.some((shelf) => isDeepStrictEqual(shelf, now));
}
