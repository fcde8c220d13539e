import { existsSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { sellMany } from './bulk-sale.js';
import {
  type Contestant,
  type ShopContestant,
  startBazar,
  startFloor,
  startPlainChain,
} from './contestant.js';
import type { SuiteName } from './options.js';
import { hotOverPostgres, oneAndTwo } from './replica-suites.js';
import { remembered, run, type Suite, type SuiteContext, stopAll, warmUp } from './suite.js';

const readConnections = [1, 32, 64, 256];
const purchaseConnections = [1, 32, 256];
const mixedConnections = [64, 256];
const manyConnections = 256;
const someConnections = 64;
/** Few enough that nobody waits for the others: what is left is the snapshot. */
const snapshotConnections = 8;

/** How large is large: quick runs only show that all works. */
export const sizes = {
  full: { middle: 10_000, large: 1_000_000, orders: 1_000_000 },
  quick: { middle: 1000, large: 20_000, orders: 5000 },
} as const;

/** Each suite of the benchmark; the first four meet the same three contestants. */
export const suites: Readonly<Record<SuiteName, Suite>> = {
  info: sideBySide('info', '/info', readConnections),
  search: sideBySide('search', '/search', readConnections),
  purchase: sideBySide('purchase', '/purchase', purchaseConnections),
  mixed: sideBySide('mixed', '90 % /info, 10 % /purchase', mixedConnections),
  hot: hotBook,
  books: catalogSizes,
  orders: orderLogs,
  snapshot: snapshots,
  postgres: hotOverPostgres,
  replicas: oneAndTwo,
};

function sideBySide(
  kind: 'info' | 'search' | 'purchase' | 'mixed',
  label: string,
  connections: readonly number[],
): Suite {
  return async (context) => {
    const { books } = context.options;
    await withContestants(context, books, async (contestants) => {
      for (const count of connections) {
        const task = { suite: kind, label, kind, connections: count };
        await run(
          context,
          contestants.map((contestant) => ({ contestant, task })),
        );
      }
    });
  };
}

async function hotBook(context: SuiteContext): Promise<void> {
  const { middle } = sizeOf(context);
  await withContestants(context, middle, async (contestants) => {
    const label = `/purchase of ${thousands(middle)} books`;
    const task = { suite: 'hot', label, kind: 'purchase', connections: manyConnections } as const;
    const many = contestants.map((contestant) => ({ contestant, task }));
    const hot = contestants.slice(-1).map((contestant) => ({
      contestant,
      task: { ...task, books: 1 },
      as: 'Bazar, one hot book',
    }));
    await run(context, [...many, ...hot]);
  });
}

async function catalogSizes(context: SuiteContext): Promise<void> {
  const { middle, large } = sizeOf(context);
  const shops: ShopContestant[] = [];
  try {
    for (const books of [4, middle, large]) {
      context.say(`A shop with ${thousands(books)} books starts.`);
      const name = `Bazar, ${thousands(books)} books`;
      const folder = join(context.folder, `books-${books}`);
      shops.push(remembered(context, await startBazar({ folder, books, name })));
    }
    await readAndBuy(context, 'books', shops);
  } finally {
    await stopAll(shops);
  }
}

async function orderLogs(context: SuiteContext): Promise<void> {
  const { orders } = sizeOf(context);
  const { books } = context.options;
  const shops: ShopContestant[] = [];
  try {
    for (const count of [0, orders]) {
      const name = `Bazar, ${thousands(count)} orders`;
      const folder = join(context.folder, `orders-${count}`);
      const shop = await startBazar({ folder, books, name });
      shops.push(shop);
      if (count > 0) {
        context.say(`${thousands(count)} copies are sold for an order log of that length.`);
        await sellMany(shop.shop.urls.order, books, count);
        await shop.shop.stop();
        await shop.shop.start();
      }
      remembered(context, shop);
    }
    await readAndBuy(context, 'orders', shops);
  } finally {
    await stopAll(shops);
  }
}

/** What must not become slower when the shop becomes larger. */
async function readAndBuy(
  context: SuiteContext,
  suite: string,
  contestants: readonly Contestant[],
): Promise<void> {
  await warmUp(context, contestants);
  for (const [kind, connections] of [
    ['info', someConnections],
    ['purchase', manyConnections],
  ] as const) {
    const task = { suite, label: `/${kind}`, kind, connections };
    await run(
      context,
      contestants.map((contestant) => ({ contestant, task })),
    );
  }
}

async function snapshots(context: SuiteContext): Promise<void> {
  const { large } = sizeOf(context);
  context.say(`A shop with ${thousands(large)} books starts.`);
  const shop = await startBazar({ folder: join(context.folder, 'snapshot'), books: large });
  const task = {
    suite: 'snapshot',
    label: '/info',
    kind: 'info',
    connections: snapshotConnections,
  } as const;
  const next = join(shop.dataDir, 'catalog_data.csv.next');
  const isWriting = () => existsSync(next);
  try {
    await warmUp(context, [shop]);
    await run(context, [
      {
        contestant: shop,
        task,
        as: 'Bazar, quiet',
        prepare: () => until(() => !isWriting(), 'no snapshot is being written'),
      },
      {
        contestant: shop,
        task,
        as: 'Bazar, writing a snapshot',
        async prepare() {
          await fetch(`${shop.url}/purchase/1`, { method: 'POST' });
          await until(isWriting, 'a snapshot is being written');
        },
      },
    ]);
    context.say(
      isWriting()
        ? 'The snapshot was being written until the end.'
        : 'The snapshot was finished before the measurement was.',
    );
  } finally {
    await shop.stop();
  }
}

const pollMs = 20;
const maxPolls = 15_000;

async function until(holds: () => boolean, what: string): Promise<void> {
  for (let poll = 0; poll < maxPolls; poll += 1) {
    if (holds()) return;
    await sleep(pollMs);
  }
  throw new Error(`Waited in vain until ${what}.`);
}

async function withContestants(
  context: SuiteContext,
  books: number,
  use: (contestants: readonly Contestant[]) => Promise<void>,
): Promise<void> {
  const folder = await mkdtemp(join(context.folder, 'beside-'));
  const running: Contestant[] = [];
  try {
    const bazar = await startBazar({ folder: join(folder, 'bazar'), books });
    running.push(remembered(context, bazar));
    const plain = await startPlainChain(join(folder, 'plain'), books);
    running.push(plain);
    const floor = await startFloor(bazar);
    running.push(floor);
    const contestants = [floor, plain, bazar];
    await warmUp(context, contestants);
    await use(contestants);
  } finally {
    await stopAll(running);
  }
}

function sizeOf({ options }: SuiteContext) {
  return options.quick ? sizes.quick : sizes.full;
}

function thousands(count: number): string {
  return count.toLocaleString('en');
}
