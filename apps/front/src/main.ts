import { Failure } from '@bazar/contracts';
import {
  createFailureLog,
  createLogger,
  reasonOf,
  runMain,
  serve,
  splitUrls,
} from '@bazar/service';
import { watchAddresses } from '@bazar/service/replicas';
import { readFrontConfig } from './config.js';
import { createFront } from './front.js';

/** What is to be said of a front that has as many connections as it may have. */
const full = {
  ended: 'The front is full: the quietest connection has made room for another.',
  refused: 'The front is full and no connection is quiet: another one was refused.',
} as const;

await runMain(async () => {
  const config = readFrontConfig(process.env);
  const logger = createLogger('front', config.LOG_LEVEL);
  const log = (level: 'info' | 'warn', sentence: string, cause?: unknown) =>
    logger[level]({ reason: reasonOf(cause) }, sentence);
  const logFailure = createFailureLog(logger);
  const addresses = watchAddresses(splitUrls(config.GATEWAY_URLS), { log });
  const front = createFront({
    addresses,
    log,
    onFull: (what) => logFailure(new Failure('overloaded', full[what]), what, {}),
  });
  await serve({
    app: { ...front, log: logger },
    host: config.HOST,
    port: config.PORT,
    name: 'front',
    logger,
    close: async () => addresses.close(),
  });
});
