import type { Writable } from 'node:stream';
import pretty from 'pino-pretty';
import type { ServiceName } from './service.js';

/** Where people read: stdout or stderr, or a stream of a test. */
export type Screen = Writable & { readonly isTTY?: boolean };

/** Writes what the services log, and what the launcher says, for people to read. */
export interface Terminal {
  /** Shows one line that a service wrote, behind its name. */
  line(service: ServiceName, line: string): void;
  /** Says a sentence of the launcher's own. */
  say(sentence: string): void;
}

const nameWidth = 'gateway'.length;
const paint = { catalog: 36, order: 35, gateway: 32 } as const satisfies Record<
  ServiceName,
  number
>;

/**
 * @param screen colours are used only when it is a terminal
 * @param noColor the variable NO_COLOR (no-color.org): any text turns colours off
 */
export function createTerminal(screen: Screen, noColor: string | undefined): Terminal {
  const colorize = screen.isTTY === true && !noColor;
  const prettify = pretty.prettyFactory({
    colorize,
    ignore: 'pid,hostname,name',
    translateTime: 'SYS:HH:MM:ss.l',
    singleLine: true,
  });
  const prefixOf = (service: ServiceName): string => {
    const padded = service.padEnd(nameWidth);
    return colorize ? `\u001b[${paint[service]}m${padded}\u001b[39m` : padded;
  };

  return {
    line(service, line) {
      const text = prettify(harmless(line)).trimEnd();
      const prefix = prefixOf(service);
      // An error with its stack takes several lines; each says whose it is.
      for (const row of text.split('\n')) screen.write(`${prefix} | ${row}\n`);
    },
    say(sentence) {
      screen.write(`${sentence}\n`);
    },
  };
}

/**
 * For people where there is a terminal; else a JSON object a line, for what collects logs: what a
 * service has logged stays as it is, and all else is made into such a line.
 */
export function createOutput(screen: Screen, noColor: string | undefined): Terminal {
  if (screen.isTTY === true) return createTerminal(screen, noColor);
  const tell = (name: ServiceName | 'shop', level: number, msg: string): void => {
    screen.write(`${JSON.stringify({ level, time: Date.now(), name, msg })}\n`);
  };
  return {
    line(service, line) {
      if (isObject(line)) screen.write(`${line}\n`);
      // Node's own warnings, mostly.
      else tell(service, 40, line);
    },
    say: (sentence) => tell('shop', 30, sentence.trim()),
  };
}

function isObject(line: string): boolean {
  try {
    return line.startsWith('{') && typeof JSON.parse(line) === 'object';
  } catch {
    return false;
  }
}

const controls = /[^\P{Cc}\t]/gu;
/** The JSON escapes of control characters, and the escaped backslash, which begins none. */
const escapes = /\\(?:\\|[bfr]|u00(?:[0189][0-9a-f]|7f))/gi;

/**
 * A log line without control characters, raw or as JSON escapes: what a stranger puts into a URL
 * may be logged, and must not move the cursor of the person who reads the log (CWE-150).
 */
function harmless(line: string): string {
  return line
    .replaceAll(controls, '\ufffd')
    .replaceAll(escapes, (found) => (found === '\\\\' ? found : '\ufffd'));
}
