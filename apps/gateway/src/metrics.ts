import { batchBuckets, type Metrics } from '@bazar/service';
import type { Cache } from './cache.js';
import type { Lease } from './lease.js';
import type { Buying } from './purchase.js';

/** Watches the batches that go to the order service. */
export function batchMeter(metrics: Metrics): (purchases: number) => void {
  return metrics.histogram({
    name: 'bazar_purchase_batch_size',
    help: 'Purchases in one call of the order service.',
    buckets: batchBuckets,
  });
}

/** What the gateway shows of itself, besides its answers. */
export function showGateway(
  metrics: Metrics,
  {
    buying,
    cache,
    lease,
  }: {
    readonly buying: Pick<Buying, 'waiting'>;
    readonly cache: Pick<Cache, 'counts' | 'entries' | 'invalidations'>;
    readonly lease: Pick<Lease, 'isLive' | 'leftMs'>;
  },
): void {
  metrics.gauge(
    { name: 'bazar_purchases_waiting', help: 'Purchases that wait for a call.' },
    buying.waiting,
  );
  metrics.counter(
    {
      name: 'bazar_cache_reads_total',
      help: 'Reads that were answered from memory (hit), by the catalog (miss), or together with another reader of the same (collapsed).',
      labels: ['status'],
    },
    () => Object.entries(cache.counts()).map(([status, value]) => ({ labels: { status }, value })),
  );
  metrics.counter(
    {
      name: 'bazar_cache_invalidations_total',
      help: 'Changes that the catalogs told of.',
    },
    cache.invalidations,
  );
  metrics.gauge({ name: 'bazar_cache_entries', help: 'Answers that are kept.' }, cache.entries);
  metrics.gauge(
    { name: 'bazar_lease_live', help: '1 while answers may be served from memory, else 0.' },
    () => (lease.isLive() ? 1 : 0),
  );
  metrics.gauge(
    {
      name: 'bazar_lease_left_seconds',
      help: 'For how long they still may, if the lease is not confirmed again.',
    },
    () => lease.leftMs() / 1000,
  );
}
