import { createReadStream, existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { createService, launchShop, type Shop } from '@bazar/shop';
import { Type } from '@sinclair/typebox';
import { Value } from '@sinclair/typebox/value';
import { topicOf, writeBooks } from './books.js';

/** One of those that are measured side by side. */
export interface Contestant {
  readonly name: string;
  /** Its front door. */
  readonly url: string;
  /** All its front doors, where it has several. */
  readonly doors?: readonly string[];
  readonly books: number;
  /** The present process ids, by the names of the processes. */
  readonly pids: () => Readonly<Record<string, number>>;
  /** The process that its database began with. */
  readonly databasePid?: number;
  /** How it keeps account of what it sold; the floor sells nothing. */
  readonly ledger?: {
    /** Orders in the log, counted where it is kept. */
    readonly rows: () => Promise<number>;
    /** What `GET /audit` answers once nothing is pending, or after some seconds. */
    readonly audit: () => Promise<unknown>;
  };
  readonly stop: () => Promise<void>;
}

export interface ShopContestant extends Contestant {
  readonly shop: Shop;
  readonly dataDir: string;
}

const startDeadlineMs = 120_000;
const stopDeadlineMs = 20_000;

/** A script of this package as a process that listens and says so. */
export async function startScript(name: string, script: string, env: NodeJS.ProcessEnv = {}) {
  const service = createService({
    name,
    main: fileURLToPath(new URL(`../dist/${script}.js`, import.meta.url)),
    port: 0,
    env: () => ({ ...process.env, ...env }),
    startDeadlineMs,
    stopDeadlineMs,
    onLine: (line) => process.stderr.write(`${name}: ${line}\n`),
    onDeath: () => process.stderr.write(`${name} died.\n`),
  });
  await service.start();
  return service;
}

/** A bare `node:http` server whose answers are as long as those of another contestant. */
export async function startFloor(like: Contestant): Promise<Contestant> {
  const lengths = await answerLengths(like);
  const pairs = Object.entries(lengths).map(([kind, length]) => `${kind}=${length}`);
  const service = await startScript('floor', 'floor', { LENGTHS: pairs.join(',') });
  return {
    name: 'floor',
    url: service.url,
    books: like.books,
    pids: () => ({ floor: service.pid }),
    stop: async () => {
      await service.stop();
    },
  };
}

async function answerLengths({ url, books }: Contestant): Promise<Record<string, number>> {
  const topic = encodeURIComponent(topicOf(1, books));
  const length = async (path: string, method = 'GET') =>
    (await (await fetch(`${url}${path}`, { method })).arrayBuffer()).byteLength;
  return {
    info: await length('/info/1'),
    search: await length(`/search/${topic}`),
    purchase: await length('/purchase/1', 'POST'),
  };
}

/** Gateway, order service and catalog as a good developer writes them without batching. */
export async function startPlainChain(folder: string, books: number): Promise<Contestant> {
  await mkdir(folder, { recursive: true });
  await writeBooks(join(folder, 'catalog_data.csv'), books);
  const catalog = await startScript('plain catalog', 'plain/catalog', { DATA_DIR: folder });
  const order = await startScript('plain order', 'plain/order', {
    DATA_DIR: folder,
    CATALOG_URLS: catalog.url,
  });
  const gateway = await startScript('plain gateway', 'plain/gateway', {
    CATALOG_URLS: catalog.url,
    ORDER_URLS: order.url,
  });
  return {
    name: 'plain chain',
    url: gateway.url,
    books,
    pids: () => ({ gateway: gateway.pid, catalog: catalog.pid, order: order.pid }),
    ledger: ledgerOf(order.url, () => countLines(join(folder, 'order_log.csv'))),
    stop: async () => {
      for (const service of [gateway, order, catalog]) await service.stop();
    },
  };
}

export interface BazarOptions {
  readonly folder: string;
  readonly books: number;
  readonly name?: string;
  readonly env?: NodeJS.ProcessEnv;
}

/** Bazar as shipped, with nothing switched off. */
export async function startBazar(options: BazarOptions): Promise<ShopContestant> {
  const { folder, books, name = 'Bazar', env } = options;
  await mkdir(folder, { recursive: true });
  const table = join(folder, 'catalog_data.csv');
  if (!existsSync(table)) await writeBooks(table, books);
  const shop = await launchShop({ dataDir: folder, ...(env && { env }) });
  return {
    name,
    url: shop.urls.gateway,
    books,
    shop,
    dataDir: folder,
    pids: () => ({
      gateway: shop.service('gateway').pid,
      catalog: shop.service('catalog').pid,
      order: shop.service('order').pid,
    }),
    ledger: ledgerOf(shop.urls.order, async () => {
      const header = 1;
      return Math.max(0, (await countLines(join(folder, 'order_log.csv'))) - header);
    }),
    stop: async () => {
      await shop.stop();
    },
  };
}

const Pending = Type.Object({ pending: Type.Integer() });
const auditAttempts = 20;
const auditPauseMs = 250;

export function ledgerOf(orderUrl: string, rows: () => Promise<number>) {
  return {
    rows,
    async audit() {
      for (let attempt = 1; ; attempt += 1) {
        const answer = await fetch(`${orderUrl}/audit`);
        const audit: unknown = await answer.json();
        const quiet = Value.Check(Pending, audit) && audit.pending === 0;
        if (quiet || attempt === auditAttempts) return audit;
        await sleep(auditPauseMs);
      }
    },
  };
}

const newline = 0x0a;

/** The lines of a file; none when there is no such file. */
async function countLines(path: string): Promise<number> {
  if (!existsSync(path)) return 0;
  let lines = 0;
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) {
    if (!Buffer.isBuffer(chunk)) continue;
    for (let at = chunk.indexOf(newline); at !== -1; at = chunk.indexOf(newline, at + 1)) {
      lines += 1;
    }
  }
  return lines;
}
