import { createBatcher } from '@bazar/batching';
import { Failure } from '@bazar/contracts';
import {
  type After,
  type Changes,
  type Invalidation,
  type LeaseEnd,
  type LeaseRequest,
  leaseEndMs,
  leaseTerms,
} from '@bazar/contracts/internal';
import { createInterest, type Interest } from './interest.js';

export interface LeaseEffects {
  /** Tells a gateway; resolves when it has acknowledged, and rejects when nobody knows whether. */
  readonly invalidate: (url: string, body: Invalidation, timeoutMs: number) => Promise<void>;
  readonly after: After;
  /** Milliseconds on a clock that only goes forward. */
  readonly monotonic: () => number;
  readonly newId: () => string;
  readonly log: (level: 'info' | 'warn', sentence: string) => void;
  /** Runs a post soon, but not now. */
  readonly defer?: (run: () => void) => unknown;
}

/** Who may keep answers of the catalog, and must be told before a change of them is answered. */
export interface Leases {
  /**
   * Confirms a lease, or gives a new one.
   * @throws Failure `lease_unknown` while the gateway does not answer at its address
   */
  renew(request: LeaseRequest): Promise<string>;
  /** The gateway serves nothing under this lease any more: nobody has to wait for it. */
  end(lease: LeaseEnd): void | Promise<void>;
  /** The gateway is about to be shown this book; to be called before the book is read. */
  note(instance: string, itemId: number): void;
  /**
   * Resolves once no gateway serves any more what was before these changes: each has acknowledged,
   * or its lease has run out. Undefined when nobody has to be waited for.
   * @param batch by what name the store noted the changes when it committed them
   */
  barrier(changes: Changes, batch?: string): Promise<unknown> | undefined;
  /** What earlier changes of this book still wait for, if anything. */
  pending(itemId: number): Promise<unknown> | undefined;
  /** How many gateways may keep answers, and how many leases are let run out. */
  counts(): LeaseCounts | Promise<LeaseCounts>;
}

export interface LeaseCounts {
  readonly live: number;
  readonly evicting: number;
}

/** For a catalog that no gateway stands before: nobody has to be waited for. */
export const withoutGateways: Leases = {
  async renew() {
    throw new Failure('unavailable', 'this catalog gives no leases');
  },
  end() {},
  note() {},
  barrier: () => undefined,
  pending: () => undefined,
  counts: () => ({ live: 0, evicting: 0 }),
};

/** A gateway with a lease. */
interface Row {
  readonly url: string;
  readonly epoch: string;
  /** When the lease was confirmed last; at most a term later it is not served under any more. */
  confirmedAt: number;
  /** It owes an acknowledgement for too long: until that has come the lease is not renewed. */
  suspended: boolean;
  readonly interest: Interest;
  readonly tell: (changes: Changes) => Promise<void>;
  /** Ends the wait for an acknowledgement. */
  giveUp: () => void;
}

const policy = {
  /** How soon a post that failed is tried again. */
  retryMs: 50,
  probeMs: 1000,
  maxBatch: 1024,
  /** As many as there can be writes. */
  maxQueue: 1_000_000,
};

const nothing: Changes = { books: [], titles: false };

/**
 * The registry of leases in the memory of the one catalog. Its rules are those of volume leases
 * (Yin et al., 1999), but for two: whoever has lost the registry in a crash waits until all that it
 * may have granted has run out; and a gateway is told only of what it has read.
 */
export function createLeases(effects: LeaseEffects): Leases {
  const { invalidate, after, monotonic, newId, log, defer = setImmediate } = effects;
  const rows = new Map<string, Row>();
  /** By book: the last wait for the gateways to forget it. */
  const waits = new Map<number, Promise<unknown>>();
  const sleep = (ms: number) => new Promise<void>((resolve) => void after(ms, resolve));
  // What a catalog before this one granted is remembered by nobody.
  let earlier: Promise<unknown> | undefined = sleep(leaseEndMs).then(() => {
    earlier = undefined;
  });

  function createRow(instance: string, url: string, interest: Interest): Row {
    const posts = createBatcher(
      async (batch: readonly Changes[]) => {
        await settle(instance, row, union(batch));
        return batch.map(() => undefined);
      },
      { maxBatch: policy.maxBatch, maxQueue: policy.maxQueue, defer },
    );
    const row: Row = {
      url,
      epoch: newId(),
      confirmedAt: monotonic(),
      suspended: false,
      interest,
      tell: posts.add,
      giveUp() {},
    };
    return row;
  }

  /** Returns when the gateway has forgotten what has changed, or when its lease has run out. */
  async function settle(instance: string, row: Row, changes: Changes): Promise<void> {
    const { url, epoch, interest } = row;
    const moment = interest.now();
    const cancel = after(leaseTerms.acknowledgeMs, () => {
      row.suspended = true;
    });
    const remaining = () => row.confirmedAt + leaseEndMs - monotonic();
    for (let remainingMs = remaining(); remainingMs > 0; remainingMs = remaining()) {
      if (await isForgotten(row, { instance, epoch, ...changes }, remainingMs)) {
        cancel();
        row.suspended = false;
        interest.drop(changes.books, moment);
        return;
      }
      row.suspended = true;
      await sleep(Math.min(policy.retryMs, Math.max(0, remaining())));
    }
    cancel();
    // From here on a renewal begins a new lease.
    row.suspended = true;
    if (rows.get(instance) === row) {
      rows.delete(instance);
      log('warn', `the gateway at ${url} did not answer in time; its lease has run out`);
    }
  }

  /** Waits for the acknowledgement, but not longer than the lease may last. */
  async function isForgotten(row: Row, body: Invalidation, timeoutMs: number): Promise<boolean> {
    let cancel = () => {};
    const tooLate = new Promise<boolean>((resolve) => {
      row.giveUp = () => resolve(false);
      cancel = after(timeoutMs, row.giveUp);
    });
    const told = invalidate(row.url, body, Math.ceil(timeoutMs)).then(
      () => true,
      () => false,
    );
    return Promise.race([told, tooLate]).finally(() => cancel());
  }

  function remember(books: readonly number[], wait: Promise<unknown>): Promise<unknown> {
    for (const id of books) waits.set(id, wait);
    return wait.finally(() => {
      for (const id of books) if (waits.get(id) === wait) waits.delete(id);
    });
  }

  /** Nobody serves under these leases any more, and perhaps nobody will write what they kept. */
  function forgetExpired(): void {
    for (const [instance, { confirmedAt }] of rows) {
      if (confirmedAt + leaseEndMs < monotonic()) rows.delete(instance);
    }
  }

  return {
    async renew({ instance, url, epoch }) {
      const row = rows.get(instance);
      if (row?.suspended)
        throw new Failure('lease_unknown', 'this gateway owes an acknowledgement');
      if (row !== undefined && row.epoch === epoch && row.url === url) {
        row.confirmedAt = monotonic();
        return epoch;
      }
      try {
        await invalidate(url, { instance, ...nothing }, policy.probeMs);
      } catch (cause) {
        throw new Failure('lease_unknown', `this gateway does not answer at ${url}`, { cause });
      }
      // What the row before it was owed is still owed: writers who wait there go on waiting. And
      // should this request be a late one, then the gateway goes on under that row's lease, which
      // may have been given while this one was probed.
      const before = rows.get(instance);
      const granted = createRow(instance, url, before?.interest ?? createInterest());
      forgetExpired();
      rows.set(instance, granted);
      log('info', `the gateway at ${url} has a lease`);
      return granted.epoch;
    },
    end({ instance, epoch }) {
      const row = rows.get(instance);
      if (row?.epoch !== epoch) return;
      // Whoever waits for an acknowledgement under it waits no longer.
      row.confirmedAt = Number.NEGATIVE_INFINITY;
      row.giveUp();
      rows.delete(instance);
      log('info', `the gateway at ${row.url} has given its lease back`);
    },
    // Who has no row here had a lease from an earlier catalog, whose end is waited for, or none.
    note: (instance, itemId) => rows.get(instance)?.interest.note(itemId),
    barrier({ books, titles }) {
      const told: Promise<unknown>[] = earlier === undefined ? [] : [earlier];
      for (const { interest, tell } of rows.values()) {
        const kept = books.filter(interest.isIn);
        if (kept.length > 0 || titles) told.push(tell({ books: kept, titles }));
      }
      return told.length === 0 ? undefined : remember(books, Promise.all(told));
    },
    pending: (itemId) => waits.get(itemId) ?? earlier,
    counts() {
      forgetExpired();
      const evicting = [...rows.values()].filter(({ suspended }) => suspended).length;
      return { live: rows.size - evicting, evicting };
    },
  };
}

function union(batch: readonly Changes[]): Changes {
  const [first = nothing] = batch;
  if (batch.length === 1) return first;
  return {
    books: [...new Set(batch.flatMap(({ books }) => books))],
    titles: batch.some(({ titles }) => titles),
  };
}
