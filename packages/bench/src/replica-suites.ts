import type { Service } from '@bazar/shop';
import { type PostgresServer, startPostgres } from '@bazar/simulation/postgres';
import type { Contestant } from './contestant.js';
import {
  type ClusterContestant,
  serverSettings,
  startBazarOverPostgres,
  startPlainOverPostgres,
} from './over-postgres.js';
import { giveShares } from './share.js';
import { run, type SuiteContext, stopAll, warmUp } from './suite.js';

const manyConnections = 256;
const someConnections = 64;
/** Two of those that are shared out leave as much for everybody else. */
const shareOfCore = 0.25;

/** What the replicas are asked for. */
export const uncached = '/info, asked of catalogs';
export const cached = '/info, kept by gateways';
export const ofQuarterCores = (label: string) => `${label} of a quarter of a core`;

/** One hot book, which all buyers want: in batches, and in a transaction for each purchase. */
export async function hotOverPostgres(context: SuiteContext): Promise<void> {
  await withPostgres(async (postgres) => {
    const running: Contestant[] = [];
    try {
      const replicas = { gateway: 1, order: 2, catalog: 2 };
      running.push(await startPlainOverPostgres({ postgres, replicas }));
      running.push(await startBazarOverPostgres({ postgres, replicas }));
      await warmUp(context, running, ['purchase']);
      const task = {
        suite: 'postgres',
        label: 'one hot book over PostgreSQL',
        kind: 'purchase',
        connections: manyConnections,
        books: 1,
      } as const;
      await run(
        context,
        running.map((contestant) => ({ contestant, task })),
      );
    } finally {
      await stopAll(running);
    }
  });
}

/** What a second catalog adds to reads that no cache answers, and a second gateway to those it does. */
export async function oneAndTwo(context: SuiteContext): Promise<void> {
  await withPostgres(async (postgres) => {
    const shop = await startBazarOverPostgres({
      postgres,
      replicas: { gateway: 2, order: 1, catalog: 2 },
    });
    try {
      for (const [kind, label] of [
        ['catalog', uncached],
        ['gateway', cached],
      ] as const) {
        const services = shop.cluster.of(kind);
        const both = behind(shop, `two ${kind}s`, services);
        const contestants = [behind(shop, `one ${kind}`, services.slice(0, 1)), both];
        await warmUp(context, [both], ['info']);
        const compare = (named: string) =>
          run(
            context,
            contestants.map((contestant) => ({
              contestant,
              task: {
                suite: 'replicas',
                label: named,
                kind: 'info',
                connections: someConnections,
              },
            })),
          );
        await compare(label);
        const shares = giveShares(services, shareOfCore);
        try {
          await compare(ofQuarterCores(label));
        } finally {
          shares.end();
        }
      }
    } finally {
      await shop.stop();
    }
  });
}

/** The same shop, as it is for those who come through some of its services only. */
function behind(shop: ClusterContestant, name: string, services: readonly Service[]): Contestant {
  return { ...shop, name, doors: services.map(({ url }) => url) };
}

async function withPostgres(use: (postgres: PostgresServer) => Promise<void>): Promise<void> {
  const postgres = await startPostgres(serverSettings);
  try {
    await use(postgres);
  } finally {
    await postgres.remove();
  }
}
