import { createLogger, runMain, serve } from '@bazar/service';
import { after } from './after.js';
import { buildGateway } from './app.js';
import { readGatewayConfig } from './config.js';
import { createBuying } from './purchase.js';
import { connectUpstreams, purchaseThrough } from './upstreams.js';

await runMain(async () => {
  const config = readGatewayConfig(process.env);
  const logger = createLogger('gateway', config.LOG_LEVEL);
  const upstreams = connectUpstreams(config);
  const buying = createBuying({ after, purchase: purchaseThrough(upstreams.purchases) });
  const app = buildGateway(upstreams, buying, { config, logger, ready: upstreams.health });
  await serve({
    app,
    host: config.HOST,
    port: config.PORT,
    name: 'gateway',
    async close() {
      await buying.close();
      await upstreams.close();
    },
  });
});
