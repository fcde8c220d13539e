import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { inspect } from 'node:util';
import { createShop, type Shop, type ShopOptions } from './launch.js';
import { type Exit, ending, type ServiceName, StartError } from './service.js';
import { onSignals } from './signals.js';
import { createOutput, createTerminal, type Screen } from './terminal.js';

export interface KeepOptions {
  readonly env?: NodeJS.ProcessEnv;
  /** Gets the logs and the sentences, as JSON unless people read; when it breaks, the shop closes. */
  readonly output?: Screen;
  /** Gets why the shop could not open or had to close. */
  readonly errors?: Screen;
  readonly mains?: NonNullable<ShopOptions['mains']>;
  /** Keeps the shop open when a service dies: whoever watches the sources starts it again. */
  readonly outlivesDeaths?: boolean;
  /** Called once the shop is open; what it returns is called before the services are stopped. */
  readonly whileOpen?: (shop: Shop, say: (sentence: string) => void) => () => Promise<void>;
}

/**
 * Opens the shop in a terminal, keeps it open, and closes it: at SIGINT, SIGTERM or SIGHUP, when a
 * service dies, and when nobody can read the output any more. A second signal kills at once.
 * SIGUSR2 switches the logs of all three services to `debug`, and back.
 *
 * @returns the exit code: 0 when somebody closed the shop and all three services stopped cleanly
 */
export async function keepShop(options: KeepOptions = {}): Promise<number> {
  const { env = process.env, output = process.stdout, errors = process.stderr } = options;
  const { say, line } = createOutput(output, env['NO_COLOR']);
  const complain = createTerminal(errors, env['NO_COLOR']).say;
  const closing = createClosing();
  // With the terminal gone nothing can be shown any more, but three services are to be stopped.
  for (const screen of [output, errors]) screen.on('error', () => closing.begin(1));

  let shop: Shop;
  try {
    refuseSingles(env);
    shop = createShop({
      dataDir: resolve(env['DATA_DIR'] || 'data'),
      ports: portsOf(env),
      databases: databasesOf(env),
      env,
      onLine: line,
      onDeath(service, exit) {
        const next = options.outlivesDeaths ? ' It starts again at the next change.' : '';
        complain(`The ${service} service died (${ending(exit)}).${next}`);
        if (!options.outlivesDeaths) closing.begin(1);
      },
      ...(options.mains && { mains: options.mains }),
    });
  } catch (error) {
    complain(inWords(error));
    return 1;
  }
  // Never taken back: without a handler this process would die of the signal, and the shop with it.
  process.on('SIGUSR2', shop.switchLogs);
  const ignoreSignals = onSignals(
    () => closing.begin(0),
    () => {
      complain('A second signal: killing what still runs.');
      void shop.kill();
    },
  );
  let beforeStop: (() => Promise<void>) | undefined;
  try {
    await Promise.race([shop.start(), closing.begun]);
    if (!closing.hasBegun()) {
      say(welcome(shop));
      beforeStop = options.whileOpen?.(shop, say);
    }
  } catch (error) {
    complain(inWords(error));
    closing.begin(1);
  }
  const code = await closing.begun;
  await beforeStop?.();
  const exits = await shop.stop();
  ignoreSignals();
  const unclean = [...exits].filter(([, exit]) => !isClean(exit));
  for (const [service, exit] of unclean) {
    complain(`The ${service} did not stop cleanly (${ending(exit)}).`);
  }
  say('Bazar is closed.');
  return unclean.length > 0 ? 1 : code;
}

interface Closing {
  /** Resolves with the exit code that the first reason to close asks for. */
  readonly begun: Promise<number>;
  begin(code: number): void;
  hasBegun(): boolean;
}

function createClosing(): Closing {
  let code: number | undefined;
  let announce: (code: number) => void = () => {};
  const begun = new Promise<number>((resolve) => {
    announce = resolve;
  });
  return {
    begun,
    begin(first) {
      code ??= first;
      announce(code);
    },
    hasBegun: () => code !== undefined,
  };
}

/** A service that is stopped before it listens may not have learnt to answer SIGTERM yet. */
function isClean({ code, signal }: Exit): boolean {
  return code === 0 || signal === 'SIGTERM';
}

const portVariables = {
  gateway: 'GATEWAY_PORT',
  catalog: 'CATALOG_PORT',
  order: 'ORDER_PORT',
} as const satisfies Record<ServiceName, string>;

/** The usual ports, or what `GATEWAY_PORT` (or `PORT`), `CATALOG_PORT` and `ORDER_PORT` say. */
function portsOf(env: NodeJS.ProcessEnv): Record<ServiceName, number> {
  const portOf = (variable: string, usual: number): number => {
    const text = env[variable] || String(usual);
    if (/^\d{1,5}$/.test(text) && Number(text) <= 65_535) return Number(text);
    throw new StartError(`${variable} is "${text}", but a port is a number from 0 to 65535.`);
  };
  return {
    gateway: portOf(env[portVariables.gateway] ? portVariables.gateway : 'PORT', 5000),
    catalog: portOf(portVariables.catalog, 5001),
    order: portOf(portVariables.order, 5002),
  };
}

/** @throws StartError when a variable is set that only a service by itself can take */
function refuseSingles(env: NodeJS.ProcessEnv): void {
  const name = ['CATALOG_URLS', 'ORDER_URLS'].find((one) => env[one]);
  if (name !== undefined) {
    throw new StartError(
      `${name} is set, but this starts all three services, which find each other: unset it, or ` +
        'start the services one by one.',
    );
  }
  const database = ['DATABASE_URL', 'DATABASE_URL_FILE'].find((one) => env[one]);
  if (database !== undefined) {
    throw new StartError(
      `${database} is for one service: give CATALOG_DATABASE_URL and ORDER_DATABASE_URL.`,
    );
  }
}

/** Each of the two that keep something has a database of its own, so one variable does not do. */
function databasesOf(env: NodeJS.ProcessEnv): NonNullable<ShopOptions['databases']> {
  const catalog = secretOf(env, 'CATALOG_DATABASE_URL');
  const order = secretOf(env, 'ORDER_DATABASE_URL');
  return { ...(catalog && { catalog }), ...(order && { order }) };
}

/**
 * A variable, or what is in the file that `<name>_FILE` names, as the services take theirs. It is read
 * here, for their own reader comes with Fastify and all, which the launcher would load for nothing else.
 */
function secretOf(env: NodeJS.ProcessEnv, name: string): string | undefined {
  const { [name]: text, [`${name}_FILE`]: path } = env;
  if (!path) return text;
  if (text) throw new StartError(`${name} and ${name}_FILE are both set; only one of them may be.`);
  let read: string;
  try {
    read = readFileSync(path, 'utf8').trim();
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new StartError(`${name}_FILE names a file that cannot be read: ${reason}.`);
  }
  if (read === '') throw new StartError(`${name}_FILE names the file ${path}, which is empty.`);
  return read;
}

function welcome({ urls }: Shop): string {
  return [
    '',
    `Bazar is open at ${urls.gateway} (catalog ${urls.catalog}, order ${urls.order}).`,
    'Ctrl-C closes it. To see what it has, and to buy a book:',
    `  curl ${urls.gateway}/search/distributed`,
    `  curl -X POST ${urls.gateway}/purchase/2`,
    '',
  ].join('\n');
}

/** A failure with a known reason is told in a sentence, a mistake of ours with its stack. */
function inWords(error: unknown): string {
  return error instanceof StartError ? inOurNames(error.message) : inspect(error);
}

/** Each service knows its port as PORT, which here has another name for each. */
function inOurNames(sentence: string): string {
  const names = Object.entries(portVariables);
  const variable = names.find(([name]) => sentence.startsWith(`The ${name} service cannot listen`));
  if (variable === undefined) return sentence;
  return sentence.replace('the variables HOST and PORT', `the variables HOST and ${variable[1]}`);
}
