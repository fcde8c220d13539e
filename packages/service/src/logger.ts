import { type Logger, pino } from 'pino';

export type { Logger } from 'pino';

interface LogStream {
  write(line: string): unknown;
}

/** More than that waiting for its reader is dropped. */
const maxWaitingBytes = 1024 * 1024;

/**
 * The standard output, written by Node rather than by pino's own stream: that one tries again for
 * ever when whoever read the log is gone, and a service that has to stop at once would hang in its
 * last line, holding its files. Lines are dropped while a reader is so slow that they would fill the
 * memory; the next one that it reads is how many.
 */
export function boundedStream(
  name: string,
  stream: LogStream & { readonly writableLength: number },
): LogStream {
  let dropped = 0;
  return {
    write(line) {
      if (stream.writableLength > maxWaitingBytes) {
        dropped += 1;
        return;
      }
      if (dropped > 0) {
        const told = {
          level: 40,
          time: Date.now(),
          name,
          dropped,
          msg: 'lines of the log were dropped',
        };
        dropped = 0;
        stream.write(`${JSON.stringify(told)}\n`);
      }
      stream.write(line);
    },
  };
}

/** A reader who has gone away is no reason to stop selling; the lines are lost with the reader. */
function ignoreLostReader(): void {
  if (process.stdout.listenerCount('error') === 0) process.stdout.on('error', () => {});
}

/**
 * A JSON logger; what a service does before it has an app (opening its files) logs here too.
 * @param stream where the lines go instead of the standard output
 */
export function createLogger(name: string, level: string, stream?: LogStream): Logger {
  if (stream === undefined) ignoreLostReader();
  return pino({ name, level }, stream ?? boundedStream(name, process.stdout));
}

/**
 * SIGUSR2 turns `debug` on, and the next one the configured level again: a shop that sells need not
 * be restarted to be looked into. To be called before anything else is done: a process without a
 * handler dies of the signal, and the very one that waits for its database is looked into.
 */
export function switchLevelOnSignal(logger: Logger): void {
  const configured = logger.level;
  process.on('SIGUSR2', () => {
    logger.level = logger.level === configured ? 'debug' : configured;
    logger.info(`the log level is ${logger.level} now`);
  });
}
