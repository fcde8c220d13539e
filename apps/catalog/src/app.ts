import { catalogAdmin, catalog as publicContract } from '@bazar/contracts';
import { catalogInternal } from '@bazar/contracts/internal';
import { createService, type FastifyInstance, mount, type ServiceOptions } from '@bazar/service';
import type { Catalog } from './catalog.js';
import type { Config } from './config.js';
import { adminHandlers, internalHandlers, publicHandlers } from './handlers.js';

/** Room for the largest batch of operations. */
const batchBytes = 1024 * 1024;

/** The catalog service over HTTP. It listens to nobody yet: `main.ts` does that. */
export function buildCatalog(
  catalog: Catalog,
  options: Omit<ServiceOptions, 'name'> & { readonly config: Config },
): FastifyInstance {
  const ready = async () => ({ storage: await catalog.health() });
  const urgent = Object.values(catalogInternal).map(({ url }) => url);
  const app = createService({ ready, urgent, ...options, name: 'catalog' });
  const { ADMIN_TOKEN, SERVICE_TOKEN } = options.config;
  mount(app, publicContract, publicHandlers(catalog));
  mount(app, catalogAdmin, adminHandlers(catalog), { token: ADMIN_TOKEN, ownTime: true });
  mount(app, catalogInternal, internalHandlers(catalog), {
    token: SERVICE_TOKEN,
    bodyLimitBytes: batchBytes,
    hidden: true,
    // Each of a batch has its own.
    ownTime: true,
  });
  app.addHook('preClose', async () => catalog.hurry());
  return app;
}
