import type { Contestant, ShopContestant } from './contestant.js';
import { applyLoad } from './load.js';
import { type Entry, type Measurement, type MeasureOptions, measure } from './measure.js';
import type { Options } from './options.js';
import type { Kind } from './requests.js';
import { residentBytes } from './usage.js';

/** Memory that a process holds soon after its start, before anybody asked it for anything. */
export interface StartMemory {
  readonly of: string;
  readonly process: string;
  readonly bytes: number;
}

export interface Results {
  readonly measurements: Measurement[];
  readonly memories: StartMemory[];
}

export interface SuiteContext {
  readonly options: Options;
  /** An empty folder for the files of the shops. */
  readonly folder: string;
  readonly generatorUrl: string;
  readonly results: Results;
  readonly say: (sentence: string) => void;
}

export type Suite = (context: SuiteContext) => Promise<void>;

/** Few connections make many small batches, and so most calls of most functions. */
const warmUpConnections = 8;
const warmUpSeconds = { full: 10, quick: 2 } as const;

/**
 * Lets each contestant do all that it can do for some seconds. V8 compiles what it has seen often:
 * what is compared are shops that have been open for a while, not who gets warm first.
 */
export async function warmUp(
  context: SuiteContext,
  contestants: readonly Contestant[],
  kinds: readonly Kind[] = ['purchase', 'info'],
): Promise<void> {
  const { generatorUrl, options, say } = context;
  const seconds = options.quick ? warmUpSeconds.quick : warmUpSeconds.full;
  say(`Each contestant warms up: ${seconds} s of ${kinds.join(', and as many of ')}.`);
  const load = { connections: warmUpConnections, seconds, warmupSeconds: 0 };
  for (const { url, doors = [url], books } of contestants) {
    for (const kind of kinds) {
      await applyLoad(generatorUrl, { urls: [...doors], kind, books, ...load });
    }
  }
}

export function remembered(context: SuiteContext, shop: ShopContestant): ShopContestant {
  for (const [process, pid] of Object.entries(shop.pids())) {
    context.results.memories.push({ of: shop.name, process, bytes: residentBytes(pid) });
  }
  return shop;
}

export async function run(context: SuiteContext, entries: readonly Entry[]): Promise<void> {
  const { options, generatorUrl, results, say } = context;
  const measuring: MeasureOptions = {
    generatorUrl,
    seconds: options.seconds,
    rounds: options.rounds,
    onMeasurement(measurement) {
      const { label, connections, contestant, round, perSecond } = measurement;
      results.measurements.push(measurement);
      say(`${label} at ${connections}, round ${round}, ${contestant}: ${Math.round(perSecond)}/s`);
    },
  };
  await measure(entries, measuring);
}

export async function stopAll(contestants: readonly Contestant[]): Promise<void> {
  for (const contestant of contestants) await contestant.stop();
}
