import { checkResponses } from '@bazar/client/check';
import { catalogInternal } from '@bazar/contracts/internal';
import { auditShop, callsThrough, type LoggedOrder } from '@bazar/order';
import { type Clock, createClock, createDisk, createRandom, type Random } from '@bazar/simulation';
import { type BuildMaker, honest } from './build.js';
import { count, createEvidence, type Evidence } from './evidence.js';
import { isPassing, type Kept, keepRunning } from './keeping.js';
import type { Stock } from './laws.js';
import { type Breach, breachesOf, type Ending } from './laws.js';
import {
  browse,
  createPeople,
  firstBooks,
  gateways,
  keepShelves,
  type Open,
  type OpenUpdate,
  type People,
  spendDay,
  stroll,
} from './people.js';
import {
  type Catalog,
  type Life,
  type Orders,
  replicaOf,
  startCatalog,
  startGateway,
  startOrders,
  type World,
} from './services.js';
import { drawWeather, rage } from './storm.js';
import { createLines, type Lines } from './wire.js';

export interface Outcome {
  readonly seed: string;
  readonly breaches: readonly Breach[];
  readonly evidence: Evidence;
  /** Absent when the story did not come to its end. */
  readonly ending: Ending | undefined;
}

const policy = {
  startMs: Date.UTC(2030, 0, 1),
  /** How long outcomes are remembered: longer than any story, but for those with a night. */
  ageMs: 2 * 60_000,
  maxEvents: 50_000,
  /** How long recovery may take when nothing is wrong any more. */
  recoveryMs: 30_000,
  patienceMs: 3000,
};

/** The shop with everybody in it. */
interface Shop {
  readonly clock: Clock;
  readonly random: Random;
  readonly lines: Lines;
  readonly evidence: Evidence;
  readonly people: People;
  readonly catalog: Kept<Catalog>;
  readonly orders: Kept<Orders>;
  readonly gateways: readonly Kept<Life>[];
  readonly catalogDisk: World['catalogDisk'];
  readonly orderDisk: World['orderDisk'];
  /** Resolves when a service has given up for good: what follows would teach nothing. */
  readonly doomed: Promise<undefined>;
}

/** Lives through one story: a day in a storm, the calm after it, and the judgement. */
export async function runStory(
  seed: number | string,
  make: BuildMaker = () => honest,
): Promise<Outcome> {
  const random = createRandom(seed);
  const clock = createClock({ random: random.fork('clock'), startMs: policy.startMs });
  const shop = openShop(clock, random, make);
  const { evidence } = shop;
  let breaches: readonly Breach[];
  let ending: Ending | undefined;
  try {
    const story = Promise.race([tell(shop), shop.doomed]);
    ending = await clock.finish(story, { maxEvents: policy.maxEvents });
    breaches = breachesOf(evidence, ending);
  } catch (error) {
    // A story that cannot end is a breach too: something waits for ever.
    const sentence = error instanceof Error ? (error.stack ?? error.message) : String(error);
    breaches = [{ law: 'every story ends', sentence }, ...breachesOf(evidence, undefined)];
  }
  count(evidence, 'simulated ms', Math.round(clock.now() - policy.startMs));
  return { seed: random.seed, breaches, evidence, ending };
}

function openShop(clock: Clock, random: Random, make: BuildMaker): Shop {
  const evidence = createEvidence();
  let doom = () => {};
  const doomed = new Promise<undefined>((resolve) => {
    doom = () => resolve(undefined);
  });
  const build = make(random.fork('build'));
  const onError = (where: string, error: unknown) => {
    const what = error instanceof Error ? (error.stack ?? error.message) : String(error);
    evidence.mistakes.push(`${where}: ${what}`);
  };
  const onRefused = (name: string, error: unknown) => {
    evidence.refusals.push(`${name}: ${error instanceof Error ? error.message : error}`);
    doom();
  };
  const lines = createLines(random, drawWeather(random.fork('weather')), onError);
  const delayMs = random.fork('disks').pick([[0.05, 3] as const, [0.5, 20] as const]);
  const disks = { shortWrites: 0.05, delayMs };
  const world: World = {
    clock,
    random: random.fork('ids'),
    lines,
    catalogDisk: createDisk({
      ...disks,
      random: random.fork('catalog'),
      mutant: build.catalogMutant,
    }),
    orderDisk: createDisk({ ...disks, random: random.fork('order'), mutant: build.orderMutant }),
    build,
    ageMs: policy.ageMs,
    onRead: (status) => count(evidence, status),
    stopAtOnce(node, error) {
      if (!node.alive) return;
      count(evidence, `${node.name} stopped by itself`);
      // A disk that failed is one thing; files that contradict each other are another.
      if (!isPassing(error)) onRefused(node.name, error);
      kept[node.name]?.crash();
    },
  };
  const options = { clock, random: random.fork('keeping'), onRefused };
  const catalog = keepRunning({
    ...options,
    name: 'catalog',
    open: (node) => startCatalog(node, world),
  });
  const orders = keepRunning({
    ...options,
    name: 'order',
    open(node) {
      evidence.orderStarts.push(clock.now());
      return startOrders(node, world);
    },
  });
  const shops = gateways.map((name) =>
    keepRunning({
      ...options,
      name,
      drift: build.gatewayDrift,
      open: (node) => startGateway(node, world),
    }),
  );
  const kept: Record<string, Kept<Life>> = { catalog, order: orders };
  const { catalogDisk, orderDisk } = world;
  const people = createPeople(clock, random.fork('people'), lines, evidence);
  return {
    clock,
    random,
    lines,
    evidence,
    people,
    catalog,
    orders,
    gateways: shops,
    catalogDisk,
    orderDisk,
    doomed,
  };
}

async function tell(shop: Shop): Promise<Ending> {
  const { evidence, people, random } = shop;
  const open: Open[] = [];
  const openUpdates: OpenUpdate[] = [];
  await day(shop, open, openUpdates);
  await calmDown(shop);
  // Some never come back; what became of their wishes is for recovery to finish.
  const returning = open.filter(() => random.chance(0.3));
  await Promise.all([
    ...returning.map((wish) => settle(shop, () => people.buy(wish, policy.patienceMs))),
    ...openUpdates.map((wish) => settle(shop, () => people.update(wish, policy.patienceMs))),
  ]);
  const gone = new Set(open.filter((wish) => !returning.includes(wish)).map(({ key }) => key));
  // What has been acknowledged by now may not be lost any more.
  await losePower(shop);
  await recovered(shop);
  if (random.fork('epilogue').chance(0.25)) await sleepLong(shop);
  await fillShelves(shop, 2);
  await askAgain(shop);
  const ending = await judge(shop, gone);
  count(evidence, 'orders logged', ending.logged.length);
  return ending;
}

async function day(shop: Shop, open: Open[], openUpdates: OpenUpdate[]): Promise<void> {
  const { clock, random, people, lines, evidence } = shop;
  const someone = (name: string) => ({
    node: clock.node(name),
    random: random.fork(name),
    people,
    open,
    openUpdates,
  });
  const buyers = 2 + random.fork('buyers').integer(5);
  const targets = { ...shop, partition: lines.partition, heal: lines.heal, evidence };
  await Promise.all([
    ...Array.from({ length: buyers }, (_, index) => spendDay(someone(`buyer-${index + 1}`))),
    keepShelves(someone('keeper')),
    browse(someone('reader-1')),
    browse(someone('reader-2')),
    stroll(someone('visitor-1')),
    stroll(someone('visitor-2')),
    rage(targets, random.fork('storm')),
  ]);
}

async function calmDown({ lines, catalogDisk, orderDisk, catalog, orders, gateways }: Shop) {
  lines.heal();
  lines.calmDown();
  catalogDisk.resize(undefined);
  orderDisk.resize(undefined);
  await Promise.all([catalog, orders, ...gateways].map((kept) => kept.ready()));
}

/** Asks until the answer is known. */
async function settle({ clock }: Shop, ask: () => Promise<{ readonly result: string }>) {
  for (let attempt = 0; attempt < 30; attempt += 1) {
    if ((await ask()).result !== 'unknown') return;
    await clock.sleep(300);
  }
}

async function losePower({ catalogDisk, orderDisk, catalog, orders }: Shop): Promise<void> {
  catalogDisk.powerLoss();
  orderDisk.powerLoss();
  catalog.crash();
  orders.crash();
  await Promise.all([catalog.ready(), orders.ready()]);
}

/** Waits, for a bounded time, until the log has what the catalog sold. */
async function recovered({ clock, catalog, orders, evidence }: Shop): Promise<boolean> {
  const end = clock.now() + policy.recoveryMs;
  while (clock.now() < end) {
    await Promise.all([catalog.ready(), orders.ready()]);
    const sold = await catalog.life?.store.operations(0, 1);
    const reach = await orders.life?.store.reach();
    const health = orders.life?.recovery.health();
    if (health === 'ok' && reach !== undefined && reach.watermark === sold?.lastSale) return true;
    await clock.sleep(100);
  }
  count(evidence, 'recovery did not end');
  return false;
}

/** Until the catalog may forget what the order log has; then some more is sold. */
async function sleepLong(shop: Shop): Promise<void> {
  const { clock, people, random, catalog } = shop;
  count(shop.evidence, 'long nights');
  await clock.sleep(policy.ageMs + 1000);
  for (let turn = 0; turn < 3; turn += 1) {
    await fillShelves(shop, 1);
    for (const { id } of firstBooks) {
      const sale = { key: random.uuid(), itemId: id };
      await settle(shop, () => people.buy(sale, policy.patienceMs));
    }
    // A snapshot follows, and with it segments are forgotten.
    await clock.sleep(1500);
  }
  catalog.crash();
  await catalog.ready();
  await recovered(shop);
}

/** Some copies more of every book: a reason to tell another story to who asks again. */
async function fillShelves(shop: Shop, copies: number): Promise<void> {
  for (const { id } of firstBooks) {
    const key = shop.random.uuid();
    const wish = { key, itemId: id, change: { quantity_delta: copies } };
    await settle(shop, () => shop.people.update(wish, policy.patienceMs));
  }
}

/** Everybody asks again, at once, and is told the same. */
async function askAgain(shop: Shop): Promise<void> {
  const { evidence, people } = shop;
  const known = new Map<string, Open>();
  for (const { key, itemId, bought } of evidence.attempts) {
    // After a long night a sold-out key may have been forgotten, as is published.
    const isRemembered =
      bought.result === 'sold' || (bought.result === 'sold_out' && !isLate(shop));
    if (isRemembered) known.set(key, { key, itemId });
  }
  await Promise.all(
    [...known.values()].map((wish) => settle(shop, () => people.buy(wish, policy.patienceMs))),
  );
}

function isLate({ evidence }: Shop): boolean {
  return evidence.counts['long nights'] !== undefined;
}

/** What the files and services say in the end. */
async function judge(shop: Shop, gone: ReadonlySet<string>): Promise<Ending> {
  const isRecovered = await recovered(shop);
  const { catalog, orders } = shop;
  const store = catalog.life?.store;
  const log = orders.life?.store;
  if (store === undefined || log === undefined) throw new Error('a service is away in the calm');
  const auditor = shop.clock.node('auditor');
  const line = shop.lines.transport(auditor, 'catalog');
  const catalogs = replicaOf(catalogInternal, checkResponses(catalogInternal), line, auditor);
  const audit = await auditShop({ ...callsThrough(catalogs), store: log });
  const { sale, books } = await store.totals(-1, 1000);
  const logged: readonly LoggedOrder[] = await log.list(0, 10_000);
  const feed = await store.operations(0, 10_000);
  const outcomes = await store.apply(
    feed.operations.map(({ operationId: id, itemId }) => ({ id, kind: 'sale', itemId })),
  );
  const stocks: readonly Stock[] = books;
  return {
    gone,
    isRecovered,
    audit,
    stocks,
    lastSale: sale,
    logged,
    feed: feed.operations,
    outcomes,
  };
}
