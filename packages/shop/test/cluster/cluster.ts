import { randomUUID } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import type { Random } from '@bazar/simulation';
import { type PostgresServer, startPostgres } from '@bazar/simulation/postgres';
import { builtMain } from '../../src/launch.js';
import { createService, type Service, type ServiceName } from '../../src/service.js';
import { createWires, type Wire } from './wires.js';

/** Several of each service over one PostgreSQL server, as processes of their own. */
export interface Cluster {
  readonly postgres: PostgresServer;
  readonly services: readonly Service[];
  /** Between the services, and from these to the database, where they were asked for. */
  readonly wires: readonly Wire[];
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
  /** Whether services reach each other over lines that can be cut. */
  readonly isWired?: boolean;
  /** The scripts to run, as paths; the built apps by default. */
  readonly mains?: Partial<Record<ServiceName, string>>;
}

const deadlines = { startDeadlineMs: 60_000, stopDeadlineMs: 20_000 };

/** A service of a cluster. */
interface Member {
  /** `catalog-0` */
  readonly name: string;
  readonly service: Service;
  /** Where it listens; until it does, where nobody listens. */
  url(): string;
  start(): Promise<void>;
}

const nowhere = 'http://127.0.0.1:1';

export async function openCluster(options: ClusterOptions): Promise<Cluster> {
  const { random, replicas = 2, onLine = () => {}, isWired = false, mains = {} } = options;
  const postgres = await startPostgres();
  const databases = { catalog: await postgres.newDatabase(), order: await postgres.newDatabase() };
  const tokens = { SERVICE_TOKEN: randomUUID(), LOG_LEVEL: 'warn' };
  const wires = createWires();

  /** The address at which these callers reach somebody. */
  async function lead(callers: readonly string[], called: string, url: () => string) {
    return isWired ? wires.lay(callers, called, url) : url();
  }

  async function through(caller: string, called: readonly Member[]): Promise<string> {
    return (await Promise.all(called.map(({ name, url }) => lead([caller], name, url)))).join(',');
  }

  async function throughTo(caller: string, database: string): Promise<string> {
    const url = new URL(database);
    url.port = new URL(await lead([caller], 'database', () => database)).port;
    return url.href;
  }

  const settings: Record<ServiceName, (member: Member) => Promise<NodeJS.ProcessEnv>> = {
    catalog: async ({ name }) => ({ DATABASE_URL: await throughTo(name, databases.catalog) }),
    order: async ({ name }) => ({
      DATABASE_URL: await throughTo(name, databases.order),
      CATALOG_URLS: await through(name, groups.catalog),
    }),
    gateway: async ({ name, url }) => ({
      CATALOG_URLS: await through(name, groups.catalog),
      ORDER_URLS: await through(name, groups.order),
      // All catalogs know it by the same address.
      ...(isWired && {
        PUBLIC_URL: await lead(
          groups.catalog.map((one) => one.name),
          name,
          url,
        ),
      }),
    }),
  };

  function open(kind: ServiceName, index: number): Member {
    const name = `${kind}-${index}`;
    let own: NodeJS.ProcessEnv | undefined;
    let isKnown = false;
    const service = createService({
      name: kind,
      main: mains[kind] ?? builtMain(kind),
      port: 0,
      env: () => ({ ...process.env, ...tokens, ...own }),
      onLine: (line) => onLine(name, line),
      onDeath: (exit) => onLine(name, `ended: ${JSON.stringify(exit)}`),
      ...deadlines,
    });
    const member: Member = {
      name,
      service,
      url: () => (isKnown ? service.url : nowhere),
      async start() {
        own = await settings[kind](member);
        await service.start();
        isKnown = true;
      },
    };
    return member;
  }
  const group = (name: ServiceName) =>
    Array.from({ length: replicas }, (_, index) => open(name, index));
  const groups = { catalog: group('catalog'), order: group('order'), gateway: group('gateway') };
  const all = [...groups.catalog, ...groups.order, ...groups.gateway];
  const front = createService({
    name: 'front',
    main: fileURLToPath(import.meta.resolve('@bazar/front/main')),
    port: 0,
    env: () => ({
      ...process.env,
      ...tokens,
      GATEWAY_URLS: groups.gateway.map(({ url }) => url()).join(','),
    }),
    onLine: (line) => onLine('front', line),
    onDeath: (exit) => onLine('front', `ended: ${JSON.stringify(exit)}`),
    ...deadlines,
  });

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
    await wires.close();
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
    wires: wires.all,
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
