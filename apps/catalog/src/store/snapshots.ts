import type { After } from '@bazar/contracts/internal';
import { isFull, type Journal, StorageFull } from '@bazar/storage';
import type { Stock } from '../store.js';
import type { PastPictures } from './past-pictures.js';
import type { Log, Pause, Picture } from './picture.js';
import { type Shown, writeRecord } from './record.js';

const policy = {
  /** A changed stock is in `catalog_data.csv` at most about this long after. */
  delayMs: 500,
  retryMs: 1000,
  /**
   * Above this many books a snapshot takes at most a twentieth of a core; it rests a little longer
   * than that asks for, because collecting its garbage is work as well.
   */
  promptBooks: 10_000,
  restPerWork: 24,
};

/** Works in slices, and above `promptBooks` rests after each; nobody waits for a closing shop. */
function createPause(books: number, after: After, isClosing: () => boolean): Pause {
  let since = performance.now();
  return async () => {
    if (isClosing()) return;
    const worked = performance.now() - since;
    const restMs = books <= policy.promptBooks ? 0 : worked * policy.restPerWork;
    await new Promise<void>((resolve) => after(restMs, resolve));
    since = performance.now();
  };
}

export interface SnapshotsOptions {
  readonly picture: Picture;
  readonly journal: Journal;
  /** Runs one piece of work at a time on the journal. */
  readonly exclusive: <Result>(work: () => Promise<Result>) => Promise<Result>;
  /** The data file as the shop left it, or as a person's edit that it adopted. */
  readonly shown: Shown;
  /** Is told of each data file that is recorded. */
  readonly pictures: PastPictures;
  /** The stocks at this moment, and the last record that they hold the effect of. */
  readonly current: () => { readonly stocks: readonly Stock[]; readonly sequence: number };
  /** Runs after each snapshot. */
  readonly onTaken: () => Promise<void>;
  /** What fails for another reason than a full disk or too many open files. */
  readonly onError: (error: unknown) => void;
  readonly now: () => number;
  readonly after: After;
  readonly log: Log;
}

/** Lets `catalog_data.csv` follow the stock, and the journal's checkpoints with it. */
export interface Snapshots {
  /** Says that the stock has changed: a snapshot follows soon. */
  changed(): void;
  /** Takes the last snapshot, if one is due, and no more. */
  close(): Promise<void>;
}

export function createSnapshots(options: SnapshotsOptions): Snapshots {
  const { picture, pictures, journal, exclusive, current, now, after, log } = options;
  let { shown } = options;
  /** Recorded in the journal, while `shown` is still in its place. */
  let waiting: Shown | undefined;
  let changes = 0;
  let takenChanges = 0;
  let closing = false;
  let stopped = false;
  let full = false;
  let cancel = () => {};
  let running: Promise<void> | undefined;

  async function publish(next: Shown): Promise<void> {
    await picture.publish(shown, next);
    shown = next;
    waiting = undefined;
    await picture.keepOnly(next.image);
  }

  async function take(): Promise<void> {
    // A shop whose journal was taken away may not write into a folder that is another's by now.
    await journal.verify();
    // A crash while the next file is written anew would leave no trace of the one recorded, and
    // what it was to replace would pass for a person's edit.
    if (waiting !== undefined) await publish(waiting);
    const goal = changes;
    const { stocks, sequence } = current();
    const pause = createPause(stocks.length, after, () => closing);
    const prepared = await picture.prepare(stocks, pause);
    const checkpoint = { ...prepared, at: now(), replaces: shown, sequence };
    try {
      const record = writeRecord({ kind: 'checkpoint', ...checkpoint });
      await exclusive(() => journal.append([record]));
    } catch (error) {
      if (error instanceof StorageFull) await picture.discard(prepared);
      throw error;
    }
    waiting = prepared.shown;
    pictures.add({ ...checkpoint, sha256: waiting.sha256 });
    await publish(waiting);
    takenChanges = goal;
    full = false;
    await options.onTaken();
  }

  /** Resolves to the time after which a further attempt makes sense. */
  async function attempt(): Promise<number> {
    try {
      await take();
    } catch (error) {
      if (!isFull(error)) {
        stopped = true;
        options.onError(error);
      } else if (!full) {
        full = true;
        const reason = error instanceof Error ? error.message : error;
        log('warn', `catalog_data.csv cannot follow the stock for the moment: ${reason}`);
      }
      return policy.retryMs;
    }
    return policy.delayMs;
  }

  async function run(delayMs: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const forget = after(delayMs, resolve);
      cancel = () => {
        forget();
        resolve();
      };
    });
    const nextDelayMs = closing ? 0 : await attempt();
    running = undefined;
    schedule(nextDelayMs);
  }

  function schedule(delayMs: number): void {
    if (closing || stopped || running !== undefined || takenChanges === changes) return;
    running = run(delayMs);
  }

  return {
    changed() {
      changes += 1;
      schedule(policy.delayMs);
    },
    async close() {
      closing = true;
      cancel();
      await running;
      if (!stopped && (takenChanges < changes || waiting !== undefined)) await attempt();
    },
  };
}
