import { Failure, orderAdmin, order as publicContract } from '@bazar/contracts';
import { type After, orderInternal } from '@bazar/contracts/internal';
import {
  after,
  createService,
  type FastifyInstance,
  mount,
  type Sample,
  type ServiceOptions,
} from '@bazar/service';
import type { AuditEffects } from './audit.js';
import type { Config } from './config.js';
import { adminHandlers, internalHandlers, publicHandlers } from './handlers.js';
import type { Purchases } from './purchase.js';
import type { OrderStore } from './store.js';

/** Room for the largest batch of purchases. */
const batchBytes = 1024 * 1024;

/** The order service over HTTP. It listens to nobody yet: `main.ts` does that. */
export function buildOrder(
  purchases: Purchases,
  audit: AuditEffects,
  options: Omit<ServiceOptions, 'name'> & {
    readonly config: Config;
    readonly after?: After;
    /** Decides which purchases are recorded. */
    readonly sample?: Sample;
  },
): FastifyInstance {
  const { store } = audit;
  const ready = async () => {
    const [others, storage] = await Promise.all([options.ready?.(), storageHealth(store)]);
    return { ...others, storage };
  };
  const urgent = Object.values(orderInternal).map(({ url }) => url);
  const app = createService({ ...options, ready, urgent, name: 'order' });
  const { ADMIN_TOKEN, SERVICE_TOKEN } = options.config;
  mount(
    app,
    publicContract,
    publicHandlers(store, purchases, options.after ?? after, options.sample),
    { ownTime: ['purchase'] },
  );
  mount(app, orderAdmin, adminHandlers(audit), { token: ADMIN_TOKEN });
  mount(app, orderInternal, internalHandlers(purchases), {
    token: SERVICE_TOKEN,
    bodyLimitBytes: batchBytes,
    hidden: true,
    // Each of a batch has its own.
    ownTime: true,
  });
  return app;
}

/** A database that is silent for longer is away, for whoever asks whether an order can be logged. */
const storageTimeoutMs = 1000;

/** `ok`, or why no order can be logged; what a disk does besides is no matter of health. */
async function storageHealth(store: OrderStore): Promise<'ok' | Failure> {
  // Not only what the last writing of an order has shown: perhaps nobody has bought since.
  const asked = Promise.all([store.catalogId(), store.assertRoom()]);
  const state: Promise<'ok' | Failure> = asked.then(
    () => 'ok',
    (error: unknown) => {
      if (error instanceof Failure) return error;
      throw error;
    },
  );
  const silent = new Failure('unavailable', `nothing was heard of it for ${storageTimeoutMs} ms`);
  return inTime(state, storageTimeoutMs, silent);
}

async function inTime<T>(work: Promise<T>, ms: number, late: T): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const up = new Promise<T>((resolve) => {
    timer = setTimeout(resolve, ms, late);
  });
  return Promise.race([work, up]).finally(() => clearTimeout(timer));
}
