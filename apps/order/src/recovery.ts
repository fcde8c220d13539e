import { Failure } from '@bazar/contracts';
import type { After } from '@bazar/contracts/internal';
import type { OrderStore } from './store.js';

/** The catalog's feed: the sales after a number, by name only. */
export interface Feed {
  readonly catalog_id: string;
  readonly first_sale: number;
  readonly last_sale: number;
  readonly operations: readonly { sale: number; operation_id: string; item_id: number }[];
}

/** Reads the feed; waits up to `waitMs` for a sale after the number, or until it is aborted. */
export type ReadFeed = (
  after: number,
  limit: number,
  waitMs: number,
  signal?: AbortSignal,
) => Promise<Feed>;

export interface RecoveryEffects {
  readonly store: OrderStore;
  readonly readFeed: ReadFeed;
  /** Submits a sale again and logs it after the catalog's answer. */
  readonly recover: (orderId: string, itemId: number) => Promise<void>;
  readonly isInFlight: (orderId: string) => boolean;
  /**
   * How long a sale may be lacking before it is taken for lost: as long as it is in nobody's hands
   * here, but may be in another replica's. 0 where there are no others.
   */
  readonly patienceMs?: number;
  readonly after: After;
  /** Milliseconds on a clock that only goes forward. */
  readonly now?: () => number;
  readonly log: (level: 'info' | 'warn', sentence: string, cause?: unknown) => void;
  /** Called once, when the log and the catalog contradict each other: the service must stop. */
  readonly onContradiction: (contradiction: Contradiction) => void;
}

/** The order log and the catalog cannot both be whole: a file was lost or restored. */
export class Contradiction extends Error {
  override readonly name = 'Contradiction';
}

const policy = {
  pageSales: 1000,
  waitMs: 5000,
  /** Under load the newest sales are always on their way; asking more often would find no more. */
  pauseMs: 250,
};

/** Whose fault it may be that a look fails: a person is to look at the right place. */
const steps = {
  log: 'the order log cannot be read',
  catalog: 'the catalog cannot be asked for its sales',
  sales: 'sales that the log lacks cannot be logged',
} as const;
type Step = (typeof steps)[keyof typeof steps];

/**
 * Looks, all the time, for sales that the catalog made and the log lacks, because somebody died in
 * between. The feed only names them: each is submitted again, so that no answer escapes what the
 * catalog does before it answers.
 */
export interface Recovery {
  /** `ok`, or what keeps the log from being compared with the catalog, or what that has shown. */
  health(): string;
  /**
   * How many of the catalog's next sales the log lacked at the last look, and nobody was logging;
   * undefined before the first.
   */
  gap(): number | undefined;
  /** @throws Failure until the log and the catalog are known to agree */
  assertOpen(): void;
  start(): void;
  stop(): Promise<void>;
}

export function createRecovery(effects: RecoveryEffects): Recovery {
  const { store, readFeed, recover, isInFlight, patienceMs = 0, after, log } = effects;
  const { now = () => performance.now() } = effects;
  /** When each sale was found lacking first. */
  let lackingSince = new Map<number, number>();
  let obstacle: string | undefined = 'the order log has not been compared with the catalog yet';
  /** What a look is at, in the words for its failing there. */
  let step: Step = steps.log;
  /** Where the last look failed, if it did, and why. */
  let failure: { readonly at: Step; readonly sentence: string } | undefined;
  let gap: number | undefined;
  let stopped = false;
  const stopping = new AbortController();
  let wake = () => {};
  let running: Promise<void> = Promise.resolve();

  /** One look; true when there may be more to do at once. */
  async function look(): Promise<boolean> {
    step = steps.log;
    // Read before the feed is, so that the feed cannot be behind it in an honest shop.
    const reach = await store.reach();
    const { watermark } = reach;
    // A catalog that has just come back should be known to be back, not waited for.
    const waitMs = obstacle === undefined && failure === undefined ? policy.waitMs : 0;
    step = steps.catalog;
    const feed = await readFeed(watermark, policy.pageSales, waitMs, stopping.signal);
    step = steps.log;
    await compareWithFeed(store, feed, reach);
    // Whoever was about to log these when we were away is away as well, or has done it by now.
    const isFirst = obstacle !== undefined;
    if (isFirst) log('info', `the order log agrees with catalog ${feed.catalog_id}`);
    obstacle = undefined;
    const { lacking } = await store.sales(watermark, feed.operations.at(-1)?.sale ?? watermark);
    const time = now();
    lackingSince = new Map(lacking.map((sale) => [sale, lackingSince.get(sale) ?? time]));
    const isLost = (sale: number) => {
      const since = lackingSince.get(sale);
      return since !== undefined && (isFirst || time - since >= patienceMs);
    };
    const lost = feed.operations.filter(
      ({ sale, operation_id }) => isLost(sale) && !isInFlight(operation_id),
    );
    gap = lost.length;
    step = steps.sales;
    if (lost.length === 0 || !(await recoverAll(lost))) return false;
    log(
      'warn',
      `${lost.length} sales that the order log lacked were recovered, the first being ` +
        `${lost[0]?.sale}`,
    );
    return lost.length === policy.pageSales;
  }

  /** False when the log has no room for all: these stay pending, and nothing else is wrong. */
  async function recoverAll(lost: Feed['operations']): Promise<boolean> {
    try {
      await Promise.all(lost.map((sale) => recover(sale.operation_id, sale.item_id)));
      return true;
    } catch (error) {
      // The log refuses new purchases by itself; reads go on, and so a start must open.
      if (error instanceof Failure && error.code === 'storage_full') return false;
      throw error;
    }
  }

  async function lookAgain(): Promise<void> {
    let more = false;
    try {
      more = await look();
      if (failure !== undefined) log('info', 'the order log is compared with the catalog again');
      failure = undefined;
    } catch (error) {
      if (stopped) return;
      if (error instanceof Contradiction) {
        stopped = true;
        obstacle = error.message;
        failure = undefined;
        effects.onContradiction(error);
        return;
      }
      if (failure?.at !== step) {
        log('warn', `the order log is not compared with the catalog: ${step}; trying again`, error);
      }
      // Anything but a Failure is for the log only: this sentence is shown to everybody.
      const why = error instanceof Failure ? `: ${error.message}` : '';
      failure = { at: step, sentence: `${step}${why}` };
    }
    if (!more) await pause();
  }

  function pause(): Promise<void> {
    if (stopped) return Promise.resolve();
    return new Promise((resolve) => {
      const cancel = after(policy.pauseMs, resolve);
      wake = () => {
        cancel();
        resolve();
      };
    });
  }

  return {
    health: () => failure?.sentence ?? obstacle ?? 'ok',
    gap: () => gap,
    assertOpen() {
      if (obstacle !== undefined) throw new Failure('unavailable', obstacle);
    },
    start() {
      running = (async () => {
        while (!stopped) await lookAgain();
      })();
    },
    async stop() {
      stopped = true;
      stopping.abort();
      wake();
      await running;
    },
  };
}

/**
 * Compares the log with a page of the feed, and notes the catalog's id if none was known.
 * @throws Contradiction naming what does not fit
 */
export async function compareWithFeed(
  store: OrderStore,
  feed: Feed,
  { watermark, lastSale }: Awaited<ReturnType<OrderStore['reach']>>,
): Promise<void> {
  const known = await store.catalogId();
  if (known !== undefined && known !== feed.catalog_id) {
    throw new Contradiction(
      `the order log belongs to catalog ${known}, but catalog ${feed.catalog_id} answers: one of ` +
        'the two data folders was replaced: put back the one that belongs to the other',
    );
  }
  if (feed.last_sale < lastSale) {
    throw new Contradiction(
      `the order log has sales up to ${lastSale}, but the catalog knows only ${feed.last_sale}: ` +
        `sales ${feed.last_sale + 1} to ${lastSale} are missing from the catalog's files: restore ` +
        'these from a copy that has them',
    );
  }
  if (feed.first_sale > watermark + 1) {
    throw new Contradiction(
      `the order log is complete up to sale ${watermark}, but the catalog remembers only sales ` +
        `from ${feed.first_sale} on: sales ${watermark + 1} to ${feed.first_sale - 1} are missing ` +
        'from the order log: restore it from a copy that has them; what is missing behind these ' +
        'is then logged again',
    );
  }
  const orders = await store.ordersOfSales(feed.operations.map(({ sale }) => sale));
  for (const { sale, operation_id } of feed.operations) {
    const orderId = orders.get(sale);
    if (orderId !== undefined && orderId !== operation_id) {
      throw new Contradiction(
        `sale ${sale} is order ${orderId} in the order log, but ${operation_id} in the catalog`,
      );
    }
  }
  if (known === undefined) await store.adoptCatalog(feed.catalog_id);
}
