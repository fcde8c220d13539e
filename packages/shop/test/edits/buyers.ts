import { setTimeout as sleep } from 'node:timers/promises';
import type { Random } from '@bazar/simulation';
import type { ServiceName } from '../../src/index.js';
import { askForSure } from '../crash/ask.js';
import { hear, type Testimony } from '../crash/testimony.js';

export interface BuyersOptions {
  readonly urls: Readonly<Record<ServiceName, string>>;
  readonly random: Random;
  readonly testimony: Testimony;
  readonly buyers: number;
  /** The books that there are at first. */
  readonly books: Iterable<number>;
  /** Sends everybody home at once, for a test that has failed already. */
  readonly giveUp: AbortSignal;
}

/** Customers of a shop that nobody but a person with an editor restocks. */
export interface Buyers {
  /** How many purchases were answered. */
  readonly answered: number;
  /** Lets these books be bought as well. */
  offer(books: Iterable<number>): void;
  /** Resolves when everybody has got the answers they wait for, and has gone. */
  stop(): Promise<void>;
}

/** Lets buyers buy until they are stopped, whatever dies meanwhile. */
export function startBuyers(options: BuyersOptions): Buyers {
  const { urls, testimony, giveUp } = options;
  const books = new Set(options.books);
  let stopped = false;
  let answered = 0;

  async function buyAndBuy(random: Random): Promise<void> {
    while (!stopped) {
      const key = random.uuid();
      const itemId = random.pick([...books]);
      testimony.attempted.set(key, itemId);
      const request = `POST ${urls.gateway}/purchase/${itemId}`;
      hear(testimony, key, await askForSure({ request, key }, giveUp));
      answered += 1;
      await sleep(random.integer(30));
    }
  }

  const all = Promise.all(
    Array.from({ length: options.buyers }, (_, index) => {
      return buyAndBuy(options.random.fork(`buyer ${index}`));
    }),
  );
  // Whoever gave up is heard of at the stop; until then nobody else may fail for it.
  all.catch(() => undefined);
  return {
    get answered() {
      return answered;
    },
    offer(more) {
      for (const id of more) books.add(id);
    },
    async stop() {
      stopped = true;
      await all;
    },
  };
}
