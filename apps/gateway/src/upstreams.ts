import { type Contract, catalog, type Failure, health, order } from '@bazar/contracts';
import {
  aged,
  batchTimeoutMs,
  catalogInternal,
  type LeaseEnd,
  orderInternal,
  outcomesUnknown,
  ownFailure,
} from '@bazar/contracts/internal';
import { splitUrls } from '@bazar/service';
import {
  askHealth,
  connectReplicas,
  type Replicas,
  type ReplicasLog,
  watchAddresses,
} from '@bazar/service/replicas';
import type { Config } from './config.js';
import type { LeaseEffects } from './lease.js';
import type { Purchase } from './purchase.js';

/** The services behind the gateway. */
export interface Upstreams {
  readonly catalog: Replicas<typeof catalog>;
  readonly orders: Replicas<typeof order>;
  /** Purchases go in batches, over connections of their own. */
  readonly purchases: Replicas<typeof orderInternal>;
  /** Leases are renewed over a connection of their own, which nothing else can hold up. */
  readonly leases: Replicas<typeof catalogInternal>;
  /** Per service `ok` if a replica is, or what is wrong with them, in their own words if they answer. */
  health(): Promise<{ catalog: 'ok' | Failure; order: 'ok' | Failure }>;
  close(): Promise<void>;
}

const policy = {
  reads: {
    connections: 64,
    maxPending: 2000,
    keepAliveTimeoutMs: 30_000,
    maxResponseBytes: 4 * 1024 * 1024,
  },
  batches: {
    connections: 4,
    maxPending: 16,
    keepAliveTimeoutMs: 30_000,
    maxResponseBytes: 4 * 1024 * 1024,
  },
  leases: {
    connections: 1,
    maxPending: 4,
    keepAliveTimeoutMs: 30_000,
    maxResponseBytes: 64 * 1024,
  },
  health: {
    connections: 1,
    maxPending: 64,
    keepAliveTimeoutMs: 30_000,
    maxResponseBytes: 64 * 1024,
  },
  /** An order service asks its catalog for a second, and is to say itself which of them is silent. */
  healthTimeoutMs: { catalog: 1000, order: 2000 },
  /**
   * An order service asks another catalog after three seconds of silence, and a slow one needs
   * another second. Whoever gave up on the order service before that would take the silence of a
   * catalog for its own, and have all of it done twice.
   */
  purchaseAttemptMs: 6000,
  /**
   * Asked for a third of a term after the last one, a lease whose catalog is silent is asked of
   * another so early that it does not lapse in between: 333 ms and 400 ms leave a quarter of a term.
   */
  leaseAttemptMs: 400,
};

export function connectUpstreams(config: Config, log: ReplicasLog): Upstreams {
  const { SERVICE_TOKEN: token } = config;
  const addresses = {
    catalog: watchAddresses(splitUrls(config.CATALOG_URLS), { log }),
    order: watchAddresses(splitUrls(config.ORDER_URLS), { log }),
  };
  const catalogs = { addresses: addresses.catalog, log };
  const orders = { addresses: addresses.order, log };
  const upstreams = {
    catalog: connectReplicas(catalog, { ...catalogs, ...policy.reads }),
    orders: connectReplicas(order, { ...orders, ...policy.reads }),
    leases: connectReplicas(catalogInternal, { ...catalogs, token, ...policy.leases }),
    purchases: connectReplicas(orderInternal, { ...orders, token, ...policy.batches }),
  };
  const checks = {
    catalog: connectReplicas(health, { ...catalogs, ...policy.health }),
    order: connectReplicas(health, { ...orders, ...policy.health }),
  };
  return {
    ...upstreams,
    async health() {
      const [catalogHealth, orderHealth] = await Promise.all([
        askHealth(checks.catalog, policy.healthTimeoutMs.catalog),
        askHealth(checks.order, policy.healthTimeoutMs.order),
      ]);
      return { catalog: catalogHealth, order: orderHealth };
    },
    async close() {
      for (const watched of Object.values(addresses)) watched.close();
      const all = [...Object.values(upstreams), ...Object.values(checks)];
      await Promise.all(all.map((replicas) => replicas.close()));
    },
  };
}

/** What of replicas the use cases need. */
type Asked<C extends Contract> = Pick<Replicas<C>, 'ask'>;

/** The batches of `createBuying`, as calls of the order service. */
export function purchaseThrough(purchases: Asked<typeof orderInternal>): Purchase {
  return (operations) =>
    purchases.ask(
      async (replica, { timeoutMs, spentMs, mayBeDone }) => {
        const items = spentMs > 0 ? aged(operations, spentMs) : [...operations];
        const { body } = await replica.purchases({ body: { purchases: items } }, { timeoutMs });
        const failure = ownFailure(body.outcomes);
        if (failure !== undefined) throw failure;
        return mayBeDone ? outcomesUnknown(body.outcomes) : body.outcomes;
      },
      { timeoutMs: batchTimeoutMs(operations), attemptTimeoutMs: policy.purchaseAttemptMs },
    );
}

/** The renewals of `createLease`: any catalog can grant them. */
export function renewThrough(leases: Asked<typeof catalogInternal>): LeaseEffects['renew'] {
  return (body, timeoutMs, onSend) =>
    leases.ask(
      async (replica, attempt) => {
        onSend();
        return (await replica.leases({ body }, { timeoutMs: attempt.timeoutMs })).body.epoch;
      },
      { timeoutMs, attemptTimeoutMs: policy.leaseAttemptMs },
    );
}

/** The end of a lease, told to any catalog. */
export function giveBackThrough(leases: Asked<typeof catalogInternal>) {
  return async (body: LeaseEnd, timeoutMs: number): Promise<void> => {
    await leases.ask(
      (replica, attempt) => replica.endLease({ body }, { timeoutMs: attempt.timeoutMs }),
      { timeoutMs, attemptTimeoutMs: timeoutMs },
    );
  };
}
