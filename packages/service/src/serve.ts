import closeWithGrace from 'close-with-grace';
import type { FastifyBaseLogger } from 'fastify';
import { StartError } from './start-error.js';
import { keepShapeOfTicks } from './ticks.js';

/** More than the patience of any caller (10 s), so that all that was accepted is answered. */
const graceMs = 15_000;

/**
 * How many connections may wait to be taken: as many as the system allows (net.core.somaxconn). Of
 * Node's own 511 a crowd leaves some outside, which the system lets knock again a second later.
 */
const backlog = 4096;

/** What can be served: a Fastify app, or whatever else listens, closes and logs as one does. */
export interface Served {
  readonly log: Pick<FastifyBaseLogger, 'info' | 'error' | 'fatal'>;
  /** @returns where it listens, as a URL */
  listen(options: ListenOptions): Promise<string>;
  /** Takes no more connections, and resolves when all that has arrived is answered. */
  close(): PromiseLike<unknown>;
}

export interface ListenOptions {
  readonly host: string;
  /** 0 takes any free port. */
  readonly port: number;
  /** How many connections may wait to be taken. */
  readonly backlog: number;
  /** What the log says of the address. */
  readonly listenTextResolver: (address: string) => string;
}

export interface ServeOptions {
  readonly app: Served;
  readonly host: string;
  /** 0 takes any free port. */
  readonly port: number;
  readonly name: string;
  /** Closes what the requests needed (storage, upstreams); called when the last one is answered. */
  readonly close?: () => Promise<void>;
}

/** Why listening failed, by the error's code: what a person at a terminal can mend. */
const listenReasons: Readonly<Record<string, string>> = {
  EADDRINUSE: 'something else is listening there already',
  EACCES: 'this port needs more rights',
  EADDRNOTAVAIL: 'this machine does not have that address',
  ENOTFOUND: 'there is no such host',
  EAI_AGAIN: 'the host could not be looked up',
};

/**
 * Lets an app listen; `variables` are those that say where.
 * @returns where it listens, as a URL
 * @throws StartError with a sentence when the system refuses that
 */
export async function listen(
  { app, host, port, name }: Pick<ServeOptions, 'app' | 'host' | 'port' | 'name'>,
  variables = 'HOST and PORT',
): Promise<string> {
  try {
    const listenTextResolver = (address: string) => `the ${name} service listens at ${address}`;
    return await app.listen({ host, port, backlog, listenTextResolver });
  } catch (error) {
    // Only the system refuses with a call's name; all else is a mistake of ours, with its stack.
    if (!(error instanceof Error && 'syscall' in error && 'code' in error)) throw error;
    const reason = listenReasons[String(error.code)] ?? error.message;
    const message =
      `The ${name} service cannot listen on ${host}:${port} (the variables ${variables}): ` +
      `${reason}.`;
    throw new StartError(message, { cause: error });
  }
}

/** A service that was started with an IPC channel lives as long as whoever holds the other end. */
function reportToLauncher(url: string, stop: () => void): void {
  if (process.send === undefined) return;
  if (!process.connected) {
    stop();
    return;
  }
  process.once('disconnect', stop);
  // The launcher may die this very moment: that is not this service's error, `stop` is called.
  process.send({ kind: 'listening', url }, undefined, undefined, () => {});
}

/**
 * Listens, and stops in order: on SIGTERM, SIGINT, an uncaught error or the death of the launcher
 * (its IPC channel closes) no more connections are taken, what has arrived is answered, then
 * `close` runs. Exits with 0 after a clean stop, and at once with 1 at a second signal or after
 * 15 s. Tells a launcher `{ kind: 'listening', url }`. Throws `StartError` when it cannot listen.
 */
export async function serve(options: ServeOptions): Promise<string> {
  const { app, name, close } = options;
  // A signal that switches the level of the log is not one to stop.
  const skip: 'SIGUSR2'[] = process.listenerCount('SIGUSR2') > 0 ? ['SIGUSR2'] : [];
  const closing = closeWithGrace(
    { delay: graceMs, logger: app.log, skip },
    async ({ signal, err }) => {
      if (err) app.log.fatal({ err }, 'stopping after an error that nobody caught');
      else app.log.info({ signal }, `the ${name} service is stopping`);
      await app.close();
      await close?.();
    },
  );
  try {
    const url = await listen(options);
    reportToLauncher(url, closing.close);
    return url;
  } catch (error) {
    closing.uninstall();
    await app.close();
    await close?.();
    throw error;
  }
}

/** Runs a service's `main`; an expected error (`StartError`) is one sentence and exit code 1. */
export async function runMain(main: () => Promise<unknown>): Promise<void> {
  keepShapeOfTicks();
  try {
    await main();
  } catch (error) {
    process.stderr.write(
      error instanceof StartError ? `${error.message}\n` : `${inspected(error)}\n`,
    );
    process.exit(1);
  }
}

function inspected(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
