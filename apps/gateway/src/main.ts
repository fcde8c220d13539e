import { randomUUID } from 'node:crypto';
import {
  after,
  createLogger,
  createMetrics,
  createSampler,
  reasonOf,
  recordedTrace,
  runMain,
  serve,
  switchLevelOnSignal,
} from '@bazar/service';
import { buildGateway } from './app.js';
import { createCache } from './cache.js';
import { readGatewayConfig } from './config.js';
import { createLease } from './lease.js';
import { batchMeter, showGateway } from './metrics.js';
import { createBuying } from './purchase.js';
import { connectUpstreams, giveBackThrough, purchaseThrough, renewThrough } from './upstreams.js';

await runMain(async () => {
  const config = readGatewayConfig(process.env);
  const logger = createLogger('gateway', config.LOG_LEVEL);
  switchLevelOnSignal(logger);
  const upstreams = connectUpstreams(config, (level, sentence, cause) =>
    logger[level]({ reason: reasonOf(cause) }, sentence),
  );
  const metrics = createMetrics();
  const buying = createBuying({
    after,
    onBatch: batchMeter(metrics),
    onDone({ traceparent, request_id: reqId, order_id, item_id }, { result }, ms) {
      const trace = recordedTrace(traceparent);
      if (trace === undefined) return;
      const line = { reqId, trace, order_id, item_id, result, ms: Math.round(ms * 10) / 10 };
      logger.info(line, 'a purchase was answered');
    },
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
    log: (level, sentence, cause) =>
      logger[level](cause ? { reason: reasonOf(cause) } : {}, sentence),
  });
  showGateway(metrics, { buying, cache, lease });
  const app = buildGateway(
    {
      upstreams,
      buying,
      cache,
      lease,
      sample: createSampler({ isAll: () => logger.isLevelEnabled('debug') }),
    },
    { config, logger, metrics, ready: upstreams.health },
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
