import { setTimeout as sleep } from 'node:timers/promises';
import type { Random } from '@bazar/simulation';
import type { ServiceName } from '../../src/index.js';
import { ask, askForSure, field } from './../crash/ask.js';

/** Looks for reads that are older than what was acknowledged before they began. */
export interface Watch {
  readonly counts: { writes: number; reads: number; hits: number; audits: number };
  /** One sentence each. */
  readonly stale: readonly string[];
  /** Audits in which log and stock contradict each other, whatever is pending. */
  readonly unbalanced: readonly unknown[];
  stop(): Promise<void>;
}

export interface WatchOptions {
  readonly urls: Readonly<Record<ServiceName, string>>;
  readonly random: Random;
  /** Books that nobody else changes; their prices count the writes. */
  readonly books: readonly number[];
  readonly readers: number;
  readonly giveUp: AbortSignal;
}

/** Raises prices, one after the other, reads them meanwhile, and audits, until it is stopped. */
export function startWatch({ urls, random, books, readers, giveUp }: WatchOptions): Watch {
  const counts = { writes: 0, reads: 0, hits: 0, audits: 0 };
  const stale: string[] = [];
  const unbalanced: unknown[] = [];
  const acknowledged = new Map<number, number>(books.map((id) => [id, 0]));
  let stopped = false;

  async function write(id: number, own: Random): Promise<void> {
    for (let price = 1; !stopped; price += 1) {
      const request = `POST ${urls.catalog}/update/${id}`;
      const { status } = await askForSure({ request, key: own.uuid(), body: { price } }, giveUp);
      if (status !== 200) throw new Error(`the price of book ${id}: status ${status}`);
      acknowledged.set(id, price);
      counts.writes += 1;
      await sleep(own.integer(30));
    }
  }

  async function read(own: Random): Promise<void> {
    while (!stopped) {
      const id = own.pick(books);
      const floor = acknowledged.get(id) ?? 0;
      const answer = await look(`GET ${urls.gateway}/info/${id}`);
      if (answer === undefined) {
        await sleep(20);
        continue;
      }
      counts.reads += 1;
      const status = answer.headers.get('cache-status') ?? '';
      if (status.includes('hit')) counts.hits += 1;
      const price = Number(field(answer.body, 'price'));
      if (price < floor) stale.push(`book ${id}: price ${price} after ${floor} (${status})`);
      await sleep(own.integer(4));
    }
  }

  /** Asks once; undefined where there is no answer, or none that says anything. */
  async function look(request: string) {
    const answer = await ask({ request, signal: AbortSignal.timeout(3000) }).catch(() => undefined);
    return answer?.status === 200 ? answer : undefined;
  }

  async function audit(own: Random): Promise<void> {
    while (!stopped) {
      const answer = await look(`GET ${urls.order}/audit`);
      if (answer !== undefined) counts.audits += 1;
      if (answer !== undefined && field(answer.body, 'balanced') !== true) {
        unbalanced.push(answer.body);
      }
      await sleep(own.integer(300));
    }
  }

  const work = Promise.all([
    audit(random.fork('auditor')),
    ...books.map((id) => write(id, random.fork(`writer ${id}`))),
    ...Array.from({ length: readers }, (_, index) => read(random.fork(`reader ${index}`))),
  ]);
  work.catch(() => undefined);
  return {
    counts,
    stale,
    unbalanced,
    async stop() {
      stopped = true;
      await work;
    },
  };
}
