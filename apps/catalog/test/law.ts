import type { CatalogStore, Feed, Stock } from '../src/store.js';

/** All that a store shows of its books and sales. */
export interface Ledger {
  readonly stocks: readonly Stock[];
  readonly sale: number;
  readonly feed: Feed['operations'];
}

/** Reads a store to its end, page by page. */
export async function readLedger(store: CatalogStore, limit = 3): Promise<Ledger> {
  const stocks: Stock[] = [];
  let sale = 0;
  for (let page: readonly Stock[] = [], after = -1; ; after = page.at(-1)?.id ?? after) {
    ({ sale, books: page } = await store.totals(after, limit));
    stocks.push(...page);
    if (page.length < limit) break;
  }
  const feed: Feed['operations'][number][] = [];
  for (let page: Feed['operations'] = [], after = 0; ; after = page.at(-1)?.sale ?? after) {
    ({ operations: page } = await store.operations(after, limit));
    feed.push(...page);
    if (page.length < limit) break;
  }
  return { stocks, sale, feed };
}

/**
 * The conservation law, and what makes the feed fit to recover from: for every book
 * stocked = quantity + sold, sold = its sales in the feed, and these are numbered 1, 2, 3, …, each
 * under its own id. One sentence a breach.
 */
export function lawBreaches({ stocks, sale, feed }: Ledger): string[] {
  const breaches: string[] = [];
  const sold = new Map<number, number>();
  for (const { itemId } of feed) sold.set(itemId, (sold.get(itemId) ?? 0) + 1);
  for (const stock of stocks) {
    const { id, stocked, quantity } = stock;
    if (quantity < 0) breaches.push(`book ${id}: a stock of ${quantity}`);
    if (stocked !== quantity + stock.sold) {
      breaches.push(`book ${id}: ${stocked} stocked, ${quantity} left, ${stock.sold} sold`);
    }
    const sales = sold.get(id) ?? 0;
    if (sales !== stock.sold) breaches.push(`book ${id}: ${stock.sold} sold, ${sales} sales`);
  }
  const unknown = [...sold.keys()].filter((id) => !stocks.some((stock) => stock.id === id));
  for (const id of unknown) breaches.push(`book ${id}: sold, but not there`);
  if (sale !== feed.length) breaches.push(`sale ${sale} is the last of ${feed.length}`);
  const gap = feed.findIndex((operation, index) => operation.sale !== index + 1);
  if (gap !== -1) breaches.push(`sale ${feed[gap]?.sale} stands where ${gap + 1} should`);
  const ids = new Set(feed.map(({ operationId }) => operationId));
  if (ids.size !== feed.length) breaches.push('one id has two sales');
  return breaches;
}
