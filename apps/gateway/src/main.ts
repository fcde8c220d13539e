import { randomUUID } from 'node:crypto';
import { createLogger, reasonOf, runMain, serve } from '@bazar/service';
import { after } from './after.js';
import { buildGateway } from './app.js';
import { createCache } from './cache.js';
import { readGatewayConfig } from './config.js';
import { createLease } from './lease.js';
import { createBuying } from './purchase.js';
import { connectUpstreams, giveBackThrough, purchaseThrough, renewThrough } from './upstreams.js';

await runMain(async () => {
  const config = readGatewayConfig(process.env);
  const logger = createLogger('gateway', config.LOG_LEVEL);
  const upstreams = connectUpstreams(config, (level, sentence, cause) =>
    logger[level]({ reason: reasonOf(cause) }, sentence),
  );
  const buying = createBuying({
    after,
    purchase: purchaseThrough(upstreams.purchases),
    replicas: upstreams.purchases.live,
  });
  const cache = createCache({ isLive: () => lease.isLive() });
  const lease = createLease({
    renew: renewThrough(upstreams.leases),
    giveBack: giveBackThrough(upstreams.leases),
    onNewEpoch: cache.forgetAll,
    after,
    monotonic: () => performance.now(),
    wall: Date.now,
    newId: randomUUID,
    log: (level, sentence, err) => logger[level]({ err }, sentence),
  });
  const app = buildGateway(
    { upstreams, buying, cache, lease },
    { config, logger, ready: upstreams.health },
  );
  const url = await serve({
    app,
    host: config.HOST,
    port: config.PORT,
    name: 'gateway',
    async close() {
      await buying.close();
      await upstreams.close();
    },
  });
  lease.start(new URL(config.PUBLIC_URL ?? url).origin);
});
