import { connectReplicas } from '@bazar/client/replicas';
import {
  batchTimeoutMs,
  catalogInternal,
  type SaleOperation,
  type SaleOutcome,
} from '@bazar/contracts/internal';
import { splitUrls } from '@bazar/service';
import type { AuditEffects } from './audit.js';
import type { Sell } from './purchase.js';
import type { ReadFeed } from './recovery.js';

/** What the order service asks of the catalog. */
export interface Catalogs {
  readonly sell: Sell;
  readonly readFeed: ReadFeed;
  readonly readTotals: AuditEffects['readTotals'];
  close(): Promise<void>;
}

const policy = {
  /** One batch at a time, the feed's long poll, and an audit or two. */
  connections: 8,
  keepAliveTimeoutMs: 30_000,
  maxResponseBytes: 4 * 1024 * 1024,
  /** Beyond the time that a long poll waits by itself. */
  feedTimeoutMs: 5000,
};

export function connectCatalogs(urls: string, token: string | undefined): Catalogs {
  const catalogs = connectReplicas(catalogInternal, { urls: splitUrls(urls), token, ...policy });
  return {
    async sell(operations: readonly SaleOperation[]): Promise<readonly SaleOutcome[]> {
      const timeoutMs = batchTimeoutMs(operations);
      const { body } = await catalogs
        .next()
        .updates({ body: { updates: [...operations] } }, { timeoutMs });
      return body.outcomes;
    },
    async readFeed(after, limit, waitMs, signal) {
      const query = { after, limit, wait_ms: waitMs };
      const timeoutMs = waitMs + policy.feedTimeoutMs;
      const call = { timeoutMs, ...(signal !== undefined && { signal }) };
      return (await catalogs.next().operations({ query }, call)).body;
    },
    async readTotals(after, limit) {
      return (await catalogs.next().totals({ query: { after, limit } })).body;
    },
    close: catalogs.close,
  };
}
