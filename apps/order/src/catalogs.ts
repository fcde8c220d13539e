import {
  batchTimeoutMs,
  catalogInternal,
  type SaleOperation,
  type SaleOutcome,
} from '@bazar/contracts/internal';
import { splitUrls } from '@bazar/service';
import { connectReplicas, type Replicas } from '@bazar/service/replicas';
import type { AuditEffects } from './audit.js';
import type { Sell } from './purchase.js';
import type { ReadFeed } from './recovery.js';

/** What the order service asks of the catalog. */
export interface CatalogCalls {
  readonly sell: Sell;
  readonly readFeed: ReadFeed;
  readonly readTotals: AuditEffects['readTotals'];
}

export interface Catalogs extends CatalogCalls {
  close(): Promise<void>;
}

const policy = {
  /** One batch at a time, the feed's long poll, and an audit or two. */
  connections: 8,
  maxPending: 64,
  keepAliveTimeoutMs: 30_000,
  maxResponseBytes: 4 * 1024 * 1024,
  /** Beyond the time that a long poll waits by itself. */
  feedTimeoutMs: 5000,
};

export function connectCatalogs(urls: string, token: string | undefined): Catalogs {
  const catalogs = connectReplicas(catalogInternal, { urls: splitUrls(urls), token, ...policy });
  return { ...callsThrough(catalogs), close: catalogs.close };
}

/** What the use cases ask, as calls of the contract, each to the catalog whose turn it is. */
export function callsThrough(
  catalogs: Pick<Replicas<typeof catalogInternal>, 'next'>,
): CatalogCalls {
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
      const query = { limit, ...(after >= 0 && { after }) };
      return (await catalogs.next().totals({ query })).body;
    },
  };
}
