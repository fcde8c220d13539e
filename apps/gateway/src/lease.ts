import {
  type After,
  type LeaseEnd,
  type LeaseRequest,
  leaseTerms,
} from '@bazar/contracts/internal';

export interface LeaseEffects {
  /**
   * Asks a catalog to confirm the lease or to give a new one; resolves to its epoch. Where several
   * are asked in turn, it calls `onSend` right before each request: the last one is the confirmed.
   */
  readonly renew: (request: LeaseRequest, timeoutMs: number, onSend: () => void) => Promise<string>;
  /** Gives the lease back; it may fail, and then runs out by itself. */
  readonly giveBack: (lease: LeaseEnd, timeoutMs: number) => Promise<void>;
  /** A new lease begins, and with it must nothing be left that was kept before. */
  readonly onNewEpoch: () => void;
  readonly after: After;
  /** Milliseconds on a clock that only goes forward. */
  readonly monotonic: () => number;
  /** Milliseconds on the clock on the wall, which a suspended machine cannot stop. */
  readonly wall: () => number;
  readonly newId: () => string;
  readonly log: (level: 'info' | 'warn', sentence: string, cause?: unknown) => void;
}

/** The right of a gateway to serve what it keeps. */
export interface Lease {
  /** The id of this process, by which catalogs know it. */
  readonly instance: string;
  /** Whether it may serve at this moment; to be asked in the very step that serves. */
  isLive(): boolean;
  /** For how long it may serve unless the lease is confirmed again; 0 while it may not. */
  leftMs(): number;
  /** Whether this is the gateway and the lease that somebody means. */
  is(instance: string, epoch: string | undefined): boolean;
  /** Begins to ask for it. `url` is where the catalogs reach this gateway. */
  start(url: string): void;
  /** From now on nothing is served from the cache, and soon no catalog waits for this gateway. */
  stop(): Promise<void>;
}

/**
 * Keeps a volume lease alive. It counts from the moment when it was asked for, not from the answer:
 * the catalog may have begun to wait for its end in between.
 */
export function createLease(effects: LeaseEffects): Lease {
  const { renew, giveBack, onNewEpoch, after, monotonic, wall, newId, log } = effects;
  const instance = newId();
  let epoch: string | undefined;
  let end = { monotonic: Number.NEGATIVE_INFINITY, from: 0, wall: 0 };
  let stopped = false;
  let isWarned = false;
  let cancel = () => {};
  let asking: Promise<void> = Promise.resolve();

  async function ask(url: string): Promise<void> {
    const begun = { monotonic: monotonic(), wall: wall() };
    let sent = begun;
    try {
      const known = epoch;
      const request = { instance, url, ...(known !== undefined && { epoch: known }) };
      const granted = await renew(request, leaseTerms.termMs, () => {
        sent = { monotonic: monotonic(), wall: wall() };
      });
      if (granted !== known) {
        epoch = granted;
        onNewEpoch();
      }
      if (stopped) return;
      end = {
        monotonic: sent.monotonic + leaseTerms.termMs,
        from: sent.wall,
        wall: sent.wall + leaseTerms.termMs,
      };
      if (isWarned) log('info', 'the catalog has confirmed the lease again: reads are kept');
      isWarned = false;
    } catch (error) {
      if (!isWarned) log('warn', 'without a lease from the catalog no read is kept', error);
      isWarned = true;
    }
    if (stopped) return;
    const spentMs = monotonic() - begun.monotonic;
    cancel = after(Math.max(0, leaseTerms.renewalMs - spentMs), () => start(url));
  }

  function start(url: string): void {
    if (!stopped) asking = ask(url);
  }

  function isLive(): boolean {
    const time = wall();
    return monotonic() < end.monotonic && time >= end.from && time < end.wall;
  }

  return {
    instance,
    isLive,
    leftMs: () => (isLive() ? end.monotonic - monotonic() : 0),
    is: (other, lease) => other === instance && (lease === undefined || lease === epoch),
    start,
    async stop() {
      if (stopped) return;
      stopped = true;
      end = { monotonic: Number.NEGATIVE_INFINITY, from: 0, wall: 0 };
      cancel();
      // What is being granted has to be given back as well.
      await asking;
      if (epoch === undefined) return;
      await giveBack({ instance, epoch }, leaseTerms.acknowledgeMs).catch(() => undefined);
    },
  };
}
