import type { Outcome as CatalogOutcome } from '@bazar/catalog';
import type { Audit } from '@bazar/contracts';
import type { LoggedOrder } from '@bazar/order';
import type { Bought, Evidence } from './evidence.js';
import { decisions, linearizable, nothingStale, outcomeOf } from './history.js';
import { firstBooks } from './people.js';

export interface Stock {
  readonly id: number;
  readonly quantity: number;
  readonly price: number;
  readonly stocked: number;
  readonly sold: number;
}

/** What the shop itself says when all is over. */
export interface Ending {
  /** Keys of those who gave up and never came back. */
  readonly gone: ReadonlySet<string>;
  /** The log had all that was sold within the time that recovery may take. */
  readonly isRecovered: boolean;
  readonly audit: Audit;
  readonly stocks: readonly Stock[];
  readonly lastSale: number;
  /** The rows of the order log, by sale number. */
  readonly logged: readonly LoggedOrder[];
  readonly feed: readonly { readonly sale: number; readonly operationId: string }[];
  /** What the catalog answers when the operations of its feed are submitted again. */
  readonly outcomes: readonly CatalogOutcome[];
}

export interface Breach {
  readonly law: string;
  readonly sentence: string;
}

type Law = (evidence: Evidence, ending: Ending) => readonly string[];

/** What must hold at the end of every story, whatever happened in it. One sentence a breach. */
const laws = {
  'stocked = remaining + sold, and sold = the rows of the log': conservation,
  'acknowledged ⊆ logged ⊆ attempted': acknowledgedLoggedAttempted,
  'no order twice, and sales are numbered 1, 2, 3, …': numbering,
  'the log says what the catalog recorded': logAgreesWithCatalog,
  'whoever asks on is told in the end': allDecided,
  'one key, one outcome': oneOutcomePerKey,
  'one key, one book': oneBookPerKey,
  'sold out only while nothing was left': soldOutIsTrue,
  'the stock is never negative': neverNegative,
  'every acknowledged update counts once': updatesCountOnce,
  'no stock is spent on buyers whom a full disk refuses': refusedSpendNothing,
  'one catalog is linearizable, book by book': (evidence, { logged }) =>
    linearizable(evidence, logged),
  'no gateway shows what was before an acknowledged change': (evidence, { logged }) =>
    nothingStale(evidence, logged),
} satisfies Record<string, Law>;

function allDecided(evidence: Evidence, { gone }: Ending): string[] {
  const decided = new Set(decisions(evidence).map(({ key }) => key));
  return [...evidence.attempted.keys()]
    .filter((key) => !decided.has(key) && !gone.has(key))
    .map((key) => `${key} has asked and asked, and still does not know`);
}

/** What can be told of a story even if it did not end. */
const lawsOfTheDay = {
  'an acknowledged order is never denied': ({ denials }) =>
    denials.map(({ orderId }) => `order ${orderId} was acknowledged, and then denied`),
  'no honest service refuses to start or stops': ({ refusals }) => refusals,
  'no service makes a mistake': ({ mistakes }) => mistakes,
} satisfies Record<string, (evidence: Evidence) => readonly string[]>;

export type LawName = keyof typeof laws | keyof typeof lawsOfTheDay;

/** @param ending undefined for a story that did not end */
export function breachesOf(evidence: Evidence, ending: Ending | undefined): Breach[] {
  const ofTheDay = Object.entries(lawsOfTheDay).flatMap(([law, find]) =>
    find(evidence).map((sentence) => ({ law, sentence })),
  );
  if (ending === undefined) return ofTheDay;
  const ofTheEnd = Object.entries(laws).flatMap(([law, find]) =>
    find(evidence, ending).map((sentence) => ({ law, sentence })),
  );
  return [...ofTheDay, ...ofTheEnd];
}

function conservation(
  _evidence: Evidence,
  { isRecovered, audit, stocks, logged }: Ending,
): string[] {
  const breaches: string[] = [];
  if (!isRecovered) breaches.push('the log still lacks sales long after the storm');
  if (!audit.balanced) breaches.push(`the audit differs: ${JSON.stringify(audit.differences)}`);
  if (audit.pending !== 0) breaches.push(`the audit has ${audit.pending} sales pending`);
  for (const { id, stocked, quantity, sold } of stocks) {
    const rows = logged.filter(({ itemId }) => itemId === id).length;
    if (stocked !== quantity + sold)
      breaches.push(`book ${id}: ${stocked} ≠ ${quantity} + ${sold}`);
    if (sold !== rows) breaches.push(`book ${id}: ${sold} sold, ${rows} rows`);
  }
  return breaches;
}

function acknowledgedLoggedAttempted(
  { attempts, attempted }: Evidence,
  { logged }: Ending,
): string[] {
  const rows = new Map(logged.map((row) => [row.orderId, row]));
  const lost = attempts
    .filter(({ key, bought }) => bought.result === 'sold' && !rows.has(key))
    .map(({ key }) => `order ${key} was acknowledged, and is not in the log`);
  const invented = logged
    .filter(({ orderId, itemId }) => attempted.get(orderId)?.has(itemId) !== true)
    .map(({ orderId, itemId }) => `order ${orderId} of book ${itemId}: nobody asked for it`);
  return [...lost, ...invented];
}

function numbering(_evidence: Evidence, { logged, lastSale }: Ending): string[] {
  const breaches: string[] = [];
  const ids = new Set(logged.map(({ orderId }) => orderId));
  if (ids.size !== logged.length) breaches.push('an order stands in the log twice');
  for (const [index, { sale }] of logged.entries()) {
    if (sale !== index + 1) breaches.push(`sale ${sale} stands where ${index + 1} should`);
  }
  if (lastSale !== logged.length) breaches.push(`${lastSale} were sold, ${logged.length} logged`);
  return breaches;
}

function logAgreesWithCatalog(_evidence: Evidence, { logged, feed, outcomes }: Ending): string[] {
  const rows = new Map(logged.map((row) => [row.orderId, row]));
  return feed.flatMap(({ operationId, sale }, index) => {
    const outcome = outcomes[index];
    const row = rows.get(operationId);
    if (outcome?.result !== 'sold') return [`sale ${sale} is ${outcome?.result} when asked again`];
    if (row === undefined) return [`sale ${sale} is not in the log`];
    const isSame =
      row.sale === sale &&
      outcome.sale === sale &&
      row.title === outcome.title &&
      row.price === outcome.price &&
      row.timestamp === outcome.timestamp;
    return isSame ? [] : [`${JSON.stringify(row)} is ${JSON.stringify(outcome)} to the catalog`];
  });
}

function oneOutcomePerKey({ attempts }: Evidence, { logged }: Ending): string[] {
  const first = new Map<string, string>();
  const rows = new Set(logged.map(({ orderId }) => orderId));
  return attempts.flatMap((attempt) => {
    const { key, bought } = attempt;
    const outcome = outcomeOf(attempt);
    if (outcome === undefined) return [];
    const known = first.get(key) ?? outcome;
    first.set(key, known);
    if (known !== outcome) return [`${key} was told ${known}, and then ${outcome}`];
    if (bought.result === 'sold_out' && rows.has(key)) return [`${key}: sold out, but logged`];
    return [];
  });
}

function oneBookPerKey({ attempts }: Evidence): string[] {
  const books = new Map<string, number>();
  return attempts.flatMap((attempt) => {
    const { key, itemId, bought } = attempt;
    if (outcomeOf(attempt) === undefined) return [];
    if (bought.result === 'sold' && bought.order.item_id !== itemId) {
      return [`${key} asked for book ${itemId}, and was sold book ${bought.order.item_id}`];
    }
    if (bought.result === 'sold' && bought.order.order_id !== key) {
      return [`${key} was sold order ${bought.order.order_id}`];
    }
    const known = books.get(key) ?? itemId;
    books.set(key, known);
    return known === itemId ? [] : [`${key} was used for books ${known} and ${itemId}`];
  });
}

/** The catalog's timestamps are whole milliseconds. */
const tickMs = 1;

/** The least that can have been left at some moment of an interval, from what is surely known. */
function soldOutIsTrue(evidence: Evidence, { logged }: Ending): string[] {
  return decisions(evidence).flatMap(({ key, itemId, bought, from, to }) => {
    if (bought.result !== 'sold_out') return [];
    const sales = logged
      .filter((row) => row.itemId === itemId)
      .map(({ timestamp }) => Date.parse(timestamp))
      .filter((at) => at <= to);
    const restocks = restocksOf(evidence, itemId);
    const initial = firstBooks.find(({ id }) => id === itemId)?.quantity ?? 0;
    const leastAt = (moment: number) =>
      initial +
      restocks.reduce((sum, { delta, to: end }) => sum + (end < moment ? delta : 0), 0) -
      sales.filter((at) => at <= moment).length;
    const moments = [from, to, ...sales.map((at) => at + tickMs)].filter(
      (moment) => moment >= from && moment <= to,
    );
    const least = Math.min(...moments.map(leastAt));
    return least <= 0
      ? []
      : [`${key}: sold out, but at least ${least} of book ${itemId} were left`];
  });
}

/** The acknowledged restocks of a book, each once, from its first call to its first answer. */
function restocksOf({ updates }: Evidence, item: number) {
  const known = new Map<string, { delta: number; from: number; to: number }>();
  for (const { key, itemId, change, changed, from, to } of updates) {
    const delta = change.quantity_delta;
    if (itemId !== item || delta === undefined) continue;
    const earlier = known.get(key);
    const end = changed.result === 'changed' ? to : Number.POSITIVE_INFINITY;
    known.set(key, { delta, from: earlier?.from ?? from, to: Math.min(end, earlier?.to ?? end) });
  }
  return [...known.values()].filter(({ to }) => to < Number.POSITIVE_INFINITY);
}

function neverNegative({ reads, updates }: Evidence, { stocks }: Ending): string[] {
  const shown = updates.flatMap(({ changed }) =>
    changed.result === 'changed' ? [changed.book] : [],
  );
  return [...stocks, ...reads.map(({ book }) => book), ...shown]
    .filter(({ quantity }) => quantity < 0)
    .map(({ id, quantity }) => `book ${id} has a stock of ${quantity}`);
}

function updatesCountOnce(evidence: Evidence, { stocks }: Ending): string[] {
  return stocks.flatMap(({ id, stocked }) => {
    const initial = firstBooks.find((book) => book.id === id)?.quantity ?? 0;
    const expected = restocksOf(evidence, id).reduce((sum, { delta }) => sum + delta, initial);
    return stocked === expected ? [] : [`book ${id}: ${stocked} stocked, not ${expected}`];
  });
}

const noRoom = /the order log has no room/;

/**
 * Who comes after somebody was refused for want of room, and is refused likewise, has bought
 * nothing before he asks again. A new process does not know yet that there is no room.
 */
function refusedSpendNothing(evidence: Evidence, { logged }: Ending): string[] {
  const { attempts, shortages, orderStarts } = evidence;
  const soldAt = new Map(logged.map(({ orderId, timestamp }) => [orderId, Date.parse(timestamp)]));
  const firstCalls = new Map<string, number>();
  for (const { key, from } of attempts) {
    firstCalls.set(key, Math.min(from, firstCalls.get(key) ?? from));
  }
  return shortages.flatMap((shortage) => {
    const ends = [shortage.to, ...orderStarts].filter((moment) => moment > shortage.from);
    const end = Math.min(...ends);
    const refused = attempts.filter(
      ({ from, to, bought }) => from > shortage.from && to < end && isNoRoom(bought),
    );
    const known = Math.min(...refused.map(({ to }) => to));
    return refused
      .filter(({ key, to }) => {
        const at = soldAt.get(key) ?? Number.POSITIVE_INFINITY;
        return (firstCalls.get(key) ?? 0) > known && at <= to;
      })
      .map(({ key }) => `${key} was refused for want of room, but had spent a copy`);
  });
}

function isNoRoom(bought: Bought): boolean {
  return (
    bought.result === 'unknown' && bought.code === 'storage_full' && noRoom.test(bought.detail)
  );
}
