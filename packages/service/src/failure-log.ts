import { accusesUs, type Failure } from '@bazar/contracts';

/** What of a logger is needed here. */
export interface LinesLogger {
  error(fields: object, sentence: string): void;
  warn(fields: object, sentence: string): void;
}

/**
 * Logs a failure that is our side's, and nothing for what the caller did.
 * @param kind what failed: a route or a use case, of which there are few
 * @param fields what else the line says, of this occurrence
 */
export interface FailureLog {
  (failure: Failure, kind: string, fields: object): void;
  /** Logs what was counted and not yet told; to be called when the last failure has happened. */
  flush(): void;
}

export interface FailureLogOptions {
  /** Repeats are counted for so long before the next line; 10 s unless told, 0 logs each. */
  readonly repeatsMs?: number;
  /** Runs something so many milliseconds later; it must not keep the process alive. */
  readonly later?: (ms: number, run: () => void) => unknown;
}

const laterUnlessEnded = (ms: number, run: () => void) => setTimeout(run, ms).unref();

interface Window {
  repeats: number;
  log: (() => void) | undefined;
}

/**
 * While a service behind is away, every buyer fails for the same reason: a line for each would bury
 * the reason under its repeats and fill the disk. So the first failure of a kind is logged at once,
 * and then, every so often, the latest with the number of those since. Only a mistake of our own is
 * an `error`, with its stack; and the mistakes that nobody foresaw are all logged.
 */
export function createFailureLog(logger: LinesLogger, options: FailureLogOptions = {}): FailureLog {
  const { repeatsMs = 10_000, later = laterUnlessEnded } = options;
  const windows = new Map<string, Window>();

  function sampled(key: string, log: (repeats: number) => void): void {
    const window = windows.get(key);
    if (window !== undefined) {
      window.repeats += 1;
      window.log = () => log(window.repeats);
      return;
    }
    log(0);
    if (repeatsMs > 0) openWindow(key);
  }

  function openWindow(key: string): void {
    const window: Window = { repeats: 0, log: undefined };
    windows.set(key, window);
    later(repeatsMs, () => {
      // It was told of already, and what has failed since has a window of its own.
      if (windows.get(key) !== window) return;
      windows.delete(key);
      if (window.log === undefined) return;
      window.log();
      openWindow(key);
    });
  }

  function flush(): void {
    for (const window of windows.values()) window.log?.();
    windows.clear();
  }

  function logFailure(failure: Failure, kind: string, fields: object): void {
    const { code, cause, foreign, message, status } = failure;
    const line = { code, ...fields };
    const ours = chain(failure).some(accusesUs);
    if (status < 500 && !ours) return;
    if (code === 'internal' && !foreign) {
      logger.error({ ...line, err: cause }, message);
      return;
    }
    sampled(`${code} ${kind}`, (repeats) => {
      const counted = { ...line, ...(repeats > 0 && { repeats }) };
      if (ours) logger.error({ ...counted, err: cause ?? failure }, message);
      else logger.warn({ ...counted, reason: reasonOf(cause) }, message);
    });
  }

  return Object.assign(logFailure, { flush });
}

const maxCauses = 8;

/** An error and what caused it, the last cause last. */
function chain(error: unknown): Error[] {
  const found: Error[] = [];
  for (let one = error; one instanceof Error && found.length < maxCauses; one = one.cause) {
    found.push(one);
  }
  return found;
}

/** Why it failed, in one line; undefined when there is nothing to say besides the failure. */
export function reasonOf(cause: unknown): string | undefined {
  // Several failed addresses of one host are an error without a message, but with a code.
  const reasons = chain(cause).map((error) =>
    error.message === '' && 'code' in error ? String(error.code) : error.message,
  );
  return reasons.length === 0 ? undefined : [...new Set(reasons)].join(': ');
}
