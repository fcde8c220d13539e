/**
 * Sends rows that come in runs of any length, so many a statement; while one is under way, the rows
 * of the next are read. So memory holds a few statements, however many rows there are.
 */
export async function sendRows<Row>(
  runs: AsyncIterable<readonly Row[]>,
  rowsAtOnce: number,
  send: (rows: readonly Row[]) => Promise<unknown>,
): Promise<void> {
  let held: Row[] = [];
  let underWay: Promise<unknown> = Promise.resolve();

  async function next(rows: readonly Row[]): Promise<void> {
    await underWay;
    underWay = send(rows);
    // It is waited for later, and must not end the process until then.
    underWay.catch(() => {});
  }

  try {
    for await (const run of runs) {
      for (const row of run) held.push(row);
      while (held.length >= rowsAtOnce) {
        await next(held.slice(0, rowsAtOnce));
        held = held.slice(rowsAtOnce);
      }
    }
    if (held.length > 0) await next(held);
  } finally {
    // Whoever rolls back after a failure must not do so before the last statement.
    await underWay.catch(() => {});
  }
  await underWay;
}
