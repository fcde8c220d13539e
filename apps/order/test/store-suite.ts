import fc from 'fast-check';
import type { Test } from 'tap';
import type { LoggedOrder, OrderStore } from '../src/store.js';

/** Where one store lives, empty at first. */
export interface Place {
  /** Opens the store, also again after it was closed or has crashed. */
  open(): Promise<OrderStore>;
  /** Drops what the open store holds, as a kill would; that store is not used any more. */
  crash(): Promise<void>;
}

/** The order of a sale; whatever does not matter to a test follows from the number. */
export function orderOf(sale: number, changes: Partial<LoggedOrder> = {}): LoggedOrder {
  return {
    orderId: `0190a6f0-0000-7000-8000-${sale.toString(16).padStart(12, '0')}`,
    itemId: (sale % 4) + 1,
    title: `Book ${(sale % 4) + 1}`,
    price: 19.99,
    timestamp: '2024-05-01T10:00:00.000Z',
    sale,
    ...changes,
  };
}

export const ordersOf = (...sales: number[]) => sales.map((sale) => orderOf(sale));

/** Orders as text, whatever the order of their fields, sorted by sale. */
export function textOf(orders: readonly LoggedOrder[]): string {
  return [...orders]
    .sort((a, b) => a.sale - b.sale)
    .map(({ orderId, itemId, title, price, timestamp, sale }) =>
      JSON.stringify([sale, orderId, itemId, title, price, timestamp]),
    )
    .join('\n');
}

/** Everything in which a store differs from one that holds exactly these orders. */
export async function differences(
  store: OrderStore,
  orders: readonly LoggedOrder[],
): Promise<string[]> {
  const found: string[] = [];
  function compare(what: string, actual: unknown, expected: unknown): void {
    const [is, should] = [JSON.stringify(actual), JSON.stringify(expected)];
    if (is !== should) found.push(`${what}: ${is}, not ${should}`);
  }
  const sorted = [...orders].sort((a, b) => a.sale - b.sale);
  const bySale = new Map(sorted.map((order) => [order.sale, order]));
  const lastSale = sorted.at(-1)?.sale ?? 0;
  let watermark = 0;
  while (bySale.has(watermark + 1)) watermark += 1;
  compare('reach', await store.reach(), { watermark, lastSale });
  compare('list', textOf(await store.list(0, 1000)), textOf(sorted));
  // All at once, for a store may be a network away.
  const known = await Promise.all(sorted.map(({ orderId }) => store.find(orderId)));
  for (const [index, order] of sorted.entries()) {
    const found = known[index];
    compare('find', textOf(found === undefined ? [] : [found]), textOf([order]));
  }
  const copies: Record<number, number> = {};
  const lacking: number[] = [];
  const numbers = Array.from({ length: lastSale + 1 }, (_, index) => index + 1);
  const owners = await store.ordersOfSales(numbers);
  for (const sale of numbers) {
    const order = bySale.get(sale);
    compare('ordersOfSales', owners.get(sale), order?.orderId);
    if (order === undefined) lacking.push(sale);
    else copies[order.itemId] = (copies[order.itemId] ?? 0) + 1;
  }
  const sales = await store.sales(0, lastSale + 1);
  compare('copies', Object.fromEntries(sales.copies), copies);
  compare('lacking', sales.lacking, lacking);
  return found;
}

/** What every order store does, whatever it keeps the orders in. */
export function storeSuite(t: Test, makePlace: (t: Test) => Place): void {
  t.test('when a store is empty, then it knows no order and no catalog', async (t) => {
    const store = await makePlace(t).open();
    t.same(await differences(store, []), []);
    t.equal(await store.catalogId(), undefined);
    await store.assertRoom();
    await store.close();
  });

  t.test('when orders are appended, then they are found, listed and counted', async (t) => {
    const store = await makePlace(t).open();
    await store.append(ordersOf(1, 2));
    await store.append(ordersOf(3, 4, 5));
    await store.append([]);
    t.same(await differences(store, ordersOf(1, 2, 3, 4, 5)), []);
    t.equal(await store.find(orderOf(6).orderId), undefined);
    t.same(await store.list(1, 2), ordersOf(2, 3), 'a page begins behind the number');
    t.same(await store.list(4, 100), ordersOf(5));
    t.same(await store.list(5, 100), []);
    const { copies, lacking } = await store.sales(1, 3);
    t.same(Object.fromEntries(copies), { 3: 1, 4: 1 }, 'from is exclusive, to inclusive');
    t.same(lacking, []);
    await store.close();
  });

  t.test('when the checker reads a store that lost or doubled an order, it says so', async (t) => {
    const store = await makePlace(t).open();
    await store.append(ordersOf(1, 3));
    t.same(await differences(store, ordersOf(1, 3)), []);
    t.match(await differences(store, ordersOf(1, 2, 3)), [/reach/, /list/]);
    t.match(await differences(store, ordersOf(1)), [/reach/, /list/]);
    const other = [orderOf(1, { itemId: 9 }), orderOf(3)];
    t.match(await differences(store, other), [/list/, /find/, /copies/]);
    await store.close();
  });

  t.test('when an order is repeated, then it is there once, as it came first', async (t) => {
    const store = await makePlace(t).open();
    await store.append([orderOf(1), orderOf(1), orderOf(2)]);
    await store.append([orderOf(1), orderOf(3), orderOf(2)]);
    await store.append([orderOf(3, { title: 'Another' })]);
    t.same(await differences(store, ordersOf(1, 2, 3)), []);
    await store.close();
  });

  t.test('when sales arrive out of order, then the watermark waits for the gaps', async (t) => {
    const place = makePlace(t);
    const store = await place.open();
    await store.append(ordersOf(2, 5));
    t.same(await store.reach(), { watermark: 0, lastSale: 5 });
    await store.append(ordersOf(1));
    t.same(await store.reach(), { watermark: 2, lastSale: 5 });
    t.same((await store.sales(0, 7)).lacking, [3, 4, 6, 7]);
    t.same(await store.list(0, 2), ordersOf(1, 2));
    await store.append(ordersOf(4));
    t.same(await store.reach(), { watermark: 2, lastSale: 5 });
    await store.append(ordersOf(3));
    t.same(await store.reach(), { watermark: 5, lastSale: 5 });
    await store.close();
    const again = await place.open();
    t.same(await differences(again, ordersOf(1, 2, 3, 4, 5)), []);
    await again.close();
  });

  t.test('when two orders claim one sale, then nothing of them is kept', async (t) => {
    for (const rivals of [[orderOf(9, { sale: 1 })], ordersOf(2).concat(orderOf(9, { sale: 2 }))]) {
      const place = makePlace(t);
      const store = await place.open();
      await store.append(ordersOf(1));
      await t.rejects(store.append(rivals), { name: 'StorageError', message: /two orders/ });
      await store.close();
      const again = await place.open();
      t.same(await differences(again, ordersOf(1)), []);
      await again.close();
    }
  });

  t.test('when a catalog is adopted, then it is known from then on', async (t) => {
    const place = makePlace(t);
    const store = await place.open();
    const id = '3f2b1c00-1111-4222-8333-444455556666';
    await store.adoptCatalog(id);
    t.equal(await store.catalogId(), id);
    await place.crash();
    const again = await place.open();
    t.equal(await again.catalogId(), id);
    await again.close();
  });

  t.test('when it is reopened or crashes at any time, then every order is there', async (t) => {
    const seed = Number(process.env['SEED'] ?? Date.now() % 2 ** 31);
    t.comment(`SEED=${seed}`);
    const step = fc.oneof(
      { weight: 3, arbitrary: fc.array(fc.integer({ min: 1, max: 30 }), { maxLength: 8 }) },
      { weight: 1, arbitrary: fc.constantFrom('close' as const, 'crash' as const) },
    );
    const walk = fc.asyncProperty(fc.array(step, { maxLength: 12 }), async (steps) => {
      const place = makePlace(t);
      const expected = new Map<number, LoggedOrder>();
      let store = await place.open();
      for (const action of steps) {
        if (typeof action === 'string') {
          await (action === 'close' ? store.close() : place.crash());
          store = await place.open();
        } else {
          await store.append(ordersOf(...action));
          for (const sale of action) expected.set(sale, orderOf(sale));
        }
        const found = await differences(store, [...expected.values()]);
        if (found[0] !== undefined) throw new Error(found[0]);
      }
      await store.close();
    });
    await fc.assert(walk, { seed, numRuns: 100 });
  });
}
