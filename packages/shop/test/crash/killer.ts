import { watch } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Random } from '@bazar/simulation';
import type { Service, ServiceName, Shop } from '../../src/index.js';
import { until } from './ask.js';

export interface KillerOptions {
  readonly shop: Shop;
  /** Of the catalog, where its snapshots show. */
  readonly dataDir: string;
  readonly random: Random;
  /** How many processes to kill, at least. */
  readonly kills: number;
  /** How many purchases were answered until now: moments are told by work done, not by a clock. */
  readonly answered: () => number;
}

const names: readonly ServiceName[] = ['catalog', 'order', 'gateway'];
const ways = ['one', 'two', 'two', 'start', 'snapshot'] as const;

/** `amid` are kills that left a snapshot half done. */
export type KillCounts = Record<ServiceName | (typeof ways)[number] | 'amid', number>;

/**
 * Kills services at random moments, and starts them again: one, two at once, one that is just
 * starting, and the catalog while it writes a snapshot. All run when it is done.
 *
 * @returns how many processes were killed, and how often in which way
 * @throws StartError when a service does not start although nobody killed it
 */
export async function killAndRestart(options: KillerOptions): Promise<KillCounts> {
  const { shop, dataDir, random, kills, answered } = options;
  const processes = { catalog: 0, order: 0, gateway: 0 };
  const counts = { ...processes, one: 0, two: 0, start: 0, snapshot: 0, amid: 0 };

  async function kill(name: ServiceName): Promise<void> {
    counts[name] += 1;
    await shop.service(name).kill();
  }

  async function someWork(): Promise<void> {
    const goal = answered() + random.integer(120);
    await until(`${goal} purchases are answered`, () => answered() >= goal);
    await sleep(random.integer(10));
  }

  const kinds: Record<(typeof ways)[number], () => Promise<unknown>> = {
    async one() {
      await someWork();
      await kill(random.pick(names));
    },
    async two() {
      await someWork();
      await Promise.all(random.shuffle(names).slice(0, 2).map(kill));
    },
    async start() {
      const name = random.pick(names);
      await kill(name);
      const started = startAgain(shop.service(name)).catch(() => undefined);
      await sleep(random.integer(400));
      await kill(name);
      await started;
    },
    async snapshot() {
      await untilSnapshot(dataDir);
      await kill('catalog');
      if (isSnapshotHalfDone(await readdir(dataDir))) counts.amid += 1;
    },
  };

  while (counts.catalog + counts.order + counts.gateway < kills) {
    const way = random.pick(ways);
    counts[way] += 1;
    await kinds[way]();
    await Promise.all(names.map((name) => startAgain(shop.service(name))));
  }
  return counts;
}

const maxBindAttempts = 100;

/**
 * Starts what does not run. While a service was down, a connection to somewhere else may have been
 * given its port, or one of its callers may have reached nobody but itself there; both pass.
 */
export async function startAgain(service: Service): Promise<void> {
  for (let attempt = 1; !service.running; attempt += 1) {
    try {
      await service.start();
    } catch (error) {
      const isTaken = error instanceof Error && error.message.includes('is listening there');
      if (!isTaken || attempt === maxBindAttempts) throw error;
      await sleep(100);
    }
  }
}

/** True while there is a next data file to be put in place, or an image too many. */
function isSnapshotHalfDone(names: readonly string[]): boolean {
  const images = names.filter((name) => name.startsWith('catalog_image-'));
  return images.length > 1 || names.some((name) => /\.(next|replaced)$/.test(name));
}

/** Resolves when the catalog begins to write an image, or puts the next data file in place. */
function untilSnapshot(folder: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const watcher = watch(folder, (_event, file) => {
      if (!/^catalog_image|\.next$/.test(file ?? '')) return;
      watcher.close();
      resolve();
    });
    watcher.once('error', reject);
  });
}
