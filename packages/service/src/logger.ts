import type { FastifyBaseLogger } from 'fastify';
import { pino } from 'pino';

interface LogStream {
  write(line: string): void;
}

/**
 * The standard output, written by Node rather than by pino's own stream: that one tries again for
 * ever when whoever read the log is gone, and a service that has to stop at once would hang in its
 * last line, holding its files.
 */
const standardOutput: LogStream = {
  write(line) {
    process.stdout.write(line);
  },
};

/** A reader who has gone away is no reason to stop selling; the lines are lost with the reader. */
function ignoreLostReader(): void {
  if (process.stdout.listenerCount('error') === 0) process.stdout.on('error', () => {});
}

/** A JSON logger; what a service does before it has an app (opening its files) logs here too. */
export function createLogger(
  name: string,
  level: string,
  stream: LogStream = standardOutput,
): FastifyBaseLogger {
  if (stream === standardOutput) ignoreLostReader();
  return pino({ name, level }, stream);
}
