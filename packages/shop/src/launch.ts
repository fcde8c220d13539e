import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { createService, type Exit, type Service, type ServiceName, StartError } from './service.js';

/** Who needs whom decides the order: each starts after what it calls, and stops before it. */
export const startOrder = ['catalog', 'order', 'gateway'] as const satisfies ServiceName[];

export interface ShopOptions {
  /** The folder of the CSV files. */
  readonly dataDir: string;
  /** Folders of their own, for services that are not to keep their files in `dataDir`. */
  readonly dataDirs?: Partial<Record<ServiceName, string>>;
  /** Where to listen; 0, the default, is any free port. */
  readonly ports?: Partial<Record<ServiceName, number>>;
  /** Variables for all three services, on top of this process's own. */
  readonly env?: NodeJS.ProcessEnv;
  /** PostgreSQL databases, for services that are to keep their rows there instead of in files. */
  readonly databases?: Partial<Record<ServiceName, string>>;
  /** Gets every line that a service writes, to stdout or stderr. */
  readonly onLine?: (service: ServiceName, line: string) => void;
  /** Called when a service ends although nobody asked it to. */
  readonly onDeath?: (service: ServiceName, exit: Exit) => void;
  /** The scripts to run, as paths; the built apps by default. */
  readonly mains?: Partial<Record<ServiceName, string>>;
  /** How long a service may take until it listens: it may have a long journal to read back. */
  readonly startDeadlineMs?: number;
  /** After how long a service that was asked to stop is killed; more than its own grace. */
  readonly stopDeadlineMs?: number;
}

/** Three processes that are one shop. */
export interface Shop {
  /** Where the services listen. */
  readonly urls: Readonly<Record<ServiceName, string>>;
  service(name: ServiceName): Service;
  /**
   * Starts what does not run yet: catalog, order, gateway; resolves when all are ready.
   *
   * @throws StartError in a sentence; what was started before is left running, for `stop`
   */
  start(): Promise<void>;
  /**
   * Resolves when all three services say that they can work.
   *
   * @param withinMs milliseconds to wait for that; by default the start deadline
   * @throws StartError with the last answer when they do not in time
   */
  ready(withinMs?: number): Promise<void>;
  /** Has all three services log at `debug`, and the next time at their configured level again. */
  switchLogs(): void;
  /**
   * Stops gateway, order, catalog, one after the other; kills whichever misses the deadline.
   *
   * @returns how those ended that were running
   */
  stop(): Promise<Map<ServiceName, Exit>>;
  /** Kills all three at once; resolves when they are gone. */
  kill(): Promise<void>;
}

/** Makes a shop that is not started yet, so that it can be stopped while it starts. */
export function createShop(options: ShopOptions): Shop {
  const { dataDir, onLine, onDeath, startDeadlineMs = 120_000, stopDeadlineMs = 20_000 } = options;
  let stopping = false;

  const neighbours: Record<ServiceName, () => NodeJS.ProcessEnv> = {
    catalog: () => ({}),
    order: () => ({ CATALOG_URLS: services.catalog.url }),
    gateway: () => ({ CATALOG_URLS: services.catalog.url, ORDER_URLS: services.order.url }),
  };
  const serviceOf = (name: ServiceName): Service =>
    createService({
      name,
      main: options.mains?.[name] ?? builtMain(name),
      nodeOptions: nodeOptions[name],
      port: options.ports?.[name] ?? 0,
      env: () => ({
        ...process.env,
        ...options.env,
        DATA_DIR: options.dataDirs?.[name] ?? dataDir,
        ...(options.databases?.[name] && { DATABASE_URL: options.databases[name] }),
        ...neighbours[name](),
      }),
      startDeadlineMs,
      stopDeadlineMs,
      onLine: (line) => onLine?.(name, line),
      onDeath: (exit) => onDeath?.(name, exit),
    });
  const services: Record<ServiceName, Service> = {
    catalog: serviceOf('catalog'),
    order: serviceOf('order'),
    gateway: serviceOf('gateway'),
  };

  async function ready(withinMs = startDeadlineMs): Promise<void> {
    const deadline = AbortSignal.timeout(withinMs);
    // In order, as none is ready before those it calls are: asking it earlier fills its log.
    for (const name of startOrder) await becomesReady(services[name], deadline);
  }

  return {
    get urls() {
      const { gateway, catalog, order } = services;
      return { gateway: gateway.url, catalog: catalog.url, order: order.url };
    },
    service: (name) => services[name],
    async start() {
      stopping = false;
      for (const name of startOrder) {
        if (stopping) throw new StartError('The shop was stopped while it started.');
        if (!services[name].running) await services[name].start();
      }
      await ready();
    },
    ready,
    switchLogs() {
      for (const name of startOrder) services[name].switchLog();
    },
    async stop() {
      stopping = true;
      const exits = new Map<ServiceName, Exit>();
      for (const service of startOrder.toReversed().map((name) => services[name])) {
        if (!service.running) continue;
        await service.stop();
        exits.set(service.name, await service.exited);
      }
      return exits;
    },
    async kill() {
      stopping = true;
      const running = startOrder.map((name) => services[name]).filter((one) => one.running);
      await Promise.all(running.map((one) => one.kill()));
    },
  };
}

/**
 * Starts catalog, order and gateway as processes of their own, and waits until they can work. They
 * end with this process, however it ends.
 *
 * @throws StartError, in a sentence, after stopping what was started before
 */
export async function launchShop(options: ShopOptions): Promise<Shop> {
  const shop = createShop(options);
  try {
    await shop.start();
  } catch (error) {
    await shop.stop();
    throw error;
  }
  return shop;
}

/**
 * The gateway makes many objects that live for one round trip. With room for more of them there are
 * fewer collections, and most of them find nothing to copy: a tenth of its work.
 */
const nodeOptions: Readonly<Record<ServiceName, readonly string[]>> = {
  gateway: ['--max-semi-space-size=32'],
  catalog: [],
  order: [],
};

/** The script of a service as it was built: a path. */
export function builtMain(name: ServiceName): string {
  return fileURLToPath(import.meta.resolve(`@bazar/${name}/main`));
}

const pollMs = 50;
/** Longer than a gateway asks the order service, so that it can say itself what it lacks. */
const answerDeadlineMs = 4000;

async function becomesReady({ name, url, exited }: Service, deadline: AbortSignal) {
  let ended = false;
  exited.then(() => {
    ended = true;
  });
  for (;;) {
    const complaint = await complaintOf(url);
    if (complaint === undefined) return;
    if (ended) throw new StartError(`The ${name} ended before it was ready.`);
    if (deadline.aborted) throw new StartError(`The ${name} is not ready: ${complaint}`);
    await sleep(pollMs);
  }
}

/**
 * Why a service is not ready, in its own words; undefined when it is, or when only its disk is full:
 * then everybody can read, and buying goes on once there is room.
 */
async function complaintOf(url: string): Promise<string | undefined> {
  try {
    const signal = AbortSignal.timeout(answerDeadlineMs);
    const response = await fetch(`${url}/health/ready`, { signal });
    const body = await response.text();
    return response.ok || isFull(body) ? undefined : body;
  } catch (error) {
    return String(error);
  }
}

function isFull(problem: string): boolean {
  try {
    return JSON.parse(problem).code === 'storage_full';
  } catch {
    return false;
  }
}
