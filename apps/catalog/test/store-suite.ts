import { Failure } from '@bazar/contracts';
import type { Test } from 'tap';
import type { CatalogStore, Operation, Outcome } from '../src/store.js';
import { idOf } from './ids.js';
import { lawBreaches, readLedger } from './law.js';

/** Where a store lives while its processes come and go. A new place has the report's four books. */
export interface Place {
  open(): Promise<CatalogStore>;
  /** Ends the process that runs the store, which is not told. */
  kill(): Promise<void>;
}

type SaleOutcome = Extract<Outcome, { result: 'sold' }>;

function isSold(outcome: Outcome): outcome is SaleOutcome {
  return outcome.result === 'sold';
}

export function sale(n: number, itemId: number): Operation {
  return { id: idOf(n), kind: 'sale', itemId };
}

function codeOf(outcome: Outcome | undefined): string | undefined {
  return outcome?.result === 'failed' && outcome.failure instanceof Failure
    ? outcome.failure.code
    : outcome?.result;
}

/** What does not change when a process ends: everything that anyone can ask of a store. */
export async function snapshotOf(store: CatalogStore) {
  const ledger = await readLedger(store);
  const topics = await store.topics('', 1000);
  return {
    ledger,
    books: await Promise.all(ledger.stocks.map(({ id }) => store.book(id))),
    feed: await store.operations(0, 1000),
    topics,
    searches: await Promise.all(topics.map(({ topic }) => store.search(topic, -1, 1000))),
  };
}

/** The behaviour that every store of the catalog has. */
export function storeSuite(t: Test, newPlace: (t: Test) => Place): void {
  /** A store that is closed at the end of its test. */
  async function openNew(t: Test) {
    const place = newPlace(t);
    const store = await place.open();
    t.teardown(() => store.close());
    return store;
  }

  t.test('when a place is new, then it has the books of the report', async (t) => {
    const store = await openNew(t);
    t.same(await store.book(2), {
      id: 2,
      title: 'RPCs for Noobs',
      topic: 'distributed',
      quantity: 2,
      price: 50,
    });
    t.equal(await store.book(5), undefined);
    t.same(await store.topics('', 10), [
      { topic: 'distributed', titles: 2 },
      { topic: 'undergrad', titles: 2 },
    ]);
    t.match(await store.operations(0, 10), { firstSale: 1, lastSale: 0, operations: [] });
    t.same(lawBreaches(await readLedger(store)), []);
  });

  t.test('when copies are bought, then each is sold once, and numbered', async (t) => {
    const store = await openNew(t);
    const outcomes = await store.apply([sale(1, 2), sale(2, 1), sale(3, 2), sale(4, 2)]);
    t.match(outcomes.slice(0, 3), [
      { result: 'sold', replayed: false, sale: 1, title: 'RPCs for Noobs', price: 50 },
      { result: 'sold', replayed: false, sale: 2, price: 30 },
      { result: 'sold', replayed: false, sale: 3, title: 'RPCs for Noobs' },
    ]);
    t.same(outcomes[3], { result: 'sold_out', replayed: false });
    for (const { timestamp } of outcomes.filter(isSold)) {
      t.equal(new Date(timestamp).toISOString(), timestamp);
    }
    t.equal((await store.book(2))?.quantity, 0);
    const later = await store.apply([sale(5, 3)]);
    t.match(later, [{ result: 'sold', sale: 4 }], 'a sold-out answer takes no number');
    t.same(lawBreaches(await readLedger(store)), []);
  });

  t.test('when an operation is repeated, then it has the same outcome', async (t) => {
    const store = await openNew(t);
    const operations: Operation[] = [
      sale(1, 2),
      sale(2, 2),
      sale(3, 2),
      { id: idOf(4), kind: 'change', itemId: 3, change: { price: 41.5, quantity_delta: -1 } },
      {
        id: idOf(5),
        kind: 'addition',
        book: { title: 'Ἰλιάς', topic: 'epic', quantity: 3, price: 9.99 },
      },
    ];
    const first = await store.apply(operations);
    const before = await readLedger(store);
    t.same(
      first.map(({ result }) => result),
      ['sold', 'sold', 'sold_out', 'changed', 'added'],
    );
    const again = first.map((outcome) => ({ ...outcome, replayed: true }));
    t.same(await store.apply(operations), again);
    await store.apply([{ id: idOf(6), kind: 'change', itemId: 2, change: { quantity: 5 } }]);
    t.same(await store.apply(operations), again, 'sold out, though there is stock now');
    t.same(await store.apply(operations.toReversed()), again.toReversed());
    const after = await readLedger(store);
    t.same(after.feed, before.feed);
    t.equal(after.stocks.length, before.stocks.length);
  });

  t.test('when keys of a change are written in another order, then it is the same', async (t) => {
    const store = await openNew(t);
    const one = { price: 1, quantity: 2 };
    const other = { quantity: 2, price: 1 };
    const change = { id: idOf(1), kind: 'change', itemId: 1 } as const;
    t.match(await store.apply([{ ...change, change: one }]), [{ replayed: false }]);
    t.match(await store.apply([{ ...change, change: other }]), [{ replayed: true }]);
  });

  t.test('when an id comes twice in one batch, then it is one operation', async (t) => {
    const store = await openNew(t);
    const outcomes = await store.apply([
      sale(1, 2),
      sale(1, 2),
      sale(2, 2),
      sale(3, 2),
      sale(3, 2),
    ]);
    const [first, second] = outcomes;
    t.same(second, { ...first, replayed: true });
    t.same(outcomes.slice(3), [
      { result: 'sold_out', replayed: false },
      { result: 'sold_out', replayed: true },
    ]);
    t.equal(codeOf((await store.apply([sale(4, 1), sale(4, 3)]))[1]), 'key_reused');
    t.same(
      (await store.operations(0, 10)).operations.map(({ itemId }) => itemId),
      [2, 2, 1],
    );
    t.same(lawBreaches(await readLedger(store)), []);
  });

  t.test('when an id is used for another request, then that is refused', async (t) => {
    const store = await openNew(t);
    const book = { title: 'A', topic: 'b', quantity: 1, price: 1 };
    const change = { price: 3 };
    await store.apply([{ id: idOf(9), kind: 'change', itemId: 2, change: { quantity: 0 } }]);
    await store.apply([
      sale(1, 1),
      sale(2, 2),
      { id: idOf(3), kind: 'change', itemId: 1, change },
      { id: idOf(4), kind: 'addition', book },
    ]);
    const before = await snapshotOf(store);
    const requests: Operation[] = [1, 2, 3, 4].flatMap((n): Operation[] => [
      sale(n, 3),
      { id: idOf(n), kind: 'change', itemId: 3, change },
      { id: idOf(n), kind: 'change', itemId: 1, change: { price: 4 } },
      { id: idOf(n), kind: 'addition', book: { ...book, quantity: 2 } },
    ]);
    requests.push(sale(3, 1), sale(4, 5), { id: idOf(1), kind: 'change', itemId: 1, change });
    for (const outcome of await store.apply(requests)) t.equal(codeOf(outcome), 'key_reused');
    for (const request of requests)
      t.equal(codeOf((await store.apply([request]))[0]), 'key_reused');
    t.same(await snapshotOf(store), before);
  });

  t.test('when an operation fails, then it is not remembered and costs nobody', async (t) => {
    const store = await openNew(t);
    const below: Operation = {
      id: idOf(2),
      kind: 'change',
      itemId: 2,
      change: { quantity_delta: -3, price: 1 },
    };
    const outcomes = await store.apply([sale(1, 5), below, sale(3, 2)]);
    t.same(outcomes.map(codeOf), ['book_not_found', 'stock_below_zero', 'sold']);
    t.match(await store.book(2), { quantity: 1, price: 50 }, 'the price goes with the stock');
    t.equal(codeOf((await store.apply([sale(1, 5)]))[0]), 'book_not_found');
    const book = { title: 'The fifth', topic: 'x', quantity: 1, price: 0 };
    await store.apply([{ id: idOf(4), kind: 'addition', book }]);
    t.match(await store.apply([sale(1, 5)]), [{ result: 'sold', replayed: false }]);
    await store.apply([{ id: idOf(5), kind: 'change', itemId: 2, change: { quantity: 3 } }]);
    t.match(await store.apply([below]), [{ result: 'changed', replayed: false }]);
    t.match(await store.book(2), { quantity: 0, price: 1 });
    t.same(lawBreaches(await readLedger(store)), []);
  });

  t.test('when stock and price are changed, then the totals follow', async (t) => {
    const store = await openNew(t);
    let n = 100;
    async function change(wish: { price?: number; quantity?: number; quantity_delta?: number }) {
      n += 1;
      return store.apply([{ id: idOf(n), kind: 'change', itemId: 1, change: wish }]);
    }
    await store.apply([sale(1, 1), sale(2, 1)]);
    t.match(await change({ quantity: 20 }), [{ result: 'changed', book: { quantity: 20 } }]);
    t.match((await store.totals(0, 1)).books, [{ id: 1, stocked: 22, quantity: 20, sold: 2 }]);
    t.match(await change({ quantity_delta: -15 }), [{ book: { quantity: 5, price: 30 } }]);
    t.match(await change({ quantity_delta: 2, price: 45.5 }), [
      { book: { quantity: 7, price: 45.5 } },
    ]);
    t.match(await change({ price: 19.99 }), [{ book: { quantity: 7, price: 19.99 } }]);
    t.match(await change({ quantity: 0 }), [{ book: { quantity: 0 } }]);
    t.same(await store.apply([sale(3, 1)]), [{ result: 'sold_out', replayed: false }]);
    t.match((await store.totals(0, 1)).books, [{ id: 1, stocked: 2, quantity: 0, sold: 2 }]);
    t.equal(codeOf((await change({ quantity: 1_000_000_000, price: 1 }))[0]), 'changed');
    t.equal(codeOf((await change({ quantity_delta: 1 }))[0]), 'malformed_request');
    t.same(lawBreaches(await readLedger(store)), []);
  });

  t.test('when books are added, then each gets the next id', async (t) => {
    const store = await openNew(t);
    const book = { title: 'New', topic: 'Distributed', quantity: 1, price: 2 };
    const added = await store.apply([
      { id: idOf(1), kind: 'addition', book },
      sale(2, 5),
      sale(3, 5),
      { id: idOf(4), kind: 'addition', book: { ...book, title: 'Newer', quantity: 0 } },
      { id: idOf(5), kind: 'change', itemId: 6, change: { quantity_delta: 4 } },
    ]);
    t.same(added[0], { result: 'added', replayed: false, book: { id: 5, ...book } });
    t.same(
      added.slice(1).map(({ result }) => result),
      ['sold', 'sold_out', 'added', 'changed'],
    );
    t.same(
      await store.search('DISTRIBUTED', -1, 10),
      [1, 2, 5, 6].map((id) => ({ id, title: titles[id] })),
    );
    t.same((await store.topics('', 1))[0], { topic: 'distributed', titles: 4 });
    t.same(lawBreaches(await readLedger(store)), []);
  });
  const titles: Readonly<Record<number, string>> = {
    1: 'How to get a good grade in DOS in 40 minutes a day',
    2: 'RPCs for Noobs',
    5: 'New',
    6: 'Newer',
  };

  t.test('when books are searched, then by whole topic, ignoring case, in pages', async (t) => {
    const store = await openNew(t);
    const topics = ['Ποίηση', 'ΠΟΊΗΣΗ', 'ποίηση'.normalize('NFD'), 'Poetry', 'poet', '50% off/now'];
    await store.apply(
      topics.map((topic, n) => {
        const book = { title: `T${n}`, topic, quantity: 1, price: 1 };
        return { id: idOf(n), kind: 'addition', book };
      }),
    );
    const found = async (topic: string) => (await store.search(topic, -1, 9)).map(({ id }) => id);
    t.same(await found('under\0grad'), [], 'what no text may have');
    t.same(await store.topics('\0', 9), await store.topics('', 9));
    t.same(await found('ΠΟΊΗΣΗ'), [5, 6, 7]);
    t.same(await found('POETRY'), [8]);
    t.same(await found('poe'), []);
    t.same(await found('50% OFF/NOW'), [10]);
    t.same(await found('constructor'), []);
    t.same(
      (await store.search('undergrad', 3, 9)).map(({ id }) => id),
      [4],
    );
    t.same(
      (await store.search('undergrad', -1, 1)).map(({ id }) => id),
      [3],
    );
    const names: string[] = [];
    for (let after = ''; ; after = names.at(-1) ?? '') {
      const page = await store.topics(after, 2);
      names.push(...page.map(({ topic }) => topic));
      if (page.length < 2) break;
    }
    t.same(names, ['50% off/now', 'distributed', 'poet', 'Poetry', 'undergrad', 'Ποίηση']);
    t.match(await store.topics('poet', 1), [{ topic: 'Poetry', titles: 1 }]);
    t.match(await store.topics('UNDERGRAD', 1), [{ topic: 'Ποίηση', titles: 3 }]);
  });

  t.test('when many ask for books at once, then each is shown its own', async (t) => {
    const store = await openNew(t);
    const wishes = Array.from({ length: 300 }, (_, index) => index % 7);
    const shown = await Promise.all(wishes.map((id) => store.book(id)));
    t.same(
      shown.map((book) => book?.id),
      wishes.map((id) => (id >= 1 && id <= 4 ? id : undefined)),
    );
  });

  t.test('when the feed is asked, then it names the sales after a number', async (t) => {
    const store = await openNew(t);
    await store.apply([sale(1, 1), sale(2, 3), sale(3, 9), sale(4, 4)]);
    const named = [
      { sale: 1, operationId: idOf(1), itemId: 1 },
      { sale: 2, operationId: idOf(2), itemId: 3 },
      { sale: 3, operationId: idOf(4), itemId: 4 },
    ];
    const { catalogId, ...feed } = await store.operations(0, 10);
    t.match(catalogId, /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
    t.same(feed, { firstSale: 1, lastSale: 3, operations: named });
    t.same((await store.operations(1, 1)).operations, named.slice(1, 2));
    t.same((await store.operations(3, 10)).operations, []);
    t.match(await store.operations(99, 10), { lastSale: 3, operations: [] });
    t.match(await store.totals(2, 1), { sale: 3, books: [{ id: 3, quantity: 2, sold: 1 }] });
  });

  t.test('when the store is opened again, then nothing has changed', async (t) => {
    const place = newPlace(t);
    let store = await place.open();
    const operations: Operation[] = [
      sale(1, 2),
      { id: idOf(2), kind: 'change', itemId: 2, change: { quantity_delta: -1, price: 0.1 } },
      sale(3, 2),
      {
        id: idOf(4),
        kind: 'addition',
        book: { title: '“Quoted”, "cells"', topic: 'home', quantity: 2, price: 12.3 },
      },
      sale(5, 5),
    ];
    const first = await store.apply(operations);
    const again = first.map((outcome) => ({ ...outcome, replayed: true }));
    const before = await snapshotOf(store);
    const ends: [name: string, end: () => Promise<void>][] = [
      ['a stop', () => store.close()],
      ['a crash', () => place.kill()],
      ['a second crash', () => place.kill()],
      ['another stop', () => store.close()],
    ];
    for (const [name, end] of ends) {
      await end();
      store = await place.open();
      t.same(await snapshotOf(store), before, `after ${name}`);
      t.same(await store.apply(operations), again, `repeats after ${name}`);
      t.same(lawBreaches(await readLedger(store)), []);
    }
    t.match(await store.apply([sale(6, 5)]), [{ result: 'sold', sale: 3, replayed: false }]);
    t.match(
      await store.apply([
        { id: idOf(7), kind: 'addition', book: { title: 'X', topic: 'x', quantity: 0, price: 0 } },
      ]),
      [{ result: 'added', book: { id: 6 } }],
    );
    await store.close();
  });
}
