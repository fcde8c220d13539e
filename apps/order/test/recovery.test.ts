import { randomUUID } from 'node:crypto';
import t from 'tap';
import { createRecovery, type Feed } from '../src/recovery.js';
import type { OrderStore } from '../src/store.js';

/** A log that lacks what the feed names, until it is recovered. */
function openWorld(patienceMs: number) {
  const orders = new Map<number, string>();
  const operations: { sale: number; operation_id: string; item_id: number }[] = [];
  const timers: (() => void)[] = [];
  const recovered: number[] = [];
  const world = {
    time: 0,
    recovered,
    sell() {
      const sale = operations.length + 1;
      operations.push({ sale, operation_id: randomUUID(), item_id: 1 });
      return sale;
    },
    log(sale: number) {
      orders.set(sale, operations[sale - 1]?.operation_id ?? '');
    },
    /** Lets the pause before the next look pass, and the look. */
    async look() {
      for (const run of timers.splice(0)) run();
      for (let turn = 0; turn < 20; turn += 1) await new Promise((done) => setImmediate(done));
    },
  };
  const watermark = () => {
    let sale = 0;
    while (orders.has(sale + 1)) sale += 1;
    return sale;
  };
  const store: Pick<
    OrderStore,
    'reach' | 'sales' | 'ordersOfSales' | 'catalogId' | 'adoptCatalog'
  > = {
    reach: async () => ({ watermark: watermark(), lastSale: Math.max(0, ...orders.keys()) }),
    sales: async (from, to) => ({
      copies: new Map(),
      lacking: operations
        .map(({ sale }) => sale)
        .filter((sale) => sale > from && sale <= to && !orders.has(sale)),
    }),
    ordersOfSales: async () => orders,
    catalogId: async () => 'catalog',
    async adoptCatalog() {},
  };
  const recovery = createRecovery({
    store: store as OrderStore,
    readFeed: async (after): Promise<Feed> => ({
      catalog_id: 'catalog',
      first_sale: 1,
      last_sale: operations.length,
      operations: operations.filter(({ sale }) => sale > after),
    }),
    async recover(orderId) {
      const sale = operations.findIndex(({ operation_id }) => operation_id === orderId) + 1;
      recovered.push(sale);
      world.log(sale);
    },
    isInFlight: () => false,
    patienceMs,
    after(_ms, run) {
      timers.push(run);
      return () => timers.splice(timers.indexOf(run), 1);
    },
    now: () => world.time,
    log() {},
    onContradiction(error) {
      throw error;
    },
  });
  return { world, recovery };
}

t.test('when others log sales too, then only what stays lacking is taken for lost', async (t) => {
  const { world, recovery } = openWorld(2000);
  world.sell();
  recovery.start();
  t.teardown(() => recovery.stop());
  await world.look();
  t.same(world.recovered, [1], 'what was lacking before the start is logged at once');
  const [slow, lost] = [world.sell(), world.sell()];
  await world.look();
  world.time += 1999;
  await world.look();
  t.same(world.recovered, [1], 'it may be in the hands of another replica');
  world.log(slow);
  world.time += 1;
  await world.look();
  t.same(world.recovered, [1, lost]);
});

t.test('when nobody else logs sales, then what lacks is logged at once', async (t) => {
  const { world, recovery } = openWorld(0);
  recovery.start();
  t.teardown(() => recovery.stop());
  await world.look();
  const sale = world.sell();
  await world.look();
  t.same(world.recovered, [sale]);
});
