import { parseArgs } from 'node:util';

/** What `pnpm bench` can measure. */
export const suiteNames = [
  'info',
  'search',
  'purchase',
  'mixed',
  'hot',
  'books',
  'orders',
  'snapshot',
  'postgres',
  'replicas',
] as const;
export type SuiteName = (typeof suiteNames)[number];

const commands = ['bench', 'lab', 'stale', 'strain'] as const;
export type Command = (typeof commands)[number];

export interface Options {
  readonly command: Command;
  readonly only: readonly SuiteName[];
  readonly rounds: number;
  readonly seconds: number;
  /** The size of the catalog where the suite does not say another. */
  readonly books: number;
  /** Small files and short runs: to see that all works, not to learn how fast it is. */
  readonly quick: boolean;
}

/** A command line that is not understood; the message is a sentence. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

export const usage = `pnpm bench [lab | stale | strain] [options]
  --only <suites>    of ${suiteNames.join(', ')}, separated by commas
  --rounds <n>       rounds of each measurement; the median is shown (3, quick 1)
  --seconds <n>      seconds of each measurement (5, quick 1)
  --books <n>        books in the catalog (4)
  --quick            small files and short runs`;

/** @throws UsageError with a sentence for whatever is not understood */
export function readOptions(args: readonly string[]): Options {
  const { values, positionals } = parsed(args);
  const [first = 'bench', ...more] = positionals;
  const command = commands.find((known) => known === first);
  if (command === undefined || more.length > 0) {
    throw new UsageError(
      `"${positionals.join(' ')}" is nothing to do: it is lab, stale, strain or nothing.`,
    );
  }
  if (command !== 'bench' && values.only !== undefined) {
    throw new UsageError(`--only chooses among the suites of the benchmark; ${command} has none.`);
  }
  const quick = values.quick ?? false;
  return {
    command,
    only: suitesIn(values.only),
    rounds: wholeNumber('--rounds', values.rounds, quick ? 1 : 3, 100),
    seconds: wholeNumber('--seconds', values.seconds, quick ? 1 : 5, 60),
    books: wholeNumber('--books', values.books, 4, 10_000_000),
    quick,
  };
}

function parsed(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        only: { type: 'string' },
        rounds: { type: 'string' },
        seconds: { type: 'string' },
        books: { type: 'string' },
        quick: { type: 'boolean' },
      },
    });
  } catch (error) {
    // Node's own sentence names the option; what follows it is advice on passing file names.
    const reason = error instanceof Error ? error.message : String(error);
    throw new UsageError(`${reason.split('. ')[0]}.`);
  }
}

function suitesIn(text: string | undefined): readonly SuiteName[] {
  if (text === undefined) return suiteNames;
  return text.split(',').map((name) => {
    const suite = suiteNames.find((known) => known === name.trim());
    if (suite !== undefined) return suite;
    throw new UsageError(`--only ${name}: the suites are ${suiteNames.join(', ')}.`);
  });
}

function wholeNumber(name: string, text: string | undefined, usual: number, most: number): number {
  if (text === undefined) return usual;
  const value = Number(text);
  if (/^\d+$/.test(text) && value >= 1 && value <= most) return value;
  throw new UsageError(`${name} is "${text}", but it takes a whole number from 1 to ${most}.`);
}
