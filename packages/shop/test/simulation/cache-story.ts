import { type Clock, createClock, createDisk, createRandom, type Random } from '@bazar/simulation';
import { type BuildMaker, honest } from './build.js';
import { count, createEvidence, type Evidence } from './evidence.js';
import { type Kept, keepRunning } from './keeping.js';
import { createPeople, gateways, type People } from './people.js';
import { type Life, startCatalog, startGateway, type World } from './services.js';
import { createLines, type Lines, type Weather } from './wire.js';

export interface CacheOutcome {
  readonly seed: string;
  /** Reads that showed less than was acknowledged before they began, one sentence each. */
  readonly stale: readonly string[];
  readonly counts: Evidence['counts'];
}

const policy = {
  startMs: Date.UTC(2030, 0, 1),
  books: [1, 2],
  readers: 4,
  dayMs: 8000,
  maxEvents: 100_000,
};

/**
 * Two gateways before one catalog, in bad weather. For each book a keeper raises the price by one,
 * again and again, each time until it is acknowledged; whoever then looks at the book through a
 * gateway must see that price or a higher one.
 */
export async function runCacheStory(
  seed: number | string,
  make: BuildMaker = () => honest,
): Promise<CacheOutcome> {
  const random = createRandom(seed);
  const clock = createClock({ random: random.fork('clock'), startMs: policy.startMs });
  const evidence = createEvidence();
  const stale: string[] = [];
  const build = make(random.fork('build'));
  const fail = (name: string, error: unknown) => {
    stale.push(`${name}: ${error instanceof Error ? error.stack : error}`);
  };
  const lines = createLines(random, drawWeather(random.fork('weather')), fail);
  const world: World = {
    clock,
    random: random.fork('ids'),
    lines,
    catalogDisk: createDisk({ random: random.fork('disk'), delayMs: [0.05, 1] }),
    orderDisk: createDisk({ random }),
    build,
    ageMs: 60_000,
    onRead: (status) => count(evidence, status),
    stopAtOnce: (node, error) => fail(node.name, error),
  };
  const keeping = { clock, random: random.fork('keeping'), onRefused: fail };
  const catalog = keepRunning({
    ...keeping,
    name: 'catalog',
    open: (node) => startCatalog(node, world),
  });
  const shops = gateways.map((name) =>
    keepRunning({
      ...keeping,
      name,
      drift: build.gatewayDrift,
      open: (node) => startGateway(node, world),
    }),
  );
  const people = createPeople(clock, random.fork('people'), lines, evidence);
  const day: Day = { clock, random, people, evidence, stale, end: clock.now() + policy.dayMs };
  const story = Promise.all([
    ...policy.books.map((id) => raisePrices(day, id)),
    ...Array.from({ length: policy.readers }, (_, index) => look(day, index)),
    rage(day, { lines, catalog, shops }),
  ]);
  await clock.finish(story, { maxEvents: policy.maxEvents });
  return { seed: random.seed, stale, counts: evidence.counts };
}

interface Day {
  readonly clock: Clock;
  readonly random: Random;
  readonly people: People;
  readonly evidence: Evidence;
  readonly stale: string[];
  readonly end: number;
}

/** Every message is quick but for a few, and that is when the order of things is lost. */
function drawWeather(random: Random): Weather {
  return {
    loss: random.pick([0, 0, 0.02]),
    duplication: random.pick([0, 0.05]),
    delayMs: [0.1, 2],
    stragglers: random.pick([0.02, 0.1, 0.25]),
    breaks: random.pick([0, 0, 0.05, 0.2]),
  };
}

/** Acknowledged prices, by book, in the order of their acknowledgement. */
function acknowledged({ evidence }: Day, id: number, before: number): number {
  return evidence.updates.reduce((highest, { itemId, changed, to }) => {
    if (itemId !== id || changed.result !== 'changed' || to > before) return highest;
    return Math.max(highest, changed.book.price);
  }, 0);
}

async function raisePrices(day: Day, itemId: number): Promise<void> {
  const { clock, people, end } = day;
  const random = day.random.fork(`keeper ${itemId}`);
  for (let price = 100; clock.now() < end; price += 1) {
    await clock.sleep(random.between(0, random.pick([20, 400])));
    const wish = { key: random.uuid(), itemId, change: { price } };
    // Until it is known, for nobody may raise it again while this may still arrive.
    for (;;) {
      const { result } = await people.update(wish, random.between(50, 1500));
      if (result !== 'unknown') break;
      await clock.sleep(random.between(0, 100));
    }
  }
}

async function look(day: Day, index: number): Promise<void> {
  const { clock, people, evidence, stale, end } = day;
  const random = day.random.fork(`reader ${index}`);
  while (clock.now() < end) {
    await clock.sleep(random.between(0, random.pick([3, 60])));
    const id = random.pick(policy.books);
    const from = clock.now();
    const least = acknowledged(day, id, from);
    const seen = evidence.shopReads.length;
    await people.visit(id);
    const shown = evidence.shopReads.slice(seen).filter(({ book }) => book.id === id);
    for (const { book, from: began } of shown) {
      if (began !== from || book.price >= least) continue;
      stale.push(`book ${id}: ${book.price} at ${from - policy.startMs} ms, but ${least} before`);
    }
  }
}

interface Targets {
  readonly lines: Lines;
  readonly catalog: Kept<Life>;
  readonly shops: readonly Kept<Life>[];
}

async function rage(day: Day, { lines, catalog, shops }: Targets): Promise<void> {
  const { clock, evidence, end } = day;
  const random = day.random.fork('storm');
  const strikes: Readonly<Record<string, () => Promise<void> | void>> = {
    async pause() {
      const { node } = random.pick(shops);
      node.pause();
      await clock.sleep(random.between(50, 2500));
      if (node.alive) node.resume();
    },
    async 'pause of the catalog'() {
      const { node } = catalog;
      node.pause();
      await clock.sleep(random.between(50, 1500));
      if (node.alive) node.resume();
    },
    async partition() {
      lines.partition('catalog', random.pick(shops).name);
      await clock.sleep(random.between(50, 2500));
      lines.heal();
    },
    kill: () => random.pick(shops).crash(),
    stop() {
      void random.pick(shops).stop();
    },
    'kill of the catalog': () => catalog.crash(),
  };
  const names = ['pause', 'partition', 'partition', ...Object.keys(strikes)];
  while (clock.now() < end) {
    await clock.sleep(random.between(0, 1200));
    const name = random.pick(names);
    count(evidence, name);
    await strikes[name]?.();
  }
}
