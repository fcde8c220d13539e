import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { topicOf } from './books.js';
import { type Answer, type Client, connect } from './client.js';
import { BenchFailure, breaches } from './conservation.js';
import type { ShopContestant } from './contestant.js';
import { applyLoad } from './load.js';

/** One response time in milliseconds. */
export interface Sample {
  readonly what: string;
  readonly ms: number;
}

/** What the answers to queries said of the cache. */
export interface Counts {
  hits: number;
  misses: number;
  untold: number;
}

export interface TimesOptions {
  readonly shop: ShopContestant;
  /** Is added to. */
  readonly samples: Sample[];
  readonly counts: Counts;
  /** Samples of each kind. */
  readonly count: number;
}

interface Customer {
  query(what: string, path: string): Promise<void>;
  buy(what: string, book: number): Promise<void>;
}

function customerOf(client: Client, { samples, counts }: TimesOptions): Customer {
  function note(what: string, answer: Answer): void {
    if (answer.status !== 200) throw new BenchFailure(`${what}: answered ${answer.status}.`);
    samples.push({ what, ms: answer.endedMs - answer.beganMs });
  }
  return {
    async query(what, path) {
      const answer = await client.ask({ method: 'GET', path });
      note(what, answer);
      if (answer.cache === undefined) counts.untold += 1;
      else if (answer.cache === 'hit') counts.hits += 1;
      else counts.misses += 1;
    },
    async buy(what, book) {
      const path = `/purchase/${book}`;
      note(what, await client.ask({ method: 'POST', path, key: randomUUID() }));
    },
  };
}

const warmUps = 100;

/** Queries and purchases, one at a time, of a shop whose gateway has read nothing yet. */
export async function measureTimes(options: TimesOptions): Promise<void> {
  const { shop, count } = options;
  const client = connect(shop.url, 1);
  const direct = connect(shop.shop.urls.catalog, 1);
  const [front, catalog] = [customerOf(client, options), customerOf(direct, options)];
  const { books } = shop;
  try {
    for (let turn = 0; turn < warmUps; turn += 1) {
      await client.ask({ method: 'GET', path: `/info/${books - turn}` });
      await client.ask({ method: 'POST', path: `/purchase/${books - turn}` });
      await direct.ask({ method: 'GET', path: `/info/${books - turn}` });
    }
    for (let book = 1; book <= count; book += 1) {
      const topic = `/search/${encodeURIComponent(topicOf(book, books))}`;
      await front.query('info, not in the cache', `/info/${book}`);
      await front.query('info, in the cache', `/info/${book}`);
      await catalog.query('info, asked of the catalog', `/info/${book}`);
      // Ten books share a topic; the first of them asks for it for the first time.
      if (book % 10 === 1) await front.query('search, not in the cache', topic);
      await front.query('search, in the cache', topic);
      await front.buy('buy a book that is in the cache', book);
      await front.query('info, right after a purchase', `/info/${book}`);
      await front.buy('buy a book that is not in the cache', count + book);
    }
  } finally {
    await client.close();
    await direct.close();
  }
}

export interface CostOptions extends TimesOptions {
  readonly generatorUrl: string;
  /** How long the readers read in the background. */
  readonly seconds: number;
}

const readers = 16;
/** The readers want this one, and nobody the other. */
const [readBook, unreadBook] = [1, 2];
/** Longer than a lease: a gateway that is gone is waited for no more. */
const leaseMs = 1500;

/** Purchases with and without readers, and with and without a gateway that may have a cache. */
export async function measureCost(options: CostOptions): Promise<void> {
  const { shop, count, generatorUrl, seconds } = options;
  const client = connect(shop.url, 1);
  const direct = connect(shop.shop.urls.order, 1);
  const [front, order] = [customerOf(client, options), customerOf(direct, options)];
  try {
    const load = { kind: 'info', books: 1, connections: readers, warmupSeconds: 0 } as const;
    const reading = applyLoad(generatorUrl, { urls: [shop.url], ...load, seconds });
    const state = { reading: true };
    const read = reading.finally(() => {
      state.reading = false;
    });
    while (state.reading) {
      await front.buy(`buy a book that ${readers} readers read`, readBook);
      await front.buy(`buy another book while ${readers} readers read`, unreadBook);
    }
    const { errors, non2xx } = await read;
    if (errors + non2xx > 0) throw new BenchFailure(`${errors + non2xx} readers got no answer.`);
    for (let turn = 0; turn < count; turn += 1) {
      await order.buy('buy at the order service, with a gateway', unreadBook);
    }
    await shop.shop.service('gateway').stop();
    await sleep(leaseMs);
    for (let turn = 0; turn < count; turn += 1) {
      await order.buy('buy at the order service, without a gateway', unreadBook);
    }
    await assertBalanced(shop);
  } finally {
    await client.close();
    await direct.close();
  }
}

async function assertBalanced({ ledger }: ShopContestant): Promise<void> {
  const rows = (await ledger?.rows()) ?? 0;
  const accounts = { acknowledged: 0, rowsBefore: rows, rowsAfter: rows };
  const found = breaches({ ...accounts, audit: await ledger?.audit() });
  if (found.length > 0) throw new BenchFailure(`${found.join('; ')}.`);
}
