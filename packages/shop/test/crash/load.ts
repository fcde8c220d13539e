import { setTimeout as sleep } from 'node:timers/promises';
import type { Random } from '@bazar/simulation';
import type { ServiceName } from '../../src/index.js';
import { ask, askForSure } from './ask.js';
import { hear, type Testimony } from './testimony.js';

export interface LoadOptions {
  readonly urls: Readonly<Record<ServiceName, string>>;
  readonly random: Random;
  readonly testimony: Testimony;
  readonly buyers: number;
  /** Sends everybody home at once, for a test that has failed already. */
  readonly giveUp: AbortSignal;
}

/** The books of the report. */
const items = [1, 2, 3, 4];

/** Buyers and a keeper at work. */
export interface Load {
  /** How many purchases were answered. */
  readonly answered: number;
  /** Resolves when everybody has got the answers they wait for, and has gone. */
  stop(): Promise<void>;
}

/** Lets buyers buy and the keeper restock until they are stopped, whatever dies meanwhile. */
export function startLoad(options: LoadOptions): Load {
  const state = { stopped: false, answered: 0 };
  const workers = Array.from({ length: options.buyers }, (_, index) => {
    return buyAndBuy({ ...options, random: options.random.fork(`buyer ${index}`) }, state);
  });
  workers.push(restock({ ...options, random: options.random.fork('keeper') }, state));
  const all = Promise.all(workers);
  // Whoever gave up is heard of at the stop; until then nobody else may fail for it.
  all.catch(() => undefined);
  return {
    get answered() {
      return state.answered;
    },
    async stop() {
      state.stopped = true;
      await all;
    },
  };
}

interface State {
  stopped: boolean;
  answered: number;
}

async function buyAndBuy(options: LoadOptions, state: State): Promise<void> {
  const { urls, random, testimony, giveUp } = options;
  const mine: string[] = [];
  while (!state.stopped) {
    const isRepeat = mine.length > 0 && random.chance(0.1);
    const key = isRepeat ? random.pick(mine) : random.uuid();
    const itemId = testimony.attempted.get(key) ?? random.pick(items);
    testimony.attempted.set(key, itemId);
    const front = random.chance(0.8) ? urls.gateway : urls.order;
    const wish = { request: `POST ${front}/purchase/${itemId}`, key };
    if (!isRepeat && random.chance(0.05)) {
      // One who goes away: what was asked for may be sold, or not.
      const patience = AbortSignal.timeout(random.integer(20));
      await ask({ ...wish, signal: patience }).catch(() => undefined);
      continue;
    }
    hear(testimony, key, await askForSure(wish, giveUp));
    state.answered += 1;
    mine.push(key);
    if (random.chance(0.03)) await misuse(options, key, itemId);
  }
}

/** Another book under a key that was used is refused, whatever died since. */
async function misuse(
  { urls, random, testimony, giveUp }: LoadOptions,
  key: string,
  itemId: number,
): Promise<void> {
  const other = random.pick(items.filter((item) => item !== itemId));
  const request = `POST ${urls.gateway}/purchase/${other}`;
  const { status } = await askForSure({ request, key }, giveUp);
  if (status !== 422) testimony.surprises.push(`key ${key} for another book: ${status}`);
}

async function restock(
  { urls, random, testimony, giveUp }: LoadOptions,
  state: State,
): Promise<void> {
  while (!state.stopped) {
    const itemId = random.pick(items);
    const delta = random.chance(0.8) ? random.integer(25) : -random.integer(5);
    const wish = {
      request: `POST ${urls.catalog}/update/${itemId}`,
      body: { quantity_delta: delta, price: random.integer(5000) / 100 },
      key: random.uuid(),
    };
    const { status, body } = await askForSure(wish, giveUp);
    if (status === 200) {
      testimony.stocked.set(itemId, (testimony.stocked.get(itemId) ?? 0) + delta);
    } else if (status !== 409) {
      testimony.surprises.push(`update of ${itemId}: ${status} ${JSON.stringify(body)}`);
    }
    await sleep(random.integer(60));
  }
}
