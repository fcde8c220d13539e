import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ServiceName } from '@bazar/shop';
import { type Client, connect } from './client.js';
import { BenchFailure, breaches } from './conservation.js';
import { startBazar } from './contestant.js';
import type { Event } from './timeline.js';

export interface CrashOptions {
  readonly victim: ServiceName;
  readonly folder: string;
  /** How long it is quiet before the kill and after the recovery. */
  readonly quietMs: number;
}

/** What buyers and readers saw of a crash; milliseconds from the start of the story. */
export interface CrashStory {
  readonly victim: ServiceName;
  readonly killedMs: number;
  /** When all services said that they can work again. */
  readonly backMs: number;
  /** When the first purchase that was begun after the kill was answered. */
  readonly soldAgainMs: number;
  readonly events: readonly Event[];
}

const books = 4;
const [buyers, readers] = [16, 16];
/** Whoever was refused tries again soon, but not at once. */
const refusedPauseMs = 5;

/**
 * Kills a service with SIGKILL while people buy and read, and starts it again at once, as a
 * supervisor does. Buyers ask again under their keys until they know; readers ask once.
 *
 * @throws BenchFailure when a purchase was lost or made twice
 */
export async function crash({ victim, folder, quietMs }: CrashOptions): Promise<CrashStory> {
  const shop = await startBazar({ folder, books });
  const client = connect(shop.url, buyers + readers);
  try {
    const rowsBefore = (await shop.ledger?.rows()) ?? 0;
    const crowd = startCrowd(client);
    await sleep(quietMs);
    const killedMs = crowd.nowMs();
    await shop.shop.service(victim).kill();
    await shop.shop.start();
    const backMs = crowd.nowMs();
    await sleep(quietMs);
    const events = await crowd.goHome();
    const sales = events.filter(({ kind, status }) => kind === 'purchase' && status === 200);
    const rowsAfter = (await shop.ledger?.rows()) ?? 0;
    const audit = await shop.ledger?.audit();
    const acknowledged = sales.length;
    const found = breaches({ acknowledged, rowsBefore, rowsAfter, audit });
    if (found.length > 0) throw new BenchFailure(`After the crash: ${found.join('; ')}.`);
    const afterwards = sales.filter(({ beganMs }) => beganMs >= killedMs);
    const soldAgainMs = Math.min(...afterwards.map(({ endedMs }) => endedMs));
    return { victim, killedMs, backMs, soldAgainMs, events };
  } finally {
    await client.close();
    await shop.stop();
  }
}

function startCrowd(client: Client) {
  const startedMs = performance.now();
  const nowMs = () => performance.now() - startedMs;
  const events: Event[] = [];
  const state = { open: true };

  async function buyAndBuy(): Promise<void> {
    while (state.open) {
      const path = `/purchase/${pickBook()}`;
      const answer = await client.askForSure({ method: 'POST', path, key: randomUUID() });
      if (answer.status !== 200) throw new BenchFailure(`${path}: answered ${answer.status}.`);
      const { beganMs, endedMs, attempts, status } = answer;
      events.push({
        kind: 'purchase',
        beganMs: beganMs - startedMs,
        endedMs: endedMs - startedMs,
        attempts,
        status,
      });
    }
  }

  async function readAndRead(): Promise<void> {
    while (state.open) {
      const beganMs = nowMs();
      const path = `/info/${pickBook()}`;
      const answer = await client.ask({ method: 'GET', path }).catch(() => undefined);
      const status = answer?.status ?? 0;
      events.push({ kind: 'read', beganMs, endedMs: nowMs(), attempts: 1, status });
      if (status !== 200) await sleep(refusedPauseMs);
    }
  }

  const crowd = Promise.all([
    ...Array.from({ length: buyers }, buyAndBuy),
    ...Array.from({ length: readers }, readAndRead),
  ]);
  // Whoever fails is heard of when all go home.
  crowd.catch(() => undefined);

  return {
    nowMs,
    async goHome(): Promise<readonly Event[]> {
      state.open = false;
      await crowd;
      return events;
    },
  };
}

function pickBook(): number {
  return 1 + Math.floor(Math.random() * books);
}
