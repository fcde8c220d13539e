import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createCatalog, openCsvStore as openCatalogStore, withoutGateways } from '@bazar/catalog';
import { Failure } from '@bazar/contracts';
import type { PurchaseOperation, PurchaseOutcome, SaleOutcome } from '@bazar/contracts/internal';
import { nodeDisk } from '@bazar/storage';
import t, { type Test } from 'tap';
import { auditShop } from '../src/audit.js';
import { createPurchases, type Sell } from '../src/purchase.js';
import { Contradiction, createRecovery, type ReadFeed } from '../src/recovery.js';
import { openCsvStore } from '../src/store/csv.js';
import type { LoggedOrder, OrderStore } from '../src/store.js';
import { type Call, faultyDisk, withoutSync } from './faulty-disk.js';
import { orderOf } from './store-suite.js';

const base = t.testdir();

/** Time that is never waited for: what is to run later runs as soon as nothing else does. */
function soon(_ms: number, run: () => void): () => void {
  const immediate = setImmediate(run);
  return () => clearImmediate(immediate);
}

/** Lets everything else go on until this holds; tap's own timeout ends what never does. */
async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await holds())) await new Promise((resolve) => setImmediate(resolve));
}

interface Wires {
  /** Stands between the two services; carries the batch on unless told. */
  sell: (carry: Sell) => Sell;
  readFeed: (carry: ReadFeed) => ReadFeed;
}

/** A catalog and an order service in this process: real rules on real files. */
async function openShop(
  t: Test,
  {
    folder = mkdtempSync(join(base, 'shop-')),
    csv = books,
    onOrderCall = (_call: Call): string | undefined => undefined,
  } = {},
) {
  const catalogFolder = join(folder, 'catalog');
  const orderFolder = join(folder, 'order');
  await nodeDisk.makeFolder(catalogFolder);
  const file = join(catalogFolder, 'catalog_data.csv');
  if (!(await nodeDisk.exists(file))) writeFileSync(file, csv);
  const clock = { now: 0 };
  const catalogDisk = faultyDisk(withoutSync(nodeDisk));
  const orderDisk = faultyDisk(withoutSync(nodeDisk));
  orderDisk.onCall = onOrderCall;
  const fails = (error: Error) => t.fail('a disk broke', { error });
  const catalog = createCatalog({
    leases: withoutGateways,
    after: soon,
    store: await openCatalogStore({
      disk: catalogDisk.disk,
      folder: catalogFolder,
      now: () => Date.UTC(2024, 4, 1),
      // No snapshots and no seals: these tests are about the order service.
      after: () => () => {},
      newId: () => '3f2b1c00-1111-4222-8333-444455556666',
      log: () => {},
      onBroken: fails,
    }),
  });
  const store = await openCsvStore({
    disk: orderDisk.disk,
    folder: orderFolder,
    monotonic: () => clock.now,
    log: () => {},
    onBroken: fails,
  });
  const wires: Wires = { sell: (carry) => carry, readFeed: (carry) => carry };
  const asked: string[][] = [];
  const readFeed: ReadFeed = (after, limit, waitMs, signal) =>
    wires.readFeed(async () => {
      const feed = await catalog.operations(after, limit, waitMs);
      return {
        catalog_id: feed.catalogId,
        first_sale: feed.firstSale,
        last_sale: feed.lastSale,
        operations: feed.operations.map(({ sale, operationId, itemId }) => ({
          sale,
          operation_id: operationId,
          item_id: itemId,
        })),
      };
    })(after, limit, waitMs, signal);
  const purchases = createPurchases({
    store,
    sell(operations) {
      asked.push(operations.map(({ operation_id }) => operation_id));
      return wires.sell(catalog.sell)(operations);
    },
    assertOpen: () => undefined,
  });
  const audit = () =>
    auditShop({
      store,
      readFeed,
      async readTotals(after, limit) {
        const { sale, books } = await catalog.totals(after, limit);
        const rows = books.map(({ id, stocked, quantity, sold }) => {
          return { item_id: id, stocked, remaining: quantity, sold };
        });
        return { sale, books: rows };
      },
    });
  const crash = async () => {
    await catalogDisk.crash();
    await orderDisk.crash();
  };
  t.teardown(crash);
  return {
    folder,
    catalog,
    store,
    purchases,
    readFeed,
    audit,
    wires,
    asked,
    orderDisk,
    clock,
    logFile: join(orderFolder, 'order_log.csv'),
    crash,
  };
}
type OpenShop = Awaited<ReturnType<typeof openShop>>;

const books = 'id,title,topic,quantity,price\n1,A,x,3,10\n2,B,x,1,20\n3,C,y,500,30.5\n';

/** A recovery that takes no time between two looks; `log` and `contradictions` fill up. */
function recoveryOf(t: Test, { store, readFeed, purchases }: OpenShop) {
  const log: string[] = [];
  const contradictions: Contradiction[] = [];
  const recovery = createRecovery({
    store,
    readFeed,
    recover: purchases.recover,
    isInFlight: purchases.isInFlight,
    after: soon,
    log: (level, sentence) => log.push(`${level}: ${sentence}`),
    onContradiction: (error) => contradictions.push(error),
  });
  t.teardown(() => recovery.stop());
  return { ...recovery, log, contradictions };
}

let keys = 0;
function operation(changes: Partial<PurchaseOperation> = {}): PurchaseOperation {
  keys += 1;
  const order_id = orderOf(keys).orderId.replace('0190', 'feed');
  return { order_id, item_id: 3, request_id: 'test', ...changes };
}

const problemOf = (outcome: PurchaseOutcome) =>
  outcome.result === 'failed' ? outcome.problem : { code: outcome.result, detail: '' };

/** That everything sold is logged once and nothing else is. */
async function isBalanced(t: Test, shop: OpenShop, sold: number) {
  const audit = await shop.audit();
  t.match(audit, { balanced: true, sold, logged: sold, pending: 0, differences: [] });
  const rows = readFileSync(shop.logFile, 'utf8').trimEnd().split('\n').length - 1;
  t.equal(rows, sold, 'the rows of the file');
}

t.test('when a book is bought, then its order is logged as the catalog recorded it', async (t) => {
  const shop = await openShop(t);
  const wish = operation({ item_id: 2 });
  const sold = {
    order_id: wish.order_id,
    result: 'sold',
    item_id: 2,
    title: 'B',
    price: 20,
    timestamp: '2024-05-01T00:00:00.000Z',
  };
  t.same(await shop.purchases.purchase(wish), { ...sold, replayed: false });
  t.same(await shop.purchases.purchase(wish), { ...sold, replayed: true });
  t.equal(shop.asked.length, 1, 'the log itself knows the answer');
  const late = operation({ item_id: 2 });
  const none = { order_id: late.order_id, result: 'sold_out' };
  t.same(await shop.purchases.purchase(late), { ...none, replayed: false });
  t.same(await shop.purchases.purchase(late), { ...none, replayed: true });
  const missing = problemOf(await shop.purchases.purchase(operation({ item_id: 9 })));
  t.same(missing, { code: 'book_not_found', detail: 'there is no book 9' });
  await isBalanced(t, shop, 1);
});

t.test('when a key comes with another book, then it is refused at any time', async (t) => {
  const shop = await openShop(t);
  const wish = operation({ item_id: 1 });
  const other = { ...wish, item_id: 3 };
  await t.test('after it was sold', async (t) => {
    await shop.purchases.purchase(wish);
    t.match(problemOf(await shop.purchases.purchase(other)), {
      code: 'key_reused',
      detail: new RegExp(`the key ${wish.order_id} was used for another book`),
    });
  });
  await t.test('after it was sold out', async (t) => {
    const [first, none] = [operation({ item_id: 2 }), operation({ item_id: 2 })];
    await shop.purchases.purchase(first);
    t.match(await shop.purchases.purchase(none), { result: 'sold_out' });
    const reused = await shop.purchases.purchase({ ...none, item_id: 3 });
    t.equal(problemOf(reused).code, 'key_reused');
  });
  await t.test('while it is being sold', async (t) => {
    for (const items of [
      [1, 3],
      [3, 1],
      [1, 3, 1],
      [3, 1, 1, 3],
    ]) {
      const { order_id } = operation();
      const outcomes = await Promise.all(
        items.map((item_id) => shop.purchases.purchase(operation({ order_id, item_id }))),
      );
      const [first] = outcomes;
      const title = first?.result === 'sold' ? first.title : 'none';
      t.match(await shop.store.find(order_id), { itemId: items[0], title });
      for (const [index, outcome] of outcomes.entries()) {
        const code = items[index] === items[0] ? 'sold' : 'key_reused';
        t.equal(problemOf(outcome).code, code, `${items} at ${index}`);
      }
    }
  });
  await isBalanced(t, shop, 6);
});

t.test('when a key comes 50 times at once, then one copy is sold', async (t) => {
  const shop = await openShop(t);
  const wish = operation();
  const outcomes = await Promise.all(
    Array.from({ length: 50 }, () => shop.purchases.purchase(wish)),
  );
  const answers = new Set(outcomes.map((outcome) => JSON.stringify({ ...outcome, replayed: 0 })));
  t.equal(answers.size, 1, 'all get one answer');
  const first = outcomes.filter((outcome) => outcome.result === 'sold' && !outcome.replayed);
  t.equal(first.length, 1, 'and one of them the first');
  t.same(shop.asked, [[wish.order_id]], 'an id goes to the catalog once');
  const none = operation({ item_id: 2 });
  await shop.purchases.purchase(operation({ item_id: 2 }));
  const late = await Promise.all(Array.from({ length: 50 }, () => shop.purchases.purchase(none)));
  t.ok(late.every(({ result }) => result === 'sold_out'));
  await isBalanced(t, shop, 2);
});

t.test('when 50 buyers want the last copies, then each is sold once', async (t) => {
  const shop = await openShop(t);
  const wishes = Array.from({ length: 50 }, () => operation({ item_id: 1 }));
  const outcomes = await Promise.all(wishes.map(shop.purchases.purchase));
  t.equal(outcomes.filter(({ result }) => result === 'sold').length, 3);
  t.equal(outcomes.filter(({ result }) => result === 'sold_out').length, 47);
  t.same(
    shop.asked.map(({ length }) => length),
    [50],
    'in one batch',
  );
  await isBalanced(t, shop, 3);
});

const losesAnswers: Wires['sell'] = (carry) => async (operations) => {
  await carry(operations);
  throw new Failure('deadline_exceeded', 'no answer within 10000 ms');
};

/** What can become of the catalog's answer on its way. */
const accidents: Record<string, (carry: Sell) => Sell> = {
  'the answer is lost': losesAnswers,
  'the question is lost': () => async () => {
    throw new Failure('unavailable', 'no whole answer came back');
  },
  'the connection breaks': (carry) => async (operations) => {
    await carry(operations);
    throw new Failure('unavailable', 'no whole answer came back');
  },
  'an outcome is missing': (carry) => async (operations) => (await carry(operations)).slice(1),
  'all outcomes are missing': (carry) => async (operations) => {
    await carry(operations);
    return [];
  },
};

t.test('when an answer does not come, then the outcome is unknown and can be asked', async (t) => {
  for (const [accident, happens] of Object.entries(accidents)) {
    const shop = await openShop(t);
    const wishes = [operation(), operation(), operation({ item_id: 2 })];
    shop.wires.sell = happens;
    const first = await Promise.all(wishes.map(shop.purchases.purchase));
    const unknown = first.filter(({ result }) => result === 'failed');
    t.equal(unknown.length, accident === 'an outcome is missing' ? 1 : 3, accident);
    for (const outcome of unknown) {
      t.match(problemOf(outcome).code, /^(unavailable|deadline_exceeded)$/);
    }
    shop.wires.sell = (carry) => carry;
    const again = await Promise.all(wishes.map(shop.purchases.purchase));
    const replayed = accident !== 'the question is lost';
    for (const [index, outcome] of again.entries()) {
      t.match(outcome, { result: 'sold', replayed, order_id: wishes[index]?.order_id }, accident);
    }
    t.same(await Promise.all(wishes.map(shop.purchases.purchase)), again.map(asReplayed));
    await isBalanced(t, shop, 3);
  }
});

function asReplayed(outcome: PurchaseOutcome): PurchaseOutcome {
  return outcome.result === 'failed' ? outcome : { ...outcome, replayed: true };
}

t.test('when outcomes come in another order and twice, then each finds its own', async (t) => {
  const shop = await openShop(t);
  shop.wires.sell = (carry) => async (operations) => {
    const outcomes = [...(await carry(operations))].reverse();
    const stranger: SaleOutcome = {
      operation_id: orderOf(999).orderId,
      result: 'sold_out',
      replayed: false,
    };
    return [stranger, ...outcomes, ...outcomes];
  };
  const wishes = [1, 2, 3, 2, 1].map((item_id) => operation({ item_id }));
  const outcomes = await Promise.all(wishes.map(shop.purchases.purchase));
  t.same(
    outcomes.map((outcome) => [outcome.order_id, outcome.result]),
    wishes.map(({ order_id }, index) => [order_id, index === 3 ? 'sold_out' : 'sold']),
  );
  for (const outcome of outcomes) {
    if (outcome.result === 'sold') t.match(outcome, { title: 'ABC'[outcome.item_id - 1] });
  }
  await isBalanced(t, shop, 4);
});

t.test('when a batch goes twice, late and in parts, then every key has one order', async (t) => {
  const shop = await openShop(t);
  let calls = 0;
  shop.wires.sell = (carry) => async (operations) => {
    calls += 1;
    const [outcomes] = await Promise.all([carry(operations), carry([...operations].reverse())]);
    if (calls % 3 === 0) throw new Failure('unavailable', 'no whole answer came back');
    return outcomes.filter((_outcome, index) => (index + calls) % 4 !== 0);
  };
  const wishes = Array.from({ length: 60 }, () => operation());
  const told = new Map<string, string>();
  while (told.size < wishes.length) {
    const open = wishes.filter(({ order_id }) => !told.has(order_id));
    for (const outcome of await Promise.all(open.map(shop.purchases.purchase))) {
      if (outcome.result !== 'failed') told.set(outcome.order_id, outcome.result);
    }
  }
  t.same([...new Set(told.values())], ['sold']);
  await isBalanced(t, shop, 60);
});

t.test('when no time is left, then nothing is asked', async (t) => {
  const shop = await openShop(t);
  const outcome = await shop.purchases.purchase(operation({ timeout_ms: 0 }));
  t.equal(problemOf(outcome).code, 'deadline_exceeded');
  t.same(shop.asked, []);
  const wish = operation();
  const [late, patient] = await Promise.all([
    shop.purchases.purchase({ ...wish, timeout_ms: 0 }),
    shop.purchases.purchase(wish),
  ]);
  t.equal(problemOf(late).code, 'deadline_exceeded');
  t.equal(patient.result, 'sold', 'and nobody else is told so');
});

t.test('when the service may not sell yet, then it repeats answers and no more', async (t) => {
  const shop = await openShop(t);
  const wish = operation();
  const closed = createPurchases({
    store: shop.store,
    sell: shop.catalog.sell,
    assertOpen: () => {
      throw new Failure('unavailable', 'not yet');
    },
  });
  t.same(problemOf(await closed.purchase(wish)), {
    code: 'unavailable',
    detail: 'not yet',
    nothing_done: true,
    own: true,
  });
  await shop.purchases.purchase(wish);
  t.match(await closed.purchase(wish), { result: 'sold', replayed: true });
});

t.test('when it closes, then every purchase that was accepted is finished', async (t) => {
  const shop = await openShop(t);
  const buying = [operation(), operation(), operation({ item_id: 9 })].map(shop.purchases.purchase);
  await until(() => shop.asked.length > 0);
  await shop.purchases.close();
  t.match(await Promise.all(buying), [
    { result: 'sold' },
    { result: 'sold' },
    { result: 'failed' },
  ]);
  await isBalanced(t, shop, 2);
});

t.test('when the log has no room, then no further copy is spent on refused buyers', async (t) => {
  const shop = await openShop(t);
  await shop.purchases.purchase(operation());
  shop.orderDisk.onCall = ({ name }) => (name === 'write' ? 'ENOSPC' : undefined);
  const wish = operation();
  t.equal(problemOf(await shop.purchases.purchase(wish)).code, 'storage_full');
  const asked = shop.asked.length;
  for (const again of [operation(), operation(), wish]) {
    t.equal(problemOf(await shop.purchases.purchase(again)).code, 'storage_full');
  }
  await t.rejects(shop.purchases.recover(wish.order_id, 3), { code: 'storage_full' });
  t.equal(shop.asked.length, asked, 'the catalog is not asked any more');
  t.match(await shop.audit(), { balanced: true, sold: 2, logged: 1, pending: 1 });
});

t.test('when a lacking sale finds no room in the log, then the rest opens', async (t) => {
  const first = await openShop(t);
  await first.purchases.purchase(operation({ item_id: 1 }));
  await first.store.adoptCatalog((await first.catalog.operations(0, 1, 0)).catalogId);
  first.wires.sell = losesAnswers;
  await first.purchases.purchase(operation());
  await first.crash();
  rmSync(first.logFile.replace('.csv', '.reserve'));
  // What is written again in its place needs no room.
  const full = ({ name, file }: Call) =>
    name === 'write' && file === 'order_log.reserve' ? 'ENOSPC' : undefined;
  const shop = await openShop(t, { folder: first.folder, onOrderCall: full });
  const recovery = recoveryOf(t, shop);
  recovery.start();
  await until(() => recovery.health() === 'ok');
  recovery.assertOpen();
  t.equal(problemOf(await shop.purchases.purchase(operation())).code, 'storage_full');
  t.same(shop.asked, [], 'nothing is sold that could not be logged');
  t.equal(recovery.health(), 'ok', 'the catalog has nothing to do with it');
  shop.orderDisk.onCall = () => undefined;
  shop.clock.now += 1000;
  await until(async () => (await shop.store.reach()).watermark === 2);
  t.match(await shop.purchases.purchase(operation()), { result: 'sold' });
  await isBalanced(t, shop, 3);
});

t.test('when the order service died behind the catalog, then the sale is logged', async (t) => {
  const first = await openShop(t);
  const wishes = [operation(), operation(), operation()];
  await first.purchases.purchase(operation());
  first.wires.sell = losesAnswers;
  await Promise.all(wishes.map(first.purchases.purchase));
  t.match(await first.audit(), { balanced: true, sold: 4, logged: 1, pending: 3 });
  await first.crash();
  const shop = await openShop(t, { folder: first.folder });
  const recovery = recoveryOf(t, shop);
  t.throws(() => recovery.assertOpen(), { code: 'unavailable', message: /has not been compared/ });
  t.match(recovery.health(), /has not been compared/);
  recovery.start();
  await until(async () => (await shop.store.reach()).watermark === 4);
  recovery.assertOpen();
  t.equal(recovery.health(), 'ok');
  for (const wish of wishes) t.match(await shop.store.find(wish.order_id), { itemId: 3 });
  await until(() => recovery.log.length === 2);
  t.same(recovery.log, [
    'info: the order log agrees with catalog 3f2b1c00-1111-4222-8333-444455556666',
    'warn: 3 sales that the order log lacked were recovered, the first being 2',
  ]);
  await recovery.stop();
  await isBalanced(t, shop, 4);
});

t.test('when the order log is gone, then all of it comes back from the catalog', async (t) => {
  const shop = await openShop(t);
  const wishes = Array.from({ length: 20 }, () => operation());
  await Promise.all(wishes.map(shop.purchases.purchase));
  const rows = readFileSync(shop.logFile, 'utf8')
    .split('\n')
    .map((row) => row.split(',synced')[0]);
  await shop.crash();
  writeFileSync(shop.logFile, '');
  const again = await openShop(t, { folder: shop.folder });
  const recovery = recoveryOf(t, again);
  recovery.start();
  await until(async () => (await again.store.reach()).watermark === 20);
  await recovery.stop();
  const found = readFileSync(shop.logFile, 'utf8')
    .split('\n')
    .map((row) => row.split(',synced')[0]);
  t.same(found.sort(), rows.sort(), 'title, price and time are those of the sale');
});

t.test('when recovery meets a purchase in flight, then it leaves it alone', async (t) => {
  const shop = await openShop(t);
  let deliver = () => {};
  const delivered = new Promise<void>((resolve) => {
    deliver = resolve;
  });
  shop.wires.sell = (carry) => async (operations) => {
    const outcomes = await carry(operations);
    await delivered;
    return outcomes;
  };
  const wish = operation();
  const buying = shop.purchases.purchase(wish);
  let looks = 0;
  shop.wires.readFeed = (carry) => (after, limit, waitMs, signal) => {
    looks += 1;
    return carry(after, limit, waitMs, signal);
  };
  const recovery = recoveryOf(t, shop);
  recovery.start();
  await until(() => looks > 5);
  t.equal(shop.asked.length, 1, 'it is not submitted again');
  t.ok(shop.purchases.isInFlight(wish.order_id));
  const recovering = shop.purchases.recover(wish.order_id, 3);
  const other = shop.purchases.purchase({ ...wish, item_id: 1 });
  deliver();
  t.match(await buying, { result: 'sold', replayed: false });
  await recovering;
  t.equal(problemOf(await other).code, 'key_reused');
  t.notOk(shop.purchases.isInFlight(wish.order_id));
  await recovery.stop();
  t.equal(shop.asked.length, 1);
  await isBalanced(t, shop, 1);
});

t.test('when recovery is at work, then a purchase under its key joins it', async (t) => {
  const shop = await openShop(t);
  const wish = operation();
  shop.wires.sell = losesAnswers;
  await shop.purchases.purchase(wish);
  shop.wires.sell = (carry) => carry;
  const [reused, , same] = await Promise.all([
    shop.purchases
      .recover(wish.order_id, 3)
      .then(() => shop.purchases.purchase({ ...wish, item_id: 1 })),
    shop.purchases.recover(wish.order_id, 3),
    shop.purchases.purchase(wish),
  ]);
  t.equal(problemOf(reused).code, 'key_reused');
  t.match(same, { result: 'sold', replayed: true });
  await isBalanced(t, shop, 1);
  const unsold = shop.purchases.recover(operation().order_id, 9);
  await t.rejects(unsold, { code: 'book_not_found' }, 'what the catalog refuses is no success');
  await shop.purchases.purchase(operation({ item_id: 2 }));
  const none = shop.purchases.recover(operation().order_id, 2);
  await t.rejects(none, { message: /named as a sale/ }, 'nor is what it never sold');
});

/** The first contradiction that a recovery finds, by its sentence. */
async function contradictionOf(t: Test, shop: OpenShop): Promise<string> {
  const recovery = recoveryOf(t, shop);
  recovery.start();
  await until(() => recovery.contradictions.length > 0);
  const [error] = recovery.contradictions;
  t.ok(error instanceof Contradiction);
  t.equal(recovery.health(), error?.message, 'health says what is wrong');
  t.throws(() => recovery.assertOpen(), { code: 'unavailable' }, 'and nothing is sold');
  await recovery.stop();
  t.equal(recovery.contradictions.length, 1, 'it is said once');
  return error?.message ?? '';
}

t.test('when log and catalog contradict each other, then it stops with the numbers', async (t) => {
  const catalogId = '3f2b1c00-1111-4222-8333-444455556666';
  const otherId = '00000000-0000-4000-8000-000000000000';
  await t.test('another catalog answers', async (t) => {
    const shop = await openShop(t);
    await shop.store.adoptCatalog(otherId);
    t.match(
      await contradictionOf(t, shop),
      new RegExp(`belongs to catalog ${otherId}, but catalog ${catalogId} answers`),
    );
  });
  await t.test('the feed is shorter than the log', async (t) => {
    const shop = await openShop(t);
    await shop.purchases.purchase(operation());
    await shop.store.append([orderOf(2), orderOf(3)]);
    t.match(
      await contradictionOf(t, shop),
      /has sales up to 3, but the catalog knows only 1: sales 2 to 3 are missing/,
    );
  });
  await t.test('the feed has forgotten what the log lacks', async (t) => {
    const shop = await openShop(t);
    await shop.purchases.purchase(operation());
    shop.wires.readFeed =
      (carry) =>
      async (...call) => {
        const feed = await carry(...call);
        return { ...feed, first_sale: 5, last_sale: 9, operations: [] };
      };
    t.match(
      await contradictionOf(t, shop),
      /complete up to sale 1, but the catalog remembers only sales from 5 on: sales 2 to 4/,
    );
  });
  await t.test('a sale is another order', async (t) => {
    const shop = await openShop(t);
    const wish = operation();
    shop.wires.sell = losesAnswers;
    await Promise.all([operation(), wish].map(shop.purchases.purchase));
    await shop.store.append([orderOf(2)]);
    t.match(
      await contradictionOf(t, shop),
      new RegExp(`sale 2 is order ${orderOf(2).orderId} in the order log, but ${wish.order_id}`),
    );
  });
  await t.test('and it is found while the shop runs, too', async (t) => {
    const shop = await openShop(t);
    const recovery = recoveryOf(t, shop);
    recovery.start();
    await until(() => recovery.health() === 'ok');
    t.equal(await shop.store.catalogId(), catalogId, 'the first catalog is adopted');
    shop.wires.readFeed =
      (carry) =>
      async (...call) => {
        return { ...(await carry(...call)), catalog_id: otherId };
      };
    await until(() => recovery.contradictions.length > 0);
    t.match(recovery.health(), new RegExp(`catalog ${otherId} answers`));
  });
});

t.test('when the catalog is down, then it is asked until it answers', async (t) => {
  const shop = await openShop(t);
  let tries = 0;
  shop.wires.readFeed = () => async () => {
    tries += 1;
    throw new Failure('unavailable', 'GET /operations: no whole answer came back');
  };
  const recovery = recoveryOf(t, shop);
  recovery.start();
  await until(() => tries > 3);
  t.throws(() => recovery.assertOpen(), { code: 'unavailable' });
  shop.wires.readFeed = (carry) => carry;
  await until(() => recovery.health() === 'ok');
  shop.wires.readFeed = () => async () => {
    throw new Failure('unavailable', 'GET /operations: no whole answer came back');
  };
  await until(() => recovery.health() !== 'ok');
  t.match(recovery.health(), /GET \/operations: no whole answer came back/);
  recovery.assertOpen();
  shop.wires.readFeed = (carry) => carry;
  await until(() => recovery.health() === 'ok');
  t.same(
    recovery.log.map((line) => line.slice(0, 40)),
    [
      'warn: the order log is not compared with',
      'info: the order log agrees with catalog ',
      'info: the order log is compared with the',
      'warn: the order log is not compared with',
      'info: the order log is compared with the',
    ],
    'once for each change',
  );
});

t.test('when it is stopped in a long poll, then the poll is given up', async (t) => {
  const shop = await openShop(t);
  let polling = false;
  shop.wires.readFeed = (carry) => (after, limit, waitMs, signal) => {
    if (waitMs === 0) return carry(after, limit, waitMs, signal);
    polling = true;
    return new Promise((_resolve, reject) => {
      signal?.addEventListener('abort', () => reject(new Error('aborted')));
    });
  };
  const recovery = recoveryOf(t, shop);
  recovery.start();
  await until(() => polling);
  await recovery.stop();
  t.equal(recovery.health(), 'ok', 'a stop is no failure');
});

t.test('when more than a page is lacking, then recovery goes on without a pause', async (t) => {
  const shop = await openShop(t, { csv: books.replace('500', '2500') });
  shop.wires.sell = losesAnswers;
  const wishes = Array.from({ length: 2400 }, () => operation());
  await Promise.all(wishes.map(shop.purchases.purchase));
  shop.wires.sell = (carry) => carry;
  let pauses = 0;
  const recovery = createRecovery({
    store: shop.store,
    readFeed: shop.readFeed,
    recover: shop.purchases.recover,
    isInFlight: shop.purchases.isInFlight,
    after() {
      pauses += 1;
      return () => {};
    },
    log: () => {},
    onContradiction: (error) => t.fail(error.message),
  });
  recovery.start();
  await until(() => pauses > 0);
  t.same(await shop.store.reach(), { watermark: 2400, lastSale: 2400 });
  await recovery.stop();
  await isBalanced(t, shop, 2400);
});

/** The same store with what a broken one would say of its sales. */
function brokenStore(store: OrderStore, lie: (orders: LoggedOrder[]) => LoggedOrder[]): OrderStore {
  return {
    ...store,
    async sales(from, to) {
      const orders = lie([...(await store.list(0, 1000))]);
      const within = orders.filter(({ sale }) => sale > from && sale <= to);
      const copies = new Map<number, number>();
      for (const { itemId } of within) copies.set(itemId, (copies.get(itemId) ?? 0) + 1);
      const numbers = new Set(within.map(({ sale }) => sale));
      const lacking = Array.from({ length: to - from }, (_none, index) => from + 1 + index);
      return { copies, lacking: lacking.filter((sale) => !numbers.has(sale)) };
    },
  };
}

t.test('when the shop is audited, then each difference is named', async (t) => {
  const shop = await openShop(t);
  await Promise.all([1, 1, 2, 3].map((item_id) => shop.purchases.purchase(operation({ item_id }))));
  const whole = await shop.audit();
  t.same(whole, {
    balanced: true,
    sale: 4,
    books: 3,
    stocked: 504,
    remaining: 500,
    sold: 4,
    logged: 4,
    pending: 0,
    differences: [],
  });
  const { readFeed } = shop;
  const totals = [
    { item_id: 1, stocked: 3, remaining: 1, sold: 2 },
    { item_id: 2, stocked: 1, remaining: 0, sold: 1 },
    { item_id: 3, stocked: 500, remaining: 499, sold: 1 },
  ];
  type Totals = typeof totals;
  const auditOf = (store: OrderStore, lie: (books: Totals) => Totals = (books) => books) =>
    auditShop({
      store,
      readFeed,
      readTotals: async (after) => ({ sale: 4, books: after === -1 ? lie(totals) : [] }),
    });
  t.same(await auditOf(shop.store), whole, 'these are the true totals');
  const cases: Record<string, readonly [Awaited<ReturnType<typeof auditOf>>, object]> = {
    'a copy vanished from the stock': [
      await auditOf(shop.store, ([a, ...rest]) => (a ? [{ ...a, remaining: 0 }, ...rest] : [])),
      { item_id: 1, stocked: 3, remaining: 0, sold: 2, logged: 2, pending: 0 },
    ],
    'a copy was sold twice': [
      await auditOf(shop.store, ([a, ...rest]) =>
        a ? [{ ...a, remaining: 2, sold: 1 }, ...rest] : [],
      ),
      { item_id: 1, stocked: 3, remaining: 2, sold: 1, logged: 2, pending: 0 },
    ],
    'an order is logged under another book': [
      await auditOf(
        brokenStore(shop.store, (orders) =>
          orders.map((order) => (order.itemId === 2 ? { ...order, itemId: 3 } : order)),
        ),
      ),
      { item_id: 2, stocked: 1, remaining: 0, sold: 1, logged: 0, pending: 0 },
    ],
    'an order is logged for a book that does not exist': [
      await auditOf(
        brokenStore(shop.store, (orders) =>
          orders.map((order) => (order.itemId === 2 ? { ...order, itemId: 77 } : order)),
        ),
      ),
      { item_id: 77, stocked: 0, remaining: 0, sold: 0, logged: 1, pending: 0 },
    ],
    'a book vanished from the catalog': [
      await auditOf(shop.store, (books) => books.slice(0, 2)),
      { item_id: 3, stocked: 0, remaining: 0, sold: 0, logged: 1, pending: 0 },
    ],
  };
  for (const [what, [audit, difference]] of Object.entries(cases)) {
    t.equal(audit.balanced, false, what);
    t.match(JSON.stringify(audit.differences), JSON.stringify(difference), what);
  }
  const lost = await auditOf(
    brokenStore(shop.store, (orders) => orders.filter(({ itemId }) => itemId !== 2)),
  );
  t.match(lost, { balanced: true, logged: 3, pending: 1 }, 'what the feed names is pending');
});

t.test('when the catalog has many pages of books, then all of them are audited', async (t) => {
  const rows = Array.from({ length: 2500 }, (_none, index) => `${index + 1},T,x,2,1`);
  const shop = await openShop(t, { csv: `${books.split('\n')[0]}\n${rows.join('\n')}\n` });
  const wishes = [1, 1000, 1001, 2500, 2500].map((item_id) => operation({ item_id }));
  await Promise.all(wishes.map(shop.purchases.purchase));
  t.match(await shop.audit(), { balanced: true, books: 2500, stocked: 5000, sold: 5, logged: 5 });
});
