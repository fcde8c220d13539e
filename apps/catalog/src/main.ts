import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { createFailureLog, createLogger, runMain, StartError, serve } from '@bazar/service';
import { nodeDisk, openReserve, troubleOf } from '@bazar/storage';
import type { After } from './after.js';
import { buildCatalog } from './app.js';
import { createCatalog } from './catalog.js';
import { readCatalogConfig } from './config.js';
import { connectGateways } from './gateways.js';
import { createLeases } from './leases.js';
import { openCsvStore } from './store/csv.js';

const after: After = (ms, run) => {
  const timer = setTimeout(run, ms);
  return () => clearTimeout(timer);
};

/** As much room as a full batch takes. */
const probeBytes = 256 * 1024;

/** Takes the room and gives it back. */
async function hasRoom(path: string): Promise<boolean> {
  const probe = await openReserve(nodeDisk, path, probeBytes);
  return (await probe.fill()) && probe.spend();
}

await runMain(async () => {
  const config = readCatalogConfig(process.env);
  const logger = createLogger('catalog', config.LOG_LEVEL);
  const store = await openCsvStore({
    disk: nodeDisk,
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
  const gateways = connectGateways(config.SERVICE_TOKEN);
  const leases = createLeases({
    invalidate: gateways.invalidate,
    after,
    monotonic: () => performance.now(),
    newId: randomUUID,
    log: (level, sentence) => logger[level](sentence),
  });
  const logFailure = createFailureLog(logger);
  const catalog = createCatalog({
    store,
    leases,
    after,
    hasRoom: () => hasRoom(join(config.DATA_DIR, 'catalog_room.probe')),
    onFailure(failure, { request_id: reqId, operation_id }) {
      logFailure(failure, 'sale', { reqId, operation_id });
    },
  });
  const app = buildCatalog(catalog, { config, logger });
  await serve({
    app,
    host: config.HOST,
    port: config.PORT,
    name: 'catalog',
    async close() {
      await catalog.close();
      await gateways.close();
    },
  });
});
