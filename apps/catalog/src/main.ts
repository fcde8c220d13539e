import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import {
  after,
  createFailureLog,
  createLogger,
  createMetrics,
  type Metrics,
  recordedTrace,
  runMain,
  StartError,
  serve,
  switchLevelOnSignal,
  syncMeter,
  timed,
} from '@bazar/service';
import { nodeDisk, openReserve, timedDisk, troubleOf } from '@bazar/storage';
import { buildCatalog } from './app.js';
import { type CatalogEffects, createCatalog } from './catalog.js';
import { type Config, readCatalogConfig } from './config.js';
import { connectGateways } from './gateways.js';
import { createLeases, type LeaseEffects, type Leases } from './leases.js';
import { batchMeter, meteredLeases, showCatalog } from './metrics.js';
import { createSharedLeases, type SharedLeases } from './shared-leases.js';
import { openCsvStore } from './store/csv.js';

type Logger = ReturnType<typeof createLogger>;

/** As much room as a full batch takes. */
const probeBytes = 256 * 1024;

/** Takes the room and gives it back. */
async function hasRoom(path: string): Promise<boolean> {
  const probe = await openReserve(nodeDisk, path, probeBytes);
  return (await probe.fill()) && probe.spend();
}

/** The store, what else is asked of where it is, and the leases that go with it. */
interface Storage extends Pick<CatalogEffects, 'store' | 'hasRoom' | 'health'> {
  readonly openLeases: (effects: LeaseEffects) => Leases & Partial<Pick<SharedLeases, 'stop'>>;
}

async function openFiles(config: Config, logger: Logger, metrics: Metrics): Promise<Storage> {
  const store = await openCsvStore({
    disk: timedDisk(nodeDisk, syncMeter(metrics)),
    folder: config.DATA_DIR,
    now: Date.now,
    after,
    newId: randomUUID,
    log: (level, sentence) => logger[level](sentence),
    onBroken(error) {
      // What was acknowledged is safe; going on could acknowledge what is not.
      logger.fatal(error, 'the disk failed: the service stops at once');
      process.exit(1);
    },
  }).catch((error: unknown) => {
    const trouble = troubleOf(error);
    if (trouble === undefined) throw error;
    throw new StartError(`The catalog service cannot start: ${trouble}`, { cause: error });
  });
  return {
    store,
    hasRoom: () => hasRoom(join(config.DATA_DIR, 'catalog_room.probe')),
    openLeases: createLeases,
  };
}

async function openDatabase(url: string, logger: Logger, metrics: Metrics): Promise<Storage> {
  // Loaded only here: a shop of files has no use for it.
  const { openPostgresStore } = await import('./store/postgres.js');
  const store = await openPostgresStore({
    url,
    now: Date.now,
    newId: randomUUID,
    log: (level, sentence) => logger[level](sentence),
  }).catch((error: unknown) => {
    if (!(error instanceof Error && error.name === 'DatabaseError')) throw error;
    throw new StartError(`The catalog service cannot start: ${error.message}.`, { cause: error });
  });
  return {
    store: { ...store, apply: timed(store.apply, syncMeter(metrics)) },
    hasRoom: store.hasRoom,
    health: store.health,
    openLeases(effects) {
      const leases = createSharedLeases({ ...effects, registry: store.registry });
      leases.start();
      return leases;
    },
  };
}

await runMain(async () => {
  const config = readCatalogConfig(process.env);
  const logger = createLogger('catalog', config.LOG_LEVEL);
  switchLevelOnSignal(logger);
  const metrics = createMetrics();
  const storage =
    config.DATABASE_URL === undefined
      ? await openFiles(config, logger, metrics)
      : await openDatabase(config.DATABASE_URL, logger, metrics);
  const gateways = connectGateways(config.SERVICE_TOKEN);
  const { openLeases, ...stored } = storage;
  const leases = openLeases({
    invalidate: gateways.invalidate,
    after,
    monotonic: () => performance.now(),
    newId: randomUUID,
    log: (level, sentence) => logger[level](sentence),
  });
  const logFailure = createFailureLog(logger);
  const catalog = createCatalog({
    ...stored,
    leases: meteredLeases(metrics, leases),
    after,
    onDone({ traceparent, request_id: reqId, operation_id, item_id }, { result }) {
      const trace = recordedTrace(traceparent);
      if (trace !== undefined) {
        logger.info({ reqId, trace, operation_id, item_id, result }, 'a sale was decided');
      }
    },
    onBatch: batchMeter(metrics),
    onFailure(failure, { request_id: reqId, operation_id }) {
      logFailure(failure, 'sale', { reqId, operation_id });
    },
  });
  showCatalog(metrics, { catalog, store: stored.store });
  const app = buildCatalog(catalog, { config, logger, metrics });
  await serve({
    app,
    host: config.HOST,
    port: config.PORT,
    name: 'catalog',
    async close() {
      await leases.stop?.();
      await catalog.close();
      await gateways.close();
      logFailure.flush();
    },
  });
});
