import type { Measurement } from './measure.js';
import { median } from './statistics.js';

/** The middle and the ends of what the rounds gave. */
export interface Ratio {
  readonly median: number;
  readonly least: number;
  readonly most: number;
}

/** All rounds of one contestant at one task. Latencies are in milliseconds. */
export interface Summary {
  readonly suite: string;
  readonly label: string;
  readonly connections: number;
  readonly contestant: string;
  readonly rounds: number;
  readonly perSecond: number;
  readonly p50: number;
  readonly p99: number;
  readonly readP99: number;
  /** Answers a second, this one's through theirs, for those that come before it in a round. */
  readonly ratios: Readonly<Record<string, Ratio>>;
  /** This one's median latency through theirs. */
  readonly p50Ratios: Readonly<Record<string, Ratio>>;
  /** Processor time of all its processes per answer, in microseconds. */
  readonly cpuMicros: number;
  /** The same of each process. */
  readonly cpuMicrosBy: Readonly<Record<string, number>>;
  readonly generatorCores: number;
  readonly answered: number;
  /** After the last round in bytes, by process. */
  readonly residentBytes: Readonly<Record<string, number>>;
}

/** Brings together what was measured, in the order in which the tasks came first. */
export function summarize(measurements: readonly Measurement[]): Summary[] {
  const tasks = groupBy(measurements, ({ suite, label, connections }) =>
    JSON.stringify([suite, label, connections]),
  );
  return tasks.flatMap((ofTask) => {
    const contestants = groupBy(ofTask, ({ contestant }) => contestant);
    return contestants.map((rounds) => summarizeRounds(rounds, contestants));
  });
}

function summarizeRounds(
  rounds: readonly Measurement[],
  contestants: readonly (readonly Measurement[])[],
): Summary {
  const last = rounds.at(-1);
  if (last === undefined) throw new RangeError('There is no round.');
  const middle = (value: (round: Measurement) => number) => median(rounds.map(value));
  const against = (value: (round: Measurement) => number) =>
    Object.fromEntries(
      contestants
        .slice(0, contestants.indexOf(rounds))
        .map((others) => [others[0]?.contestant ?? '', ratioOf(rounds, others, value)]),
    );
  return {
    suite: last.suite,
    label: last.label,
    connections: last.connections,
    contestant: last.contestant,
    rounds: rounds.length,
    perSecond: middle(({ perSecond }) => perSecond),
    p50: middle(({ all }) => all.p50),
    p99: middle(({ all }) => all.p99),
    readP99: middle(({ reads }) => reads.p99),
    ratios: against(({ perSecond }) => perSecond),
    p50Ratios: against(({ all }) => all.p50),
    cpuMicros: middle(({ cpuMicros }) =>
      Object.values(cpuMicros).reduce((sum, micros) => sum + micros, 0),
    ),
    cpuMicrosBy: Object.fromEntries(
      Object.keys(last.cpuMicros).map((process) => [
        process,
        middle(({ cpuMicros }) => cpuMicros[process] ?? 0),
      ]),
    ),
    generatorCores: middle(({ generatorCores }) => generatorCores),
    answered: rounds.reduce((sum, { answered }) => sum + answered, 0),
    residentBytes: last.residentBytes,
  };
}

/** Round by round, since what disturbs a round disturbs both, and then the middle of that. */
function ratioOf(
  mine: readonly Measurement[],
  theirs: readonly Measurement[],
  value: (round: Measurement) => number,
): Ratio {
  const ratios = mine.flatMap((round, index) => {
    const other = theirs[index];
    return other === undefined ? [] : [value(round) / value(other)];
  });
  return { median: median(ratios), least: Math.min(...ratios), most: Math.max(...ratios) };
}

function groupBy<Item>(items: readonly Item[], keyOf: (item: Item) => string): Item[][] {
  const groups = new Map<string, Item[]>();
  for (const item of items) {
    const group = groups.get(keyOf(item));
    if (group === undefined) groups.set(keyOf(item), [item]);
    else group.push(item);
  }
  return [...groups.values()];
}
