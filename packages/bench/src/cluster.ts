import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { builtMain, createService, type Service, type ServiceName, StartError } from '@bazar/shop';
import type { PostgresServer } from '@bazar/simulation/postgres';
import { stock } from './books.js';

/** So many of each service over one PostgreSQL server, as processes of their own. */
export interface Cluster {
  /** Where the rows are. */
  readonly databases: Readonly<Record<'catalog' | 'order', string>>;
  of(name: ServiceName): readonly Service[];
  /** Starts the front, one port before all gateways. @returns where it listens */
  startFront(): Promise<string>;
  stop(): Promise<void>;
}

export interface ClusterOptions {
  readonly postgres: PostgresServer;
  readonly replicas: Readonly<Record<ServiceName, number>>;
}

/** The shop begins with the books of the report. */
export const clusterBooks = 4;
const deadlines = { startDeadlineMs: 60_000, stopDeadlineMs: 20_000 };
const pollMs = 20;

/** Bazar as shipped, with a database each for the catalogs and the order services. */
export async function openCluster({ postgres, replicas }: ClusterOptions): Promise<Cluster> {
  const databases = { catalog: await postgres.newDatabase(), order: await postgres.newDatabase() };
  const urlsOf = (name: ServiceName) => groups[name].map(({ url }) => url).join(',');
  const settings: Record<ServiceName, () => NodeJS.ProcessEnv> = {
    catalog: () => ({ DATABASE_URL: databases.catalog }),
    order: () => ({ DATABASE_URL: databases.order, CATALOG_URLS: urlsOf('catalog') }),
    gateway: () => ({ CATALOG_URLS: urlsOf('catalog'), ORDER_URLS: urlsOf('order') }),
  };
  const group = (name: ServiceName) =>
    Array.from({ length: replicas[name] }, (_, index) =>
      createService({
        name,
        main: builtMain(name),
        port: 0,
        env: () => ({ ...process.env, ...settings[name]() }),
        ...deadlines,
        ...heard(`${name} ${index + 1}`),
      }),
    );
  const groups = { catalog: group('catalog'), order: group('order'), gateway: group('gateway') };
  const front = createService({
    name: 'front',
    main: fileURLToPath(import.meta.resolve('@bazar/front/main')),
    port: 0,
    env: () => ({ ...process.env, GATEWAY_URLS: urlsOf('gateway') }),
    ...deadlines,
    ...heard('front'),
  });

  async function stop(): Promise<void> {
    const all = [front, ...groups.gateway, ...groups.order, ...groups.catalog];
    for (const service of all) if (service.running) await service.stop();
  }

  try {
    for (const members of [groups.catalog, groups.order, groups.gateway]) {
      await Promise.all(members.map((member) => member.start()));
      for (const member of members) await becomesReady(member);
    }
    await stockUp(groups.catalog[0]);
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    databases,
    of: (name) => groups[name],
    async startFront() {
      await front.start();
      return front.url;
    },
    stop,
  };
}

/** Only what a service says of its troubles is worth reading. */
function heard(name: string) {
  return {
    onLine(line: string) {
      if (/"level":(50|60)\b/.test(line)) process.stderr.write(`${name}: ${line}\n`);
    },
    onDeath: () => process.stderr.write(`${name} died.\n`),
  };
}

/**
 * Resolves when a service says that it can work.
 *
 * @throws StartError with its last words when it does not in time
 */
export async function becomesReady({ name, url }: Service): Promise<void> {
  const untilMs = performance.now() + deadlines.startDeadlineMs;
  for (;;) {
    const answer = await fetch(`${url}/health/ready`).catch((error: unknown) => String(error));
    const words = typeof answer === 'string' ? answer : await answer.text();
    if (typeof answer !== 'string' && answer.ok) return;
    if (performance.now() > untilMs) throw new StartError(`The ${name} is not ready: ${words}`);
    await sleep(pollMs);
  }
}

/** More copies than any run can sell. */
async function stockUp(catalog: Service | undefined): Promise<void> {
  if (catalog === undefined) return;
  for (let book = 1; book <= clusterBooks; book += 1) {
    const answer = await fetch(`${catalog.url}/update/${book}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ quantity: stock }),
    });
    const words = await answer.text();
    if (!answer.ok) throw new StartError(`Book ${book} could not be stocked: ${words}`);
  }
}
