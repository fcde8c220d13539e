import { accusesUs, Failure } from '@bazar/contracts';
import {
  after,
  createFailureLog,
  createLogger,
  createMetrics,
  createSampler,
  type Metrics,
  reasonOf,
  recordedTrace,
  runMain,
  StartError,
  serve,
  switchLevelOnSignal,
  syncMeter,
  timed,
} from '@bazar/service';
import { nodeDisk, timedDisk, troubleOf } from '@bazar/storage';
import { buildOrder } from './app.js';
import { connectCatalogs } from './catalogs.js';
import { type Config, readOrderConfig } from './config.js';
import { batchMeter, showOrder } from './metrics.js';
import { createPurchases } from './purchase.js';
import { Contradiction, compareWithFeed, createRecovery, type ReadFeed } from './recovery.js';
import { openCsvStore } from './store/csv.js';
import type { OrderStore } from './store.js';

/** As many sales as recovery looks at once. */
const firstLookSales = 1000;

/**
 * Looks once before anybody is let in; a catalog that does not answer is asked again later.
 * @throws StartError when log and catalog contradict each other
 */
async function assertAgreement(store: OrderStore, readFeed: ReadFeed): Promise<void> {
  try {
    const reach = await store.reach();
    await compareWithFeed(store, await readFeed(reach.watermark, firstLookSales, 0), reach);
  } catch (error) {
    if (!(error instanceof Contradiction)) return;
    throw new StartError(`The order service cannot start: ${error.message}.`, { cause: error });
  }
}

type Logger = ReturnType<typeof createLogger>;

/** What was acknowledged is safe; going on could acknowledge what is not. */
function stopAtOnce(logger: Logger) {
  return (error: Error) => {
    logger.fatal(error, 'the order log failed: the service stops at once');
    process.exit(1);
  };
}

async function openFiles(config: Config, logger: Logger, metrics: Metrics): Promise<OrderStore> {
  return openCsvStore({
    disk: timedDisk(nodeDisk, syncMeter(metrics)),
    folder: config.DATA_DIR,
    monotonic: () => performance.now(),
    log: (level, sentence) => logger[level](sentence),
    onBroken: stopAtOnce(logger),
  }).catch((error: unknown) => {
    const trouble = troubleOf(error);
    if (trouble === undefined) throw error;
    throw new StartError(`The order service cannot start: ${trouble}`, { cause: error });
  });
}

async function openDatabase(url: string, logger: Logger, metrics: Metrics): Promise<OrderStore> {
  // Loaded only here: a shop of files has no use for it.
  const { openPostgresStore } = await import('./store/postgres.js');
  const store = await openPostgresStore({
    url,
    monotonic: () => performance.now(),
    log: (level, sentence) => logger[level](sentence),
    onBroken: stopAtOnce(logger),
  }).catch((error: unknown) => {
    if (!(error instanceof Error && error.name === 'DatabaseError')) throw error;
    throw new StartError(`The order service cannot start: ${error.message}.`, { cause: error });
  });
  return { ...store, append: timed(store.append, syncMeter(metrics)) };
}

await runMain(async () => {
  const config = readOrderConfig(process.env);
  const logger = createLogger('order', config.LOG_LEVEL);
  switchLevelOnSignal(logger);
  const metrics = createMetrics();
  const store =
    config.DATABASE_URL === undefined
      ? await openFiles(config, logger, metrics)
      : await openDatabase(config.DATABASE_URL, logger, metrics);
  const catalogs = connectCatalogs(
    config.CATALOG_URLS,
    config.SERVICE_TOKEN,
    (level, sentence, cause) => logger[level]({ reason: reasonOf(cause) }, sentence),
  );
  await assertAgreement(store, catalogs.readFeed);
  const logFailure = createFailureLog(logger);
  const purchases = createPurchases({
    store,
    sell: catalogs.sell,
    catalogs: catalogs.live,
    assertOpen: () => recovery.assertOpen(),
    onDone(operation, { result }) {
      const trace = recordedTrace(operation.traceparent);
      if (trace === undefined) return;
      const { request_id: reqId, order_id, item_id } = operation;
      logger.info({ reqId, trace, order_id, item_id, result }, 'a purchase was made');
    },
    onBatch: batchMeter(metrics),
    onFailure(failure, { request_id: reqId, order_id }) {
      logFailure(failure, 'purchase', { reqId, order_id });
    },
  });
  const recovery = createRecovery({
    store,
    readFeed: catalogs.readFeed,
    recover: purchases.recover,
    isInFlight: purchases.isInFlight,
    // A purchase takes this long when the lease of a gateway that has died must run out.
    patienceMs: config.DATABASE_URL === undefined ? 0 : 2000,
    after,
    log(level, sentence, cause) {
      // What other services are expected to fail at needs no stack; what nobody foresaw does.
      const why = cause instanceof Failure ? { reason: reasonOf(cause) } : { err: cause };
      logger[accusesUs(cause) ? 'error' : level](why, sentence);
    },
    // The reason is the last line, without a stack: what a person is to read and to do.
    onContradiction(error) {
      logger.fatal(error.message);
      process.exit(1);
    },
  });
  showOrder(metrics, { store, purchases, recovery });
  const app = buildOrder(
    purchases,
    { store, readFeed: catalogs.readFeed, readTotals: catalogs.readTotals },
    {
      sample: createSampler({ isAll: () => logger.isLevelEnabled('debug') }),
      config,
      logger,
      metrics,
      async ready() {
        // Asked of the catalog itself: recovery may wait for it for seconds before it says so.
        const catalog = await catalogs.health();
        return { catalog, recovery: recovery.health() };
      },
    },
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
      logFailure.flush();
    },
  });
});
