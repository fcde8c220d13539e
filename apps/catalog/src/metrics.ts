import { batchBuckets, type Metrics, secondsBuckets } from '@bazar/service';
import type { Catalog } from './catalog.js';
import type { Leases } from './leases.js';
import type { CatalogStore } from './store.js';

/** Watches the batches that are committed. */
export function batchMeter(metrics: Metrics): (operations: number) => void {
  return metrics.histogram({
    name: 'bazar_commit_batch_size',
    help: 'Sales and changes in one commit.',
    buckets: batchBuckets,
  });
}

/** The same leases; shows how long writers wait for gateways. */
export function meteredLeases(
  metrics: Metrics,
  leases: Leases,
  now: () => number = () => performance.now(),
): Leases {
  const observe = metrics.histogram({
    name: 'bazar_invalidation_seconds',
    help: 'How long a commit waited until no gateway served what was before it.',
    buckets: secondsBuckets,
  });
  metrics.gauge(
    {
      name: 'bazar_leases',
      help: 'Gateways that may keep answers (live), and those whose lease is let run out (evicting).',
      labels: ['state'],
    },
    async () =>
      Object.entries(await leases.counts()).map(([state, value]) => ({ labels: { state }, value })),
  );
  return {
    ...leases,
    barrier(changes, batch) {
      const told = leases.barrier(changes, batch);
      if (told === undefined) return undefined;
      const from = now();
      return told.finally(() => observe((now() - from) / 1000));
    },
  };
}

/** What the catalog shows of itself, besides its answers. */
export function showCatalog(
  metrics: Metrics,
  {
    catalog,
    store,
  }: {
    readonly catalog: Pick<Catalog, 'waiting'>;
    readonly store: Pick<CatalogStore, 'totals'>;
  },
): void {
  metrics.gauge(
    { name: 'bazar_operations_waiting', help: 'Sales and changes that wait for a commit.' },
    catalog.waiting,
  );
  metrics.counter(
    { name: 'bazar_sales_total', help: 'Copies sold, since the shop was opened.' },
    async () => (await store.totals(0, 1)).sale,
  );
}
