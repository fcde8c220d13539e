import { randomUUID } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import type { Random } from '@bazar/simulation';
import { type PostgresServer, startPostgres } from '@bazar/simulation/postgres';
import { builtMain } from '../../src/launch.js';
import { createService, type Service, type ServiceName } from '../../src/service.js';

/** Several of each service over one PostgreSQL server, as processes of their own. */
export interface Cluster {
  readonly postgres: PostgresServer;
  readonly services: readonly Service[];
  of(name: ServiceName): readonly Service[];
  /** Where the front listens, which stands before all gateways. */
  readonly front: string;
  /** One of each kind, another one each time it is looked at. */
  readonly urls: Readonly<Record<ServiceName, string>>;
  /** Resolves when every service that runs says that it can work. */
  ready(): Promise<void>;
  remove(): Promise<void>;
}

export interface ClusterOptions {
  readonly random: Random;
  readonly replicas?: number;
  /** What a service writes. */
  readonly onLine?: (service: string, line: string) => void;
  readonly env?: NodeJS.ProcessEnv;
}

const deadlines = { startDeadlineMs: 60_000, stopDeadlineMs: 20_000 };

export async function openCluster(options: ClusterOptions): Promise<Cluster> {
  const { random, replicas = 2, onLine = () => {}, env = {} } = options;
  const postgres = await startPostgres();
  const databases = { catalog: await postgres.newDatabase(), order: await postgres.newDatabase() };
  const tokens = { SERVICE_TOKEN: randomUUID(), LOG_LEVEL: 'warn' };
  const urlsOf = (name: ServiceName) =>
    groups[name]
      .filter(({ wasStarted }) => wasStarted())
      .map(({ service }) => service.url)
      .join(',');
  const settings: Record<ServiceName, () => NodeJS.ProcessEnv> = {
    catalog: () => ({ DATABASE_URL: databases.catalog }),
    order: () => ({ DATABASE_URL: databases.order, CATALOG_URLS: urlsOf('catalog') }),
    gateway: () => ({ CATALOG_URLS: urlsOf('catalog'), ORDER_URLS: urlsOf('order') }),
  };

  function open(name: ServiceName, index: number) {
    let started = false;
    const service = createService({
      name,
      main: builtMain(name),
      port: 0,
      env: () => ({ ...process.env, ...tokens, ...env, ...settings[name]() }),
      onLine: (line) => onLine(`${name}-${index}`, line),
      onDeath: (exit) => onLine(`${name}-${index}`, `ended: ${JSON.stringify(exit)}`),
      ...deadlines,
    });
    return {
      service,
      wasStarted: () => started,
      async start() {
        await service.start();
        started = true;
      },
    };
  }
  const front = createService({
    name: 'front',
    main: fileURLToPath(import.meta.resolve('@bazar/front/main')),
    port: 0,
    env: () => ({ ...process.env, ...tokens, GATEWAY_URLS: urlsOf('gateway') }),
    onLine: (line) => onLine('front', line),
    onDeath: (exit) => onLine('front', `ended: ${JSON.stringify(exit)}`),
    ...deadlines,
  });
  const group = (name: ServiceName) =>
    Array.from({ length: replicas }, (_, index) => open(name, index));
  const groups = { catalog: group('catalog'), order: group('order'), gateway: group('gateway') };
  const all = [...groups.catalog, ...groups.order, ...groups.gateway];

  async function ready(): Promise<void> {
    for (const { service } of all) {
      for (let round = 0; service.running; round += 1) {
        const answer = await fetch(`${service.url}/health/ready`).catch(() => undefined);
        if (answer?.ok) break;
        if (round === 600) throw new Error(`${service.name} is not ready: ${await answer?.text()}`);
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }
  }

  async function remove(): Promise<void> {
    const running = [front, ...all.map(({ service }) => service)].filter((one) => one.running);
    await Promise.all(running.map((one) => one.kill()));
    await postgres.remove();
  }

  try {
    // Two of a kind start at once, on an empty database.
    for (const members of Object.values(groups)) {
      await Promise.all(members.map((member) => member.start()));
    }
    await ready();
    await front.start();
  } catch (error) {
    await remove();
    throw error;
  }
  const pick = (name: ServiceName) => random.pick(groups[name]).service.url;
  return {
    postgres,
    services: all.map(({ service }) => service),
    of: (name) => groups[name].map(({ service }) => service),
    front: front.url,
    urls: {
      get catalog() {
        return pick('catalog');
      },
      get order() {
        return pick('order');
      },
      get gateway() {
        return pick('gateway');
      },
    },
    ready,
    remove,
  };
}
