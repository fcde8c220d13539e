import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { builtMain, createService } from '@bazar/shop';
import { Type } from '@sinclair/typebox';
import { Value } from '@sinclair/typebox/value';
import { type Client, connect, type Question } from './client.js';
import { BenchFailure, breaches } from './conservation.js';
import { type ShopContestant, startBazar } from './contestant.js';
import { createDelays } from './delays.js';
import { startDisturbing } from './disturbance.js';
import type { Door } from './door.js';
import { inDigits } from './plot.js';
import { inFolder, type Surroundings } from './surroundings.js';
import { startWire } from './wire.js';
import { createWitness, type Witness } from './witness.js';

const policy = {
  books: 8,
  readersPerGateway: 24,
  /** Readers who do not wait for each other ask a stopped gateway too, at this pace. */
  probeMs: 5,
  maxProbes: 300,
  connections: 400,
  /** So many sales, then a restock; no quantity ever comes twice. */
  salesPerRestock: 50,
  restock: 1000,
  /** A writer rests for up to this long, for readers to find something in the cache. */
  maxRestMs: 40,
  deadlineMs: 20 * 60_000,
};

export interface Hunt {
  /** Reads out of a cache that are to be checked. */
  readonly reads: number;
  /** Chance, from 0 up to, but not including, 1. */
  readonly random?: () => number;
}

/** What the hunt saw; nothing stale, or it would have thrown. */
export interface Bag {
  readonly reads: number;
  readonly hits: number;
  readonly failedReads: number;
  readonly writes: number;
  readonly pauses: number;
  readonly longestDelayMs: number;
}

/**
 * Looks for stale reads: two gateways over one shop, buyers and a keeper at work, gateways stopped
 * (SIGSTOP, 0.1 to 5 s), connections to and from the second one broken and held. Every read is held
 * against what had been acknowledged to this one process before the read began.
 *
 * @throws BenchFailure when a read was stale, or the conservation law was broken
 */
export async function huntStale(hunt: Hunt, { say }: Pick<Surroundings, 'say'>): Promise<Bag> {
  return inFolder(async (folder) => {
    const shop = await startBazar({ folder: join(folder, 'shop'), books: policy.books });
    const toGateway = await startWire(() => second.url);
    const toCatalog = await startWire(() => shop.shop.urls.catalog);
    const second = createService({
      name: 'second gateway',
      main: builtMain('gateway'),
      port: 0,
      env: () => ({
        ...process.env,
        CATALOG_URLS: toCatalog.url,
        ORDER_URLS: shop.shop.urls.order,
        PUBLIC_URL: toGateway.url,
      }),
      startDeadlineMs: 60_000,
      stopDeadlineMs: 20_000,
      onLine: () => {},
      onDeath: () => say('The second gateway died.'),
    });
    try {
      await second.start();
      const doors = [shop.shop.service('gateway'), second].map(
        (service): Door => ({
          client: connect(service.url, policy.connections),
          pause: service.pause,
          resume: service.resume,
          paused: false,
          pauses: 0,
        }),
      );
      const bag = await huntThrough(hunt, shop, doors, [toGateway, toCatalog]);
      const share = bag.hits / bag.reads;
      say(
        `${bag.reads.toLocaleString('en')} reads through two gateways, ` +
          `${bag.hits.toLocaleString('en')} of them from the cache (${inDigits(share * 100)} %), ` +
          `${bag.failedReads} refused or cut off, ${bag.writes} writes, ${bag.pauses} stops of a ` +
          `gateway, writers delayed by at most ${inDigits(bag.longestDelayMs)} ms: 0 stale.`,
      );
      if (bag.hits === 0) say('No answer said that it came from a cache.');
      return bag;
    } finally {
      await second.stop();
      await shop.stop();
      await toGateway.close();
      await toCatalog.close();
    }
  });
}

type Wires = readonly Awaited<ReturnType<typeof startWire>>[];

async function huntThrough(
  { reads: wanted, random = Math.random }: Hunt,
  shop: ShopContestant,
  doors: readonly Door[],
  wires: Wires,
): Promise<Bag> {
  const books = Array.from({ length: policy.books }, (_, index) => index + 1);
  const stock = new Map<number, number>();
  for (const book of books) stock.set(book, quantityIn(await ask(doors, `/info/${book}`)));
  const state: State = {
    witness: createWitness(stock),
    reads: 0,
    hits: 0,
    failedReads: 0,
    sales: 0,
    writes: 0,
    sawCache: false,
    stopped: false,
    stale: [],
  };
  const delays = createDelays();
  const rowsBefore = (await shop.ledger?.rows()) ?? 0;
  const keeper = connect(shop.shop.urls.catalog);
  const writers = books.map((book) =>
    writeAndWrite({ book, doors, keeper, random, state, delays }),
  );
  const readers = doors.flatMap((door) => [
    ...Array.from({ length: policy.readersPerGateway }, () => readAndRead(door, random, state)),
    probe(door, random, state),
  ]);
  const disturbance = startDisturbing({ doors, wires, random, delays });
  try {
    await Promise.race([enough(state, wanted), ...writers, ...readers]);
  } finally {
    state.stopped = true;
    await disturbance.stop();
    await Promise.allSettled([...writers, ...readers]);
    for (const { client } of doors) await client.close();
    await keeper.close();
  }
  await Promise.all([...writers, ...readers]);
  if (state.stale.length > 0) {
    const some = state.stale.slice(0, 5).join('; ');
    throw new BenchFailure(`${state.stale.length} of ${state.reads} reads were stale: ${some}.`);
  }
  const rowsAfter = (await shop.ledger?.rows()) ?? 0;
  const audit = await shop.ledger?.audit();
  const found = breaches({ acknowledged: state.sales, rowsBefore, rowsAfter, audit });
  if (found.length > 0) throw new BenchFailure(`${found.join('; ')}.`);
  const { reads, hits, failedReads, writes } = state;
  const { pauses, longestMs } = delays.sum();
  return { reads, hits, failedReads, writes, pauses, longestDelayMs: longestMs };
}

interface State {
  readonly witness: Witness;
  reads: number;
  hits: number;
  failedReads: number;
  sales: number;
  writes: number;
  sawCache: boolean;
  stopped: boolean;
  readonly stale: string[];
}

/** Until enough was read: from the cache, if there is one, else at all. */
async function enough(state: State, wanted: number): Promise<void> {
  const endMs = performance.now() + policy.deadlineMs;
  const seen = () => (state.sawCache ? state.hits : state.reads);
  while (seen() < wanted && state.stale.length === 0) {
    if (performance.now() > endMs) {
      throw new BenchFailure(`Only ${seen()} of ${wanted} reads were made in time.`);
    }
    await sleep(50);
  }
}

const Quantity = Type.Object({ quantity: Type.Integer() });

function quantityIn(body: unknown): number {
  if (!Value.Check(Quantity, body)) throw new BenchFailure(`No book: ${JSON.stringify(body)}.`);
  return body.quantity;
}

async function ask(doors: readonly Door[], path: string): Promise<unknown> {
  const answer = await doors[0]?.client.askForSure({ method: 'GET', path });
  return answer?.body;
}

async function read({ client }: Door, random: () => number, state: State): Promise<void> {
  const book = 1 + Math.floor(random() * policy.books);
  try {
    const answer = await client.ask({ method: 'GET', path: `/info/${book}` });
    if (answer.status !== 200) {
      state.failedReads += 1;
      return;
    }
    const { beganMs, endedMs, cache } = answer;
    const quantity = quantityIn(answer.body);
    const complaint = state.witness.judge({ book, beganMs, endedMs, quantity });
    if (complaint !== undefined) state.stale.push(`${complaint} (cache: ${cache ?? 'none'})`);
    state.reads += 1;
    if (cache !== undefined) state.sawCache = true;
    if (cache === 'hit') state.hits += 1;
  } catch (error) {
    if (error instanceof BenchFailure) throw error;
    // Cut off on the way: it showed nothing, so it showed nothing stale.
    state.failedReads += 1;
  }
}

const failurePauseMs = 5;

async function readAndRead(door: Door, random: () => number, state: State): Promise<void> {
  while (!state.stopped) {
    const failed = state.failedReads;
    await read(door, random, state);
    if (state.failedReads > failed) await sleep(failurePauseMs);
  }
}

/** Asks on and on, also while earlier answers are still to come. */
async function probe(door: Door, random: () => number, state: State): Promise<void> {
  const waiting = new Set<Promise<void>>();
  while (!state.stopped) {
    if (waiting.size < policy.maxProbes) {
      const asked = read(door, random, state).finally(() => waiting.delete(asked));
      asked.catch(() => undefined);
      waiting.add(asked);
    }
    await sleep(policy.probeMs);
  }
  await Promise.all(waiting);
}

interface Writing {
  readonly book: number;
  readonly doors: readonly Door[];
  readonly keeper: Client;
  readonly random: () => number;
  readonly state: State;
  readonly delays: ReturnType<typeof createDelays>;
}

/** One writer to a book: so its changes have one order, and every state of it is known. */
async function writeAndWrite(writing: Writing): Promise<void> {
  const { book, doors, keeper, random, state, delays } = writing;
  for (let turn = 1; !state.stopped; turn += 1) {
    const isRestock = turn % policy.salesPerRestock === 0;
    // Whoever stands before a stopped gateway learns nothing of how long others have to wait.
    const open = doors.filter(({ paused }) => !paused);
    const door = open[Math.floor(random() * open.length)] ?? doors[0];
    const client = isRestock ? keeper : door?.client;
    if (client === undefined) throw new Error('There is no gateway.');
    const question: Question = isRestock
      ? {
          method: 'POST',
          path: `/update/${book}`,
          body: { quantity_delta: policy.restock },
          key: randomUUID(),
        }
      : { method: 'POST', path: `/purchase/${book}`, key: randomUUID() };
    const pauses = door?.pauses;
    const beganMs = performance.now();
    const acknowledge = state.witness.begin(book, isRestock ? policy.restock : -1, beganMs);
    const answer = await client.askForSure(question);
    acknowledge(answer.endedMs);
    if (answer.status !== 200) {
      throw new BenchFailure(`${question.path}: ${answer.status} ${JSON.stringify(answer.body)}`);
    }
    // A gateway that was stopped under a purchase held up that one itself.
    const wasInside = !isRestock && (door?.paused || door?.pauses !== pauses);
    if (!wasInside) delays.note({ book, beganMs, endedMs: answer.endedMs });
    state.writes += 1;
    if (!isRestock) state.sales += 1;
    await sleep(random() * policy.maxRestMs);
  }
}
