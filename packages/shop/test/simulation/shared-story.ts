import {
  createSharedLeases,
  type LeaseRow,
  type Registry,
  type SharedLeaseEffects,
  type SharedLeases,
} from '@bazar/catalog';
import { Failure } from '@bazar/contracts';
import type { Changes, Invalidation } from '@bazar/contracts/internal';
import { createCache, createLease, type Kept } from '@bazar/gateway';
import { readyAnswer } from '@bazar/service';
import { type Clock, createClock, createRandom, type Node, type Random } from '@bazar/simulation';

/** What of the honest build a mutant has in its own way. */
export interface SharedBuild {
  readonly leases: (effects: SharedLeaseEffects) => SharedLeases;
  /** Whether a note of what a write changes is committed with it. */
  readonly notes: boolean;
  readonly gatewayDrift: number;
}

export const honestShared: SharedBuild = {
  leases: createSharedLeases,
  notes: true,
  gatewayDrift: 0,
};

export interface SharedEvidence {
  readonly seed: string;
  readonly counts: Readonly<Record<string, number>>;
  /** Reads that were older than an acknowledged write, one sentence each. */
  readonly stale: readonly string[];
}

const books = [1, 2, 3];
const replicas = 2;
const gateways = 2;
const lengthMs = 30_000;

/**
 * Two replicas of a catalog over one database, and two gateways before them: writes and reads amid
 * delays, lost calls, pauses, kills and clocks that do not agree.
 */
export async function runSharedStory(seed: string, build = honestShared): Promise<SharedEvidence> {
  const random = createRandom(seed);
  const clock = createClock({ random: random.fork('clock') });
  const world = createWorld(clock, random.fork('world'), build);
  const people = random.fork('people');
  const ends = clock.now() + lengthMs;
  const isOver = () => clock.now() >= ends;
  const lives = [
    ...Array.from({ length: 3 }, () => repeat(() => world.write(people), [1, 120])),
    ...Array.from({ length: 6 }, () => repeat(() => world.read(people), [1, 25])),
    repeat(() => world.trouble(people), [50, 1500]),
  ];

  async function repeat(step: () => Promise<void>, [least, most]: [number, number]) {
    while (!isOver()) {
      await clock.sleep(people.between(least, most));
      await step();
    }
  }

  await clock.finish(Promise.all(lives), { maxEvents: 5_000_000 });
  return { seed, counts: world.counts, stale: world.stale };
}

interface Replica {
  readonly node: Node;
  readonly leases: SharedLeases;
}

function createWorld(clock: Clock, random: Random, build: SharedBuild) {
  const counts: Record<string, number> = {};
  const stale: string[] = [];
  const count = (what: string) => {
    counts[what] = (counts[what] ?? 0) + 1;
  };
  /** The number of the last write, by book: what is committed, and what somebody was told. */
  const committed = new Map<number, number>(books.map((id) => [id, 0]));
  const told = new Map<number, number>(books.map((id) => [id, 0]));
  const rows = new Map<string, LeaseRow>();
  const notes = new Map<string, Changes>();

  /** A call that takes its time on both ways, or is lost on one of them. */
  async function call<Result>(
    effect: () => Result,
    loss: number,
    longest: number,
  ): Promise<Result> {
    await clock.sleep(random.between(0.1, longest));
    if (random.chance(loss)) throw new Failure('unavailable', 'lost on the way');
    const result = effect();
    await clock.sleep(random.between(0.1, longest));
    if (random.chance(loss)) throw new Failure('unavailable', 'lost on the way back');
    return result;
  }
  const query = <Result>(effect: () => Result) => call(effect, 0.002, random.chance(0.02) ? 80 : 2);

  const registry: Registry = {
    rows: () => query(() => [...rows.values()]),
    find: (instance) => query(() => rows.get(instance)),
    grant: (instance, epoch, url) =>
      query(() => {
        if (rows.get(instance)?.evicting) return false;
        rows.set(instance, { instance, epoch, url, evicting: false });
        return true;
      }),
    evict: (instance, epoch) =>
      query(() => {
        const row = rows.get(instance);
        if (row?.epoch !== epoch) return false;
        rows.set(instance, { ...row, evicting: true });
        count('evictions');
        return true;
      }),
    remove: (instance, epoch) =>
      query(() => {
        if (rows.get(instance)?.epoch === epoch) rows.delete(instance);
      }),
    unannounced: (some) =>
      query(() =>
        [...notes]
          .filter(([, { books }]) => some === undefined || books.some((id) => some.includes(id)))
          .map(([batch, changes]) => ({ batch, changes })),
      ),
    announced: (batches) =>
      query(() => {
        for (const batch of batches) notes.delete(batch);
      }),
  };

  const doors = new Map<string, (body: Invalidation) => void>();

  function openReplica(index: number): Replica {
    const node = clock.node(`catalog-${index}`, { drift: random.between(-0.005, 0.005) });
    const leases = build.leases({
      registry,
      invalidate: (url, body) =>
        call(() => doors.get(url)?.(body), 0.02, random.chance(0.05) ? 400 : 3),
      after: node.after,
      monotonic: node.now,
      defer: node.defer,
      newId: random.uuid,
      log() {},
    });
    leases.start();
    return { node, leases };
  }
  const catalogs = Array.from({ length: replicas }, (_, index) => openReplica(index));
  const anyCatalog = (): Replica => random.pick(catalogs.filter(({ node }) => node.alive));

  function openGateway(index: number) {
    const drift = random.between(-0.005, 0.005) - build.gatewayDrift;
    const node = clock.node(`gateway-${index}`, { drift });
    const url = `http://gateway-${index}`;
    const cache = createCache({ isLive: () => lease.isLive() });
    const lease = createLease({
      async renew(request, _timeoutMs, onSend) {
        onSend();
        const { leases } = anyCatalog();
        await clock.sleep(random.between(0.1, random.chance(0.03) ? 900 : 3));
        if (random.chance(0.02)) throw new Failure('unavailable', 'lost on the way');
        const epoch = await leases.renew(request);
        await clock.sleep(random.between(0.1, random.chance(0.03) ? 900 : 3));
        if (random.chance(0.05)) throw new Failure('unavailable', 'lost on the way back');
        await node.sleep(0);
        return epoch;
      },
      giveBack: async () => {},
      onNewEpoch: () => cache.forgetAll(),
      after: node.after,
      monotonic: node.now,
      wall: node.now,
      newId: random.uuid,
      log() {},
    });
    const pause = { until: 0 };
    doors.set(url, ({ instance, epoch, books, titles }) => {
      if (!node.alive || clock.now() < pause.until) throw new Failure('unavailable', 'no answer');
      if (!lease.is(instance, epoch)) throw new Failure('lease_unknown', 'another lease');
      cache.forget({ books, titles });
    });
    lease.start(url);
    return { node, cache, pause };
  }
  const shops = Array.from({ length: gateways }, (_, index) => openGateway(index));

  const versionAt = (id: number) => committed.get(id) ?? 0;
  const tell = (id: number, version: number) => {
    told.set(id, Math.max(told.get(id) ?? 0, version));
  };

  return {
    counts,
    stale,
    /** Writes, or learns that somebody else has; asks again elsewhere until it is acknowledged. */
    async write(people: Random): Promise<void> {
      const id = people.pick(books);
      const changes: Changes = { books: [id], titles: false };
      const batch = random.uuid();
      let version: number | undefined;
      const isWrite = people.chance(0.7);
      for (let attempt = 0; attempt < 20; attempt += 1) {
        const { node, leases } = anyCatalog();
        await clock.sleep(random.between(0.1, 2));
        if (isWrite && version === undefined) {
          version = versionAt(id) + 1;
          committed.set(id, version);
          if (build.notes) notes.set(batch, changes);
        }
        const seen = version ?? versionAt(id);
        try {
          const waits = isWrite ? leases.barrier(changes, batch) : leases.pending(id);
          await Promise.race([waits, died(node)]);
          if (!node.alive) throw new Failure('unavailable', 'it died');
          tell(id, seen);
          count(isWrite ? 'writes' : 'sold out');
          return;
        } catch {
          count('asked again');
          if (!isWrite) return;
          await clock.sleep(people.between(1, 300));
        }
      }
    },
    async read(people: Random): Promise<void> {
      const id = people.pick(books);
      const { node, cache, pause } = people.pick(shops);
      if (!node.alive || clock.now() < pause.until) return;
      const floor = told.get(id) ?? 0;
      try {
        const { kept, status } = await cache.read(String(id), id, () =>
          call(() => keptOf(versionAt(id)), 0.01, random.chance(0.05) ? 300 : 3),
        );
        count(status === 'hit' ? 'hits' : 'misses');
        if (Number(kept.body) < floor) {
          stale.push(`book ${id}: ${kept.body} after ${floor} was told, a ${status}`);
        }
      } catch {
        count('failed reads');
      }
    },
    async trouble(people: Random): Promise<void> {
      if (people.chance(0.5)) {
        const { node, pause } = people.pick(shops);
        const ms = people.between(10, 2500);
        pause.until = clock.now() + ms;
        node.pause();
        count('pauses');
        await clock.sleep(ms);
        node.resume();
        return;
      }
      const index = people.integer(replicas);
      if (catalogs.some(({ node }, other) => other !== index && !node.alive)) return;
      catalogs[index]?.node.kill();
      count('kills');
      await clock.sleep(people.between(10, 4000));
      catalogs[index] = openReplica(index);
    },
  };

  /** A caller sees the connection break. */
  async function died(node: Node): Promise<void> {
    while (node.alive) await clock.sleep(20);
  }
}

function keptOf(version: number): Kept {
  const body = String(version);
  return { ...readyAnswer('/info/:item_id', [], body), body, etag: '"e"', link: undefined };
}
