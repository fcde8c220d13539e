import type { Database } from '@bazar/postgres';
import type { OrderStore } from '../store.js';

/** So many rows are looked at with one statement; only a start has more of them. */
const rowsAtOnce = 100_000;

/**
 * How far the log reaches. Rows are never taken away, so the watermark only rises, and only the rows
 * above it are looked at, whichever replica wrote them.
 */
export function createReach(database: Database): OrderStore['reach'] {
  let watermark = 0;

  /** Counts the rows that follow the watermark without a gap. */
  async function look(from: number) {
    const [found] = await database.read(
      (sql) => sql<{ following: number; last_sale: number; is_there: boolean }>`
        SELECT count(*) AS following, (SELECT coalesce(max(sale), 0) FROM orders) AS last_sale,
          EXISTS (SELECT 1 FROM orders WHERE sale = ${from}::bigint) AS is_there
        FROM (SELECT sale, row_number() OVER (ORDER BY sale) AS place
          FROM (SELECT sale FROM orders WHERE sale > ${from}::bigint
            ORDER BY sale LIMIT ${rowsAtOnce}) AS page) AS row
        WHERE sale = ${from}::bigint + place`,
    );
    if (found === undefined) throw new TypeError('a count has one row');
    return found;
  }

  return async () => {
    for (let from = watermark; ; ) {
      const { following, last_sale: lastSale, is_there: isThere } = await look(from);
      // Rows that are gone all the same were taken away by people, who put back an older copy, or by
      // a failover to a server that lacked them. The newest go first, and with them this one.
      if (from > 0 && !isThere) {
        from = 0;
        watermark = 0;
        continue;
      }
      from += following;
      watermark = Math.max(watermark, from);
      if (following < rowsAtOnce) return { watermark: from, lastSale };
    }
  };
}
