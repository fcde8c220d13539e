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
  const ready = async () => ({ ...(await options.ready?.()), storage: await storageHealth(store) });
  const app = createService({ ...options, ready, name: 'order' });
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

/** `ok`, or why no order can be logged; what a disk does besides is no matter of health. */
async function storageHealth(store: OrderStore): Promise<'ok' | Failure> {
  try {
    await store.assertRoom();
    return 'ok';
  } catch (error) {
    if (error instanceof Failure) return error;
    throw error;
  }
}
