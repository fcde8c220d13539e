import { Failure, gateway } from '@bazar/contracts';
import { gatewayInternal } from '@bazar/contracts/internal';
import {
  createService,
  type FastifyInstance,
  isLoopback,
  mount,
  type Sample,
  type ServiceOptions,
  splitList,
  tokenCheck,
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

/** Routes for those who look after the shop: health, figures, and the documents with their files. */
const lookedAfter = /^\/(health\/live|health\/ready|metrics|docs(\/.*)?)$/;

/**
 * Counts the requests of each address: those to its routes, and those to none, which cost about as
 * much. Not counted is what looks after the shop; and what the catalogs tell, who would else keep
 * sales waiting. But whoever tries tokens is no catalog.
 */
function limitRate(app: FastifyInstance, max: number, token: string | undefined): void {
  const isOfCatalog = token === undefined ? () => true : tokenCheck(token);
  app.register(rateLimit, {
    global: false,
    max,
    timeWindow: 1000,
    allowList(request) {
      // The pattern of the route, so that nothing is taken for one by how its path begins.
      const { url = '' } = request.routeOptions;
      if (url === gatewayInternal.invalidations.url) return isOfCatalog(request);
      return lookedAfter.test(url);
    },
    errorResponseBuilder: (_request, { max }) =>
      new Failure('too_many_requests', `at most ${max} requests a second are taken`, {
        retryAfterSeconds: 1,
      }),
  });
  app.after(() => app.addHook('onRequest', app.rateLimit()));
}

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
  const { CORS_ORIGINS, HOST, RATE_LIMIT, SERVICE_TOKEN, TRUST_PROXY } = options.config;
  const app = createService({
    ...options,
    name: 'gateway',
    // With a limit every request is counted by address, which the short way does not do.
    ...(RATE_LIMIT === undefined && { shortcut: cache.look }),
    ...(TRUST_PROXY !== undefined && { trustProxy: splitList(TRUST_PROXY) }),
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
  if (RATE_LIMIT !== undefined) limitRate(app, RATE_LIMIT, SERVICE_TOKEN);
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
