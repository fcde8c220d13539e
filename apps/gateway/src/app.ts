import { Failure, gateway } from '@bazar/contracts';
import {
  createService,
  type FastifyInstance,
  isLoopback,
  mount,
  type ServiceOptions,
} from '@bazar/service';
import cors from '@fastify/cors';
import rateLimit from '@fastify/rate-limit';
import type { Config } from './config.js';
import { gatewayHandlers } from './handlers.js';
import type { Buying } from './purchase.js';
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

const loopbackOrigin = /^https?:\/\/(localhost|127\.\d+\.\d+\.\d+|\[::1\])(:\d+)?$/;

/** The gateway over HTTP. It listens to nobody yet: `main.ts` does that. */
export function buildGateway(
  upstreams: Upstreams,
  buying: Buying,
  options: Omit<ServiceOptions, 'name'> & { readonly config: Config },
): FastifyInstance {
  const app = createService({ ...options, name: 'gateway' });
  const { CORS_ORIGINS, HOST, RATE_LIMIT } = options.config;
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
      allowList: (request) => request.url.startsWith('/health/'),
      errorResponseBuilder: (_request, { max }) =>
        new Failure('too_many_requests', `at most ${max} requests a second are taken`, {
          retryAfterSeconds: 1,
        }),
    });
  }
  mount(app, gateway, gatewayHandlers(upstreams, buying));
  return app;
}
