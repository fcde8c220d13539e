import { catalog, Failure, health, order } from '@bazar/contracts';
import {
  batchTimeoutMs,
  catalogInternal,
  type LeaseEnd,
  type LeaseRequest,
  orderInternal,
} from '@bazar/contracts/internal';
import { splitUrls } from '@bazar/service';
import { connectReplicas, type Replicas } from '@bazar/service/replicas';
import type { Config } from './config.js';
import type { Purchase } from './purchase.js';

/** The services behind the gateway. */
export interface Upstreams {
  readonly catalog: Replicas<typeof catalog>;
  readonly orders: Replicas<typeof order>;
  /** Purchases go in batches, over connections of their own. */
  readonly purchases: Replicas<typeof orderInternal>;
  /** Leases are renewed over a connection of their own, which nothing else can hold up. */
  readonly leases: Replicas<typeof catalogInternal>;
  /** Per service `ok`, or what is wrong with it, in its own words if it answers. */
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
  healthTimeoutMs: 1000,
};

export function connectUpstreams(config: Config): Upstreams {
  const { SERVICE_TOKEN: token } = config;
  const catalogUrls = splitUrls(config.CATALOG_URLS);
  const orderUrls = splitUrls(config.ORDER_URLS);
  const upstreams = {
    catalog: connectReplicas(catalog, { urls: catalogUrls, ...policy.reads }),
    orders: connectReplicas(order, { urls: orderUrls, ...policy.reads }),
    leases: connectReplicas(catalogInternal, { urls: catalogUrls, token, ...policy.leases }),
    purchases: connectReplicas(orderInternal, { urls: orderUrls, token, ...policy.batches }),
  };
  const checks = {
    catalog: connectReplicas(health, { urls: catalogUrls, ...policy.health }),
    order: connectReplicas(health, { urls: orderUrls, ...policy.health }),
  };
  return {
    ...upstreams,
    async health() {
      const [catalogHealth, orderHealth] = await Promise.all([
        askHealth(checks.catalog),
        askHealth(checks.order),
      ]);
      return { catalog: catalogHealth, order: orderHealth };
    },
    async close() {
      const all = [...Object.values(upstreams), ...Object.values(checks)];
      await Promise.all(all.map((replicas) => replicas.close()));
    },
  };
}

/** The batches of `createBuying`, each sent to the order service whose turn it is. */
export function purchaseThrough(purchases: Pick<Replicas<typeof orderInternal>, 'next'>): Purchase {
  return async (operations) => {
    const timeoutMs = batchTimeoutMs(operations);
    const input = { body: { purchases: [...operations] } };
    return (await purchases.next().purchases(input, { timeoutMs })).body.outcomes;
  };
}

/** The renewals of `createLease`, each asked of the catalog whose turn it is. */
export function renewThrough(leases: Pick<Replicas<typeof catalogInternal>, 'next'>) {
  return async (body: LeaseRequest, timeoutMs: number): Promise<string> =>
    (await leases.next().leases({ body }, { timeoutMs })).body.epoch;
}

/** The end of a lease, told to the catalog whose turn it is. */
export function giveBackThrough(leases: Pick<Replicas<typeof catalogInternal>, 'next'>) {
  return async (body: LeaseEnd, timeoutMs: number): Promise<void> => {
    await leases.next().endLease({ body }, { timeoutMs });
  };
}

async function askHealth(replicas: Replicas<typeof health>): Promise<'ok' | Failure> {
  try {
    await replicas.next().ready({}, { timeoutMs: policy.healthTimeoutMs });
    return 'ok';
  } catch (error) {
    if (error instanceof Failure) return error;
    throw error;
  }
}
