import type { CatalogStore, LeaseEffects, Leases } from '@bazar/catalog';
import { createLeases } from '@bazar/catalog';
import { leaseEndMs } from '@bazar/contracts/internal';
import type { Cache, CacheEffects, GatewayLeaseEffects, Kept } from '@bazar/gateway';
import { createCache, createLease } from '@bazar/gateway';
import { type Build, type BuildMaker, honest } from './build.js';

/** Builds that break one rule of the leased cache each. */
export const cacheMutants: Readonly<Record<string, BuildMaker>> = {
  'whose gateways count a lease from the answer': () => ({ ...honest, lease: countFromAnswer }),
  'whose gateways look at the lease once': () => ({
    ...honest,
    lease(effects) {
      const lease = createLease(effects);
      let wasLive = false;
      return {
        ...lease,
        isLive() {
          wasLive ||= lease.isLive();
          return wasLive;
        },
      };
    },
  }),
  'whose gateways keep what has changed while it was fetched': () => ({
    ...honest,
    cache: (effects) => naiveCache(effects, { keeps: true, joins: false }),
  }),
  'whose gateways join what was fetched before a change': () => ({
    ...honest,
    cache: (effects) => naiveCache(effects, { keeps: false, joins: true }),
  }),
  'whose gateways keep what they have when a new lease begins': () => ({
    ...honest,
    cache: (effects) => ({ ...honest.cache(effects), forgetAll: () => {} }),
  }),
  'whose gateways have clocks that are too slow': () => ({ ...honest, gatewayDrift: 0.25 }),
  'whose catalog gives every lease the same name': () => ({
    ...honest,
    leases: (effects) =>
      createLeases({ ...effects, newId: () => '00000000-0000-4000-8000-000000000000' }),
  }),
  'whose catalog does not wait for the end of a lease': () => ({
    ...honest,
    leases: (effects) =>
      createLeases({ ...effects, invalidate: (...post) => giveUpEarly(effects, post) }),
  }),
  'whose catalog takes a broken connection for an answer': () => ({
    ...honest,
    leases: (effects) =>
      createLeases({
        ...effects,
        invalidate: (...post) => effects.invalidate(...post).catch(() => undefined),
      }),
  }),
  'whose catalog confirms a lease while it waits for its end': () => ({
    ...honest,
    leases: confirmAlways,
  }),
  'whose catalog does not wait after its start': () => ({
    ...honest,
    leases(effects) {
      let isFirst = true;
      return createLeases({
        ...effects,
        after(ms, run) {
          const isEarlier = isFirst && ms === leaseEndMs;
          isFirst = false;
          return effects.after(isEarlier ? 0 : ms, run);
        },
      });
    },
  }),
  'whose catalog tells nobody of repeats': forgetRepeats,
  'whose gateways do not say who reads': () => ({
    ...honest,
    lease: (effects) => ({ ...createLease(effects), instance: 'nobody' }),
  }),
  'whose gateways give their lease back and serve on': () => ({
    ...honest,
    lease: (effects) =>
      createLease({
        ...effects,
        async renew(request, timeoutMs, onSend) {
          const epoch = await effects.renew(request, timeoutMs, onSend);
          await effects.giveBack({ instance: request.instance, epoch }, timeoutMs).catch(() => {});
          return epoch;
        },
      }),
  }),
  'whose catalog notes who reads too late': () => ({
    ...honest,
    leases(effects) {
      const leases = createLeases(effects);
      return { ...leases, note: (...read) => void effects.after(1, () => leases.note(...read)) };
    },
  }),
  'whose catalog does not note who reads while it tells': forgetWhileTelling,
};

/** The lease seems younger by the time that its renewal took. */
function countFromAnswer(effects: GatewayLeaseEffects) {
  let lagMs = 0;
  const lagging = (clock: () => number) => () => clock() - lagMs;
  return createLease({
    ...effects,
    monotonic: lagging(effects.monotonic),
    wall: lagging(effects.wall),
    async renew(...call) {
      const sent = effects.monotonic();
      const epoch = await effects.renew(...call);
      lagMs = effects.monotonic() - sent;
      return epoch;
    },
  });
}

/** Without guards, for what is kept or for what is joined. */
function naiveCache({ isLive }: CacheEffects, flaws: { keeps: boolean; joins: boolean }): Cache {
  const honestCache = createCache({ isLive });
  const kept = new Map<string, { readonly kept: Kept; readonly subject: unknown }>();
  const fetches = new Map<string, Promise<Kept>>();
  const look = (key: string) => (isLive() ? kept.get(key)?.kept : undefined);
  return {
    ...honestCache,
    look,
    async read(key, subject, fetch) {
      const found = flaws.keeps ? look(key) : honestCache.look(key);
      if (found !== undefined) return { kept: found, status: 'hit' };
      const other = fetches.get(key);
      if (flaws.joins && other !== undefined) {
        return { kept: await other, status: 'fwd=miss; collapsed' };
      }
      const fetched = fetch();
      // The honest cache may join another one, and then nobody listens to this.
      fetched.catch(() => {});
      fetches.set(key, fetched);
      try {
        if (!flaws.keeps) return await honestCache.read(key, subject, () => fetched);
        kept.set(key, { kept: await fetched, subject });
        return { kept: await fetched, status: 'fwd=miss' };
      } finally {
        if (fetches.get(key) === fetched) fetches.delete(key);
      }
    },
    forget(changes) {
      honestCache.forget(changes);
      const books = new Set<unknown>(changes.books);
      for (const [key, { subject }] of kept) if (books.has(subject)) kept.delete(key);
    },
    forgetAll() {
      honestCache.forgetAll();
      kept.clear();
    },
  };
}

/** The acknowledgement that does not come soon is not needed. */
function giveUpEarly(
  { invalidate, after }: LeaseEffects,
  post: Parameters<LeaseEffects['invalidate']>,
): Promise<void> {
  return Promise.race([
    invalidate(...post),
    new Promise<void>((resolve) => void after(150, resolve)),
  ]);
}

function confirmAlways(effects: LeaseEffects): Leases {
  const leases = createLeases(effects);
  const granted = new Set<string>();
  return {
    ...leases,
    async renew(request) {
      if (request.epoch !== undefined && granted.has(request.epoch)) return request.epoch;
      const epoch = await leases.renew(request);
      granted.add(epoch);
      return epoch;
    },
  };
}

/** As if an acknowledgement went also for what was read after the post had left. */
function forgetWhileTelling(): Build {
  return {
    ...honest,
    leases(effects) {
      let underWay = 0;
      const leases = createLeases({
        ...effects,
        async invalidate(...post) {
          underWay += 1;
          await effects.invalidate(...post).finally(() => {
            underWay -= 1;
          });
        },
      });
      return {
        ...leases,
        note(...read) {
          if (underWay === 0) leases.note(...read);
        },
      };
    },
  };
}

/** The barrier is asked for in the same step in which a batch was applied. */
function forgetRepeats(): Build {
  let isRepeat = false;
  return {
    ...honest,
    catalogStore: (store): CatalogStore => ({
      ...store,
      async apply(operations) {
        const outcomes = await store.apply(operations);
        isRepeat = outcomes.every((outcome) => 'replayed' in outcome && outcome.replayed);
        return outcomes;
      },
    }),
    leases(effects) {
      const leases = createLeases(effects);
      return {
        ...leases,
        barrier: (changes) => (isRepeat ? undefined : leases.barrier(changes)),
      };
    },
  };
}
