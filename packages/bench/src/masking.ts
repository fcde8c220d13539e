import { setTimeout as sleep } from 'node:timers/promises';
import { type Bazar, createBazar } from '@bazar/client';
import type { Service, ServiceName } from '@bazar/shop';
import { startPostgres } from '@bazar/simulation/postgres';
import { Agent, request } from 'undici';
import { becomesReady, clusterBooks } from './cluster.js';
import { BenchFailure, breaches } from './conservation.js';
import { type ClusterContestant, serverSettings, startBazarOverPostgres } from './over-postgres.js';
import { type Event, type Mask, maskOf } from './timeline.js';

export interface MaskingOptions {
  /** How long it is quiet before each kill, and how long the replica is away. */
  readonly quietMs: number;
  readonly awayMs: number;
}

/** What customers saw when one of two was killed; milliseconds from the start of the story. */
export interface MaskingStory {
  readonly victim: ServiceName;
  readonly killedMs: number;
  readonly restartedMs: number;
  /** When the new process said that it can work. */
  readonly readyMs: number;
  /** When it was first seen to have answered a customer; undefined when it was not seen in time. */
  readonly servedMs: number | undefined;
  readonly purchases: Mask;
  readonly reads: Mask;
  readonly events: readonly Event[];
}

const [buyers, readers] = [16, 16];
/** Customers look at what they got before they ask again: nobody measures a full machine here. */
const restMs = 5;
const pollMs = 20;
const servedDeadlineMs = 30_000;

/**
 * Kills (SIGKILL) one of two catalogs, order services and gateways in turn, over PostgreSQL and
 * behind the front, while customers buy and read through `@bazar/client`; starts it again after a
 * while.
 *
 * @throws BenchFailure when a customer saw an error, or a purchase was lost or made twice
 */
export async function killReplicas(
  { quietMs, awayMs }: MaskingOptions,
  say: (sentence: string) => void,
): Promise<MaskingStory[]> {
  const postgres = await startPostgres(serverSettings);
  try {
    const two = { gateway: 2, order: 2, catalog: 2 };
    const shop = await startBazarOverPostgres({ postgres, replicas: two });
    try {
      const front = await shop.cluster.startFront();
      await warmUp(front, quietMs);
      const stories: MaskingStory[] = [];
      let acknowledged = 0;
      const rowsBefore = (await shop.ledger?.rows()) ?? 0;
      for (const victim of ['catalog', 'order', 'gateway'] as const) {
        say(`One of two ${victim === 'order' ? 'order services' : `${victim}s`} is killed.`);
        const story = await killOne({ victim, shop, front, quietMs, awayMs });
        stories.push(story);
        acknowledged += story.events.filter(({ kind }) => kind === 'purchase').length;
      }
      const rowsAfter = (await shop.ledger?.rows()) ?? 0;
      const audit = await shop.ledger?.audit();
      const found = breaches({ acknowledged, rowsBefore, rowsAfter, audit });
      if (found.length > 0) throw new BenchFailure(`After the kills: ${found.join('; ')}.`);
      return stories;
    } finally {
      await shop.stop();
    }
  } finally {
    await postgres.remove();
  }
}

interface KillOptions extends MaskingOptions {
  readonly victim: ServiceName;
  readonly shop: ClusterContestant;
  readonly front: string;
}

async function killOne(options: KillOptions): Promise<MaskingStory> {
  const { victim, shop, front, quietMs, awayMs } = options;
  const [replica] = shop.cluster.of(victim);
  if (replica === undefined) throw new RangeError(`There is no ${victim}.`);
  const crowd = startCrowd(front);
  await sleep(quietMs);
  const killedMs = crowd.nowMs();
  await replica.kill();
  await sleep(awayMs);
  const restartedMs = crowd.nowMs();
  await replica.start();
  const served = firstServed(replica, front).then((was) => (was ? crowd.nowMs() : undefined));
  await becomesReady(replica);
  const readyMs = crowd.nowMs();
  const servedMs = await served;
  await sleep(quietMs);
  const { events, errors } = await crowd.goHome();
  if (errors.length > 0) {
    throw new BenchFailure(
      `When a ${victim} was killed, ${errors.length} customers saw an error: ${errors[0]}.`,
    );
  }
  const between = { killedMs, untilMs: restartedMs };
  const of = (kind: Event['kind']) =>
    maskOf(
      events.filter((one) => one.kind === kind),
      between,
    );
  const [purchases, reads] = [of('purchase'), of('read')];
  return { victim, killedMs, restartedMs, readyMs, servedMs, purchases, reads, events };
}

async function warmUp(front: string, forMs: number): Promise<void> {
  const crowd = startCrowd(front);
  await sleep(forMs);
  await crowd.goHome();
}

/** People who have never heard of replicas: they ask one address, with the client as it is. */
function startCrowd(front: string) {
  const startedMs = performance.now();
  const nowMs = () => performance.now() - startedMs;
  const bazar = createBazar({ baseUrl: front });
  const events: Event[] = [];
  const errors: unknown[] = [];
  const state = { open: true };

  async function askAndAsk(kind: Event['kind'], ask: (bazar: Bazar) => Promise<unknown>) {
    while (state.open) {
      const beganMs = nowMs();
      try {
        await ask(bazar);
        events.push({ kind, beganMs, endedMs: nowMs(), attempts: 1, status: 200 });
      } catch (error) {
        errors.push(error);
      }
      await sleep(restMs);
    }
  }

  async function buy(): Promise<void> {
    const { result } = await bazar.purchase(pickBook());
    if (result !== 'sold') throw new BenchFailure('A book was sold out.');
  }

  const crowd = Promise.all([
    ...Array.from({ length: buyers }, () => askAndAsk('purchase', buy)),
    ...Array.from({ length: readers }, () => askAndAsk('read', () => bazar.info(pickBook()))),
  ]);
  return {
    nowMs,
    async goHome() {
      state.open = false;
      await crowd;
      return { events, errors };
    },
  };
}

function pickBook(): number {
  return 1 + Math.floor(Math.random() * clusterBooks);
}

/** What each service answers when customers ask, among all that it counts. */
const work: Readonly<Record<ServiceName, RegExp>> = {
  catalog: /^bazar_http_requests_total\{route="\/(updates|info\/:item_id)",.*status="200"/m,
  order: /^bazar_http_requests_total\{route="\/purchases",.*status="200"/m,
  gateway: /^bazar_http_requests_total\{route="\/(info|purchase)\/:item_id",.*status="200"/m,
};

/** Waits until a process that has just started counts an answer to a customer. */
async function firstServed({ name, url }: Service, front: string): Promise<boolean> {
  const untilMs = performance.now() + servedDeadlineMs;
  while (performance.now() < untilMs) {
    // Customers keep their connections: only somebody new comes to a gateway that is back.
    if (name === 'gateway') await comeNewly(front);
    const counted = await fetch(`${url}/metrics`).then((answer) => answer.text());
    if (work[name].test(counted)) return true;
    await sleep(pollMs);
  }
  return false;
}

async function comeNewly(front: string): Promise<void> {
  const dispatcher = new Agent({ connections: 1 });
  const answer = await request(`${front}/info/1`, { dispatcher });
  await answer.body.dump();
  await dispatcher.close();
}
