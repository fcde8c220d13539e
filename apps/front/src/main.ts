import { createLogger, reasonOf, runMain, StartError, splitUrls } from '@bazar/service';
import { watchAddresses } from '@bazar/service/replicas';
import { readFrontConfig } from './config.js';
import { createFront } from './front.js';

/** More than the patience of any caller (10 s). */
const graceMs = 12_000;

await runMain(async () => {
  const config = readFrontConfig(process.env);
  const logger = createLogger('front', config.LOG_LEVEL);
  const log = (level: 'info' | 'warn', sentence: string, cause?: unknown) =>
    logger[level]({ reason: cause === undefined ? undefined : reasonOf(cause) }, sentence);
  const addresses = watchAddresses(splitUrls(config.GATEWAY_URLS), { log });
  const front = createFront({ addresses, log });
  const port = await front.listen(config.HOST, config.PORT).catch((cause: unknown) => {
    const where = `${config.HOST}:${config.PORT}`;
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new StartError(`The front cannot listen on ${where}: ${reason}.`, { cause });
  });
  const url = `http://${config.HOST}:${port}`;
  logger.info(`the front listens at ${url}`);
  process.send?.({ kind: 'listening', url });
  const stop = async () => {
    addresses.close();
    await front.close(graceMs);
    process.exit(0);
  };
  for (const signal of ['SIGTERM', 'SIGINT', 'disconnect'] as const) process.once(signal, stop);
});
