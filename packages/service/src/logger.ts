import type { FastifyBaseLogger } from 'fastify';
import { pino } from 'pino';

/** A JSON logger; what a service does before it has an app (opening its files) logs here too. */
export function createLogger(
  name: string,
  level: string,
  stream?: { write(line: string): void },
): FastifyBaseLogger {
  const options = { name, level };
  return stream === undefined ? pino(options) : pino(options, stream);
}
