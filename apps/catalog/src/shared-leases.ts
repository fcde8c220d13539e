import { createBatcher } from '@bazar/batching';
import { Failure } from '@bazar/contracts';
import { type Changes, leaseEndMs, leaseTerms } from '@bazar/contracts/internal';
import type { LeaseEffects, Leases } from './leases.js';
import type { Announcement, LeaseRow, Registry } from './registry.js';

export interface SharedLeaseEffects extends LeaseEffects {
  readonly registry: Registry;
}

export interface SharedLeases extends Leases {
  /** Begins to look for changes that a replica has left unannounced. */
  start(): void;
  stop(): Promise<void>;
}

const policy = {
  /** How soon a post that failed is tried again. */
  retryMs: 50,
  probeMs: 1000,
  /** How often a replica looks for what others have left behind. */
  lookMs: leaseTerms.termMs,
  /** What is unannounced for so long, as this replica sees it, was left behind. */
  leftBehindMs: 2 * leaseTerms.termMs,
  maxBatch: 1024,
  maxQueue: 1_000_000,
};

const nothing: Changes = { books: [], titles: false };

/** A gateway under one lease, as this replica deals with it. */
interface Peer {
  readonly tell: (changes: Changes) => Promise<void>;
  /** On our clock, when the lease has run out for sure; known once it is being evicted. */
  endsAt: number | undefined;
  /** Nobody serves under it any more, or another lease has taken its place. */
  isOver: boolean;
  /** Takes the lease away, once it has run out. */
  readonly end: () => Promise<void>;
}

/**
 * The leases of gateways before several replicas of a catalog, by the rules of volume leases (Yin et
 * al., 1999). A write is committed with a note of what it changes; then every gateway with a lease is
 * told, by whichever replica made the write. One that does not answer in time is marked, which ends
 * the confirmations of its lease, and whoever waits for it waits as long as the lease may last, from
 * when it saw the mark. Only then is the write acknowledged and the note taken away; the notes of a
 * replica that died are dealt with by the others.
 *
 * A read may come through any replica, so nobody knows what a gateway has read: it is told of all.
 */
export function createSharedLeases(effects: SharedLeaseEffects): SharedLeases {
  const { registry, invalidate, after, monotonic, newId, log, defer = setImmediate } = effects;
  const sleep = (ms: number) => new Promise<void>((resolve) => void after(ms, resolve));
  /** By epoch. */
  const peers = new Map<string, Peer>();

  function peerOf({ instance, epoch, url, evicting }: LeaseRow): Peer {
    const peer = peers.get(epoch) ?? createPeer(instance, epoch, url);
    if (evicting) expire(peer);
    return peer;
  }

  function createPeer(instance: string, epoch: string, url: string): Peer {
    const posts = createBatcher(
      async (batch: readonly Changes[]) => {
        await settle(union(batch));
        return batch.map(() => undefined);
      },
      { maxBatch: policy.maxBatch, maxQueue: policy.maxQueue, defer },
    );
    const peer: Peer = { tell: posts.add, endsAt: undefined, isOver: false, end };
    peers.set(epoch, peer);

    /** Returns when the gateway has forgotten what has changed, or its lease has run out. */
    async function settle(changes: Changes): Promise<void> {
      let acknowledged = false;
      const told = tellUntil(() => acknowledged || peer.isOver);
      const isTold = told.then((done) => {
        acknowledged = done;
        return done;
      });
      if (await before(isTold, leaseTerms.acknowledgeMs)) return;
      if (peer.endsAt === undefined) {
        if (!(await registry.evict(instance, epoch))) return tellSuccessor(changes);
        log('warn', `the gateway at ${url} does not answer: its lease is let run out`);
        expire(peer);
      }
      const leftMs = Math.max(0, (peer.endsAt ?? 0) - monotonic());
      if (!(await before(isTold, leftMs))) await end();

      /** Posts until there is an acknowledgement, or nobody waits for one. */
      async function tellUntil(isEnough: () => boolean): Promise<boolean> {
        while (!isEnough()) {
          try {
            await invalidate(url, { instance, epoch, ...changes }, leaseTerms.termMs);
            return true;
          } catch {
            // Also when somebody else answers at that address: the one we mean has not.
            await sleep(policy.retryMs);
          }
        }
        return false;
      }
    }

    /**
     * The lease was given back, or has run out as others saw it; or the gateway was given another one
     * of which it may not know yet. Then it answers under that, or that is waited for.
     */
    async function tellSuccessor(changes: Changes): Promise<void> {
      over();
      const row = await registry.find(instance);
      if (row !== undefined) await peerOf(row).tell(changes);
    }

    async function end(): Promise<void> {
      over();
      await registry.remove(instance, epoch);
    }

    function over(): void {
      peer.isOver = true;
      if (peers.get(epoch) === peer) peers.delete(epoch);
    }

    return peer;
  }

  /** To be called when the mark is known to be there: from then on nobody confirms the lease. */
  function expire(peer: Peer): void {
    peer.endsAt ??= monotonic() + leaseEndMs;
  }

  /** Whether it is so within this time. */
  async function before(promise: Promise<boolean>, ms: number): Promise<boolean> {
    let cancel = () => {};
    const late = new Promise<boolean>((resolve) => {
      cancel = after(ms, () => resolve(false));
    });
    return Promise.race([promise, late]).finally(() => cancel());
  }

  /** Returns when no gateway serves any more what was before these changes. */
  async function announce(changes: Changes): Promise<void> {
    try {
      // Read after the commit: a gateway that is not in it yet will read what was committed.
      const rows = await registry.rows();
      await Promise.all(rows.map((row) => peerOf(row).tell(changes)));
    } catch (cause) {
      // That nothing came of telling it says nothing of the write itself, which was committed.
      throw new Failure('unavailable', 'not every gateway could be told of it', { cause });
    }
  }

  const looks = createBatcher(
    async (items: readonly number[]) => {
      const left = await registry.unannounced(items);
      return items.map((item) => left.filter(({ changes }) => changes.books.includes(item)));
    },
    { maxBatch: policy.maxBatch, maxQueue: policy.maxQueue, defer },
  );

  const done = createBatcher(
    async (batches: readonly string[]) => {
      await registry.announced(batches);
      return batches.map(() => undefined);
    },
    { maxBatch: policy.maxBatch, maxQueue: policy.maxQueue, defer },
  );

  async function announceBatch({ batch, changes }: Announcement): Promise<void> {
    await announce(changes);
    // Nobody waits for this: should it fail, then somebody will announce it once more.
    done.add(batch).catch(() => undefined);
  }

  /** Takes away the leases that have run out: whoever marked them may be dead, or have been told. */
  async function takeAway(): Promise<void> {
    const rows = await registry.rows();
    for (const row of rows) {
      const { endsAt, end } = peerOf(row);
      if (endsAt !== undefined && endsAt <= monotonic()) await end();
    }
    const epochs = new Set(rows.map(({ epoch }) => epoch));
    for (const epoch of peers.keys()) if (!epochs.has(epoch)) peers.delete(epoch);
  }

  const watch = createWatch({ ...effects, announceBatch, takeAway });

  return {
    async renew({ instance, url, epoch }) {
      const row = await registry.find(instance);
      if (row?.evicting) throw new Failure('lease_unknown', 'this gateway owes an acknowledgement');
      if (row !== undefined && row.epoch === epoch && row.url === url) return epoch;
      try {
        await invalidate(url, { instance, ...nothing }, policy.probeMs);
      } catch (cause) {
        throw new Failure('lease_unknown', `this gateway does not answer at ${url}`, { cause });
      }
      const granted = newId();
      if (!(await registry.grant(instance, granted, url))) {
        throw new Failure('lease_unknown', 'this gateway owes an acknowledgement');
      }
      log('info', `the gateway at ${url} has a lease`);
      return granted;
    },
    async end({ instance, epoch }) {
      const peer = peers.get(epoch);
      if (peer !== undefined) peer.isOver = true;
      peers.delete(epoch);
      await registry.remove(instance, epoch);
    },
    note() {},
    barrier: (changes, batch) =>
      batch === undefined ? announce(changes) : announceBatch({ batch, changes }),
    async pending(itemId) {
      const left = await looks.add(itemId).catch((cause: unknown) => {
        throw new Failure('unavailable', 'it is not known who was told of it', { cause });
      });
      if (left.length > 0) await announce({ books: [itemId], titles: false });
    },
    async counts() {
      const found = await registry.rows();
      const evicting = found.filter((row) => row.evicting).length;
      return { live: found.length - evicting, evicting };
    },
    start: watch.start,
    stop: watch.stop,
  };
}

interface WatchEffects extends SharedLeaseEffects {
  readonly announceBatch: (announcement: Announcement) => Promise<void>;
  readonly takeAway: () => Promise<void>;
}

/** Looks now and then for what was left behind, and brings it to its end. */
function createWatch({ registry, after, monotonic, log, announceBatch, takeAway }: WatchEffects) {
  /** When each was seen first, on our clock. */
  let seen = new Map<string, number>();
  let cancel = () => {};
  let looking: Promise<void> = Promise.resolve();
  let stopped = false;

  async function look(): Promise<void> {
    const left = await registry.unannounced();
    const now = monotonic();
    seen = new Map(left.map(({ batch }) => [batch, seen.get(batch) ?? now]));
    const due = left.filter(({ batch }) => now - (seen.get(batch) ?? now) > policy.leftBehindMs);
    await takeAway();
    await Promise.all(due.map(announceBatch));
    if (due.length > 0) log('warn', `${due.length} batches of changes were announced for others`);
  }

  function start(): void {
    cancel = after(policy.lookMs, () => {
      // A database that is away is told of by whoever writes; here it is tried again.
      looking = look()
        .catch(() => undefined)
        .then(() => {
          if (!stopped) start();
        });
    });
  }

  return {
    start,
    async stop() {
      stopped = true;
      cancel();
      await looking;
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
