import { type Failure, health } from '@bazar/contracts';
import {
  aged,
  batchTimeoutMs,
  catalogInternal,
  outcomesUnknown,
  ownFailure,
  patienceMs,
  type SaleOperation,
  type SaleOutcome,
} from '@bazar/contracts/internal';
import { splitUrls } from '@bazar/service';
import {
  askHealth,
  connectReplicas,
  type Replicas,
  type ReplicasLog,
  watchAddresses,
} from '@bazar/service/replicas';
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
  /** How many of them take part. */
  live(): number;
  /** `ok` if one of them can work, or what is wrong with them. */
  health(): Promise<'ok' | Failure>;
  close(): Promise<void>;
}

const policy = {
  calls: {
    /** Two batches at a time, the feed's long poll, and an audit or two. */
    connections: 8,
    maxPending: 64,
    keepAliveTimeoutMs: 30_000,
    maxResponseBytes: 4 * 1024 * 1024,
  },
  /** Asked over a connection of its own, which nothing else can hold up. */
  health: {
    connections: 1,
    maxPending: 64,
    keepAliveTimeoutMs: 30_000,
    maxResponseBytes: 64 * 1024,
  },
  healthTimeoutMs: 1000,
  /** Beyond the time that a long poll waits by itself. */
  feedTimeoutMs: 5000,
  /**
   * A healthy catalog may keep a batch for 150 ms and then for a second, until the lease of a gateway
   * that has died is over, and the batch before it as long. Only one that is silent for longer than
   * both has its batch sent to another catalog too.
   */
  saleAttemptMs: 3000,
  /** A page is read from memory, or by one query. */
  readAttemptMs: 2000,
};

export function connectCatalogs(
  urls: string,
  token: string | undefined,
  log: ReplicasLog,
): Catalogs {
  const addresses = watchAddresses(splitUrls(urls), { log });
  const catalogs = connectReplicas(catalogInternal, { addresses, token, log, ...policy.calls });
  const checks = connectReplicas(health, { addresses, log, ...policy.health });
  return {
    ...callsThrough(catalogs),
    live: catalogs.live,
    health: () => askHealth(checks, policy.healthTimeoutMs),
    async close() {
      addresses.close();
      await Promise.all([catalogs.close(), checks.close()]);
    },
  };
}

/** What the use cases ask, as calls of the contract. */
export function callsThrough(
  catalogs: Pick<Replicas<typeof catalogInternal>, 'ask'>,
): CatalogCalls {
  return {
    sell(operations: readonly SaleOperation[]): Promise<readonly SaleOutcome[]> {
      return catalogs.ask(
        async (catalog, { timeoutMs, spentMs, mayBeDone }) => {
          const updates = spentMs > 0 ? aged(operations, spentMs) : [...operations];
          const { body } = await catalog.updates({ body: { updates } }, { timeoutMs });
          const failure = ownFailure(body.outcomes);
          if (failure !== undefined) throw failure;
          return mayBeDone ? outcomesUnknown(body.outcomes) : body.outcomes;
        },
        { timeoutMs: batchTimeoutMs(operations), attemptTimeoutMs: policy.saleAttemptMs },
      );
    },
    readFeed(after, limit, waitMs, signal) {
      return catalogs.ask(
        async (catalog, { timeoutMs, spentMs }) => {
          const wait_ms = Math.max(0, Math.floor(waitMs - spentMs));
          const call = { timeoutMs, ...(signal !== undefined && { signal }) };
          return (await catalog.operations({ query: { after, limit, wait_ms } }, call)).body;
        },
        {
          timeoutMs: waitMs + policy.feedTimeoutMs,
          attemptTimeoutMs: waitMs + policy.readAttemptMs,
          isLongPoll: waitMs > 0,
        },
      );
    },
    readTotals(after, limit) {
      const query = { limit, ...(after >= 0 && { after }) };
      return catalogs.ask(
        async (catalog, { timeoutMs }) => (await catalog.totals({ query }, { timeoutMs })).body,
        { timeoutMs: patienceMs, attemptTimeoutMs: policy.readAttemptMs },
      );
    },
  };
}
