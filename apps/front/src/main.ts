import { Failure } from '@bazar/contracts';
import {
  createFailureLog,
  createLogger,
  createMetrics,
  listen,
  reasonOf,
  runMain,
  serve,
  splitUrls,
  switchLevelOnSignal,
} from '@bazar/service';
import { watchAddresses } from '@bazar/service/replicas';
import { buildFrontApp } from './app.js';
import { readFrontConfig } from './config.js';
import { createFront } from './front.js';
import { showFront } from './metrics.js';

/** What is to be said of a front that has as many connections as it may have. */
const full = {
  ended: 'The front is full: the quietest connection has made room for another.',
  refused: 'The front is full and no connection is quiet: another one was refused.',
} as const;

await runMain(async () => {
  const config = readFrontConfig(process.env);
  const logger = createLogger('front', config.LOG_LEVEL);
  switchLevelOnSignal(logger);
  const log = (level: 'info' | 'warn', sentence: string, cause?: unknown) =>
    logger[level]({ reason: reasonOf(cause) }, sentence);
  const logFailure = createFailureLog(logger);
  const addresses = watchAddresses(splitUrls(config.GATEWAY_URLS), { log });
  const front = createFront({
    addresses,
    log,
    onFull: (what) => logFailure(new Failure('overloaded', full[what]), what, {}),
  });
  const metrics = createMetrics();
  showFront(metrics, front);
  const app = buildFrontApp(front, { config, logger, metrics });
  if (config.METRICS_PORT !== undefined) {
    const at = { host: config.METRICS_HOST, port: config.METRICS_PORT };
    await listen({ app, ...at, name: 'front metrics' }, 'METRICS_HOST and METRICS_PORT');
  }
  await serve({
    app: { ...front, log: logger },
    host: config.HOST,
    port: config.PORT,
    name: 'front',
    async close() {
      await app.close();
      addresses.close();
    },
  });
});
