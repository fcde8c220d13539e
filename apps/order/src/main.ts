import { createLogger, runMain, StartError, serve } from '@bazar/service';
import { nodeDisk, troubleOf } from '@bazar/storage';
import { after } from './after.js';
import { buildOrder } from './app.js';
import { connectCatalogs } from './catalogs.js';
import { readOrderConfig } from './config.js';
import { createPurchases } from './purchase.js';
import { createRecovery } from './recovery.js';
import { openCsvStore } from './store/csv.js';

await runMain(async () => {
  const config = readOrderConfig(process.env);
  const logger = createLogger('order', config.LOG_LEVEL);
  const stopAtOnce = (error: Error, sentence: string) => {
    logger.fatal(error, sentence);
    process.exit(1);
  };
  const store = await openCsvStore({
    disk: nodeDisk,
    folder: config.DATA_DIR,
    monotonic: () => performance.now(),
    log: (level, sentence) => logger[level](sentence),
    // What was acknowledged is safe; going on could acknowledge what is not.
    onBroken: (error) => stopAtOnce(error, 'the order log failed: the service stops at once'),
  }).catch((error: unknown) => {
    const trouble = troubleOf(error);
    if (trouble === undefined) throw error;
    throw new StartError(`The order service cannot start: ${trouble}`, { cause: error });
  });
  const catalogs = connectCatalogs(config.CATALOG_URLS, config.SERVICE_TOKEN);
  const purchases = createPurchases({
    store,
    sell: catalogs.sell,
    assertOpen: () => recovery.assertOpen(),
    onFailure(failure, { request_id: reqId, order_id }) {
      logger.warn({ reqId, order_id, code: failure.code, err: failure.cause }, failure.message);
    },
  });
  const recovery = createRecovery({
    store,
    readFeed: catalogs.readFeed,
    recover: purchases.recover,
    isInFlight: purchases.isInFlight,
    after,
    log: (level, sentence, cause) => logger[level]({ err: cause }, sentence),
    onContradiction: (error) => stopAtOnce(error, error.message),
  });
  const app = buildOrder(
    purchases,
    { store, readFeed: catalogs.readFeed, readTotals: catalogs.readTotals },
    { config, logger, ready: () => ({ catalog: recovery.health() }) },
  );
  recovery.start();
  await serve({
    app,
    host: config.HOST,
    port: config.PORT,
    name: 'order',
    async close() {
      await recovery.stop();
      await purchases.close();
      await catalogs.close();
      await store.close();
    },
  });
});
