import { Failure, gateway } from '@bazar/contracts';
import { gatewayInternal } from '@bazar/contracts/internal';
import {
  createService,
  type FastifyInstance,
  isLoopback,
  mount,
  type Sample,
  type ServiceOptions,
} from '@bazar/service';
import cors from '@fastify/cors';
import rateLimit from '@fastify/rate-limit';
import type { Cache } from './cache.js';
import type { Config } from './config.js';
import { gatewayHandlers, internalHandlers } from './handlers.js';
import type { Lease } from './lease.js';
import type { Buying } from './purchase.js';
import { createShedding } from './shedding.js';
import type { Upstreams } from './upstreams.js';

/** Headers that a page on another origin may read. */
const exposedHeaders = [
  'Link',
  'Idempotency-Replayed',
  'Cache-Status',
  'Retry-After',
  'ETag',
  'x-request-id',
];

/** Room for the books of the largest batches of changes. */
const changesBytes = 1024 * 1024;

const loopbackOrigin = /^https?:\/\/(localhost|127\.\d+\.\d+\.\d+|\[::1\])(:\d+)?$/;

/** What the gateway is made of. */
export interface Parts {
  readonly upstreams: Upstreams;
  readonly buying: Buying;
  readonly cache: Cache;
  readonly lease: Lease;
  /** Decides which requests are recorded; all are as they ask unless told. */
  readonly sample?: Sample;
}

/** The gateway over HTTP. It listens to nobody yet: `main.ts` does that. */
export function buildGateway(
  { upstreams, buying, cache, lease, sample }: Parts,
  options: Omit<ServiceOptions, 'name'> & { readonly config: Config },
): FastifyInstance {
  const { CORS_ORIGINS, HOST, RATE_LIMIT, SERVICE_TOKEN } = options.config;
  const app = createService({
    ...options,
    name: 'gateway',
    // With a limit every request is counted by address, which the short way does not do.
    ...(RATE_LIMIT === undefined && { shortcut: cache.look }),
    shed: createShedding(buying),
    urgent: Object.values(gatewayInternal).map(({ url }) => url),
  });
  app.register(cors, {
    origin: CORS_ORIGINS?.split(/ *, */) ?? (isLoopback(HOST) ? loopbackOrigin : false),
    methods: ['GET', 'POST'],
    exposedHeaders,
    maxAge: 600,
    // A bare OPTIONS would get an answer of the plugin's own, which is no problem document.
    strictPreflight: false,
  });
  if (RATE_LIMIT !== undefined) {
    app.register(rateLimit, {
      max: RATE_LIMIT,
      timeWindow: 1000,
      allowList: ({ url }) =>
        url.startsWith('/health/') || url === gatewayInternal.invalidations.url,
      errorResponseBuilder: (_request, { max }) =>
        new Failure('too_many_requests', `at most ${max} requests a second are taken`, {
          retryAfterSeconds: 1,
        }),
    });
  }
  // Nobody should have to find out that this gateway does not hear of changes any more.
  app.addHook('preClose', lease.stop);
  mount(
    app,
    gateway,
    gatewayHandlers({ upstreams, buying, cache, instance: lease.instance, sample }),
    { ownTime: ['purchase'] },
  );
  mount(app, gatewayInternal, internalHandlers(cache, lease), {
    token: SERVICE_TOKEN,
    bodyLimitBytes: changesBytes,
    hidden: true,
    ownTime: true,
  });
  return app;
}
