import { batchBuckets, type Metrics } from '@bazar/service';
import type { Purchases } from './purchase.js';
import type { Recovery } from './recovery.js';
import type { OrderStore } from './store.js';

/** Watches the batches: calls of the catalog, and writes of the log. */
export function batchMeter(metrics: Metrics) {
  const observe = {
    sales: metrics.histogram({
      name: 'bazar_sale_batch_size',
      help: 'Purchases in one call of the catalog.',
      buckets: batchBuckets,
    }),
    log: metrics.histogram({
      name: 'bazar_log_batch_size',
      help: 'Orders in one write of the order log.',
      buckets: batchBuckets,
    }),
  };
  return (kind: 'sales' | 'log', purchases: number) => observe[kind](purchases);
}

/** What the order service shows of itself, besides its answers. */
export function showOrder(
  metrics: Metrics,
  {
    store,
    purchases,
    recovery,
  }: {
    readonly store: Pick<OrderStore, 'reach'>;
    readonly purchases: Pick<Purchases, 'waiting'>;
    readonly recovery: Pick<Recovery, 'gap'>;
  },
): void {
  metrics.gauge(
    {
      name: 'bazar_purchases_waiting',
      help: 'Purchases that wait for a call of the catalog (sales), or for a write of the log (log).',
      labels: ['kind'],
    },
    () => Object.entries(purchases.waiting()).map(([kind, value]) => ({ labels: { kind }, value })),
  );
  metrics.counter(
    {
      name: 'bazar_sales_logged_total',
      help: 'The order log is complete up to the sale of this number.',
    },
    async () => (await store.reach()).watermark,
  );
  metrics.gauge(
    {
      name: 'bazar_conservation_gap',
      help: 'Sales of the catalog that the order log lacked when it was compared last, less those that are on their way to it; more than 0 for longer than a moment is a loss.',
    },
    recovery.gap,
  );
}
