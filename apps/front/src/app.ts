import { createService, type FastifyInstance, type ServiceOptions } from '@bazar/service';
import type { Front } from './front.js';

/**
 * What the front tells of itself, at a port of its own: at the one that customers know everything
 * goes to a gateway. It has the health, metrics and documents of any service, and is ready while a
 * gateway takes connections.
 */
export function buildFrontApp(
  front: Pick<Front, 'live'>,
  options: Pick<ServiceOptions, 'config' | 'logger' | 'metrics'>,
): FastifyInstance {
  const ready = () => ({
    gateways: front.live() > 0 ? 'ok' : 'none of them takes connections',
  });
  return createService({ name: 'front', ready, ...options });
}
