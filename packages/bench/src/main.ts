import { StartError } from '@bazar/shop';
import { runBench } from './bench.js';
import { BenchFailure } from './conservation.js';
import { runLab } from './lab.js';
import { type Command, type Options, readOptions, UsageError, usage } from './options.js';
import { huntStale } from './stale.js';
import { strain } from './strain.js';

const surroundings = {
  reportFolder: 'bench-results',
  say: (sentence: string) => {
    process.stdout.write(`${sentence}\n`);
  },
};

const commands: Record<Command, (options: Options) => Promise<unknown>> = {
  bench: (options) => runBench(options, surroundings),
  lab: (options) => runLab(options, surroundings),
  strain: (options) => strain(options, surroundings),
  stale: ({ quick }) => huntStale({ reads: quick ? 20_000 : 1_000_000 }, surroundings),
};

try {
  const options = readOptions(process.argv.slice(2));
  await commands[options.command](options);
  process.exit(0);
} catch (error) {
  if (error instanceof UsageError) {
    process.stderr.write(`${error.message}\n\n${usage}\n`);
    process.exit(2);
  }
  const known = error instanceof BenchFailure || error instanceof StartError;
  process.stderr.write(`${known ? error.message : inFull(error)}\n`);
  process.exit(1);
}

function inFull(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
