import { BenchFailure, breaches } from './conservation.js';
import type { Contestant } from './contestant.js';
import { applyLoad, type Seen } from './load.js';
import type { Kind } from './requests.js';
import { cpuMs, residentBytes, treeCpuMs } from './usage.js';

/** One thing that all contestants of a round do. */
export interface Case {
  /** What it is called in tables, as `/info` or `one hot book`. */
  readonly label: string;
  readonly suite: string;
  readonly kind: Kind;
  readonly connections: number;
  /** How many of the books are asked for; all by default. */
  readonly books?: number;
}

export interface Entry {
  readonly contestant: Contestant;
  readonly task: Case;
  /** Under which name it is shown; the contestant's own by default. */
  readonly as?: string;
  /** Resolves when the measurement may begin. */
  readonly prepare?: () => Promise<void>;
}

/** What one contestant did in one round. */
export interface Measurement extends Seen {
  readonly suite: string;
  readonly label: string;
  readonly kind: Kind;
  readonly connections: number;
  readonly contestant: string;
  readonly round: number;
  /** Processor time per answer in microseconds, by process; empty where it cannot be known. */
  readonly cpuMicros: Readonly<Record<string, number>>;
  /** Resident memory after the run in bytes, by process. */
  readonly residentBytes: Readonly<Record<string, number>>;
}

export interface MeasureOptions {
  readonly generatorUrl: string;
  readonly seconds: number;
  readonly rounds: number;
  /** Gets every measurement as soon as it is made. */
  readonly onMeasurement: (measurement: Measurement) => void;
}

const warmupShare = 0.25;
const maxWarmupSeconds = 2;

/**
 * Lets contestants work one after the other, round after round, so that whatever else the machine
 * does meanwhile meets all of them.
 *
 * @throws BenchFailure when an answer is missing or no 200, or when the conservation law is broken
 */
export async function measure(entries: readonly Entry[], options: MeasureOptions): Promise<void> {
  for (let round = 1; round <= options.rounds; round += 1) {
    // Every other round goes backwards: nobody always runs behind the same neighbour.
    const order = round % 2 === 1 ? entries : entries.toReversed();
    for (const entry of order) options.onMeasurement(await measureOnce(entry, round, options));
  }
}

async function measureOnce(
  { contestant, task, as = contestant.name, prepare }: Entry,
  round: number,
  { generatorUrl, seconds }: MeasureOptions,
): Promise<Measurement> {
  const { label, suite, kind, connections, books = contestant.books } = task;
  await prepare?.();
  const rowsBefore = (await contestant.ledger?.rows()) ?? 0;
  const pids = Object.entries(contestant.pids());
  const cpuBefore = cpuOf(contestant);
  const seen = await applyLoad(generatorUrl, {
    urls: [...(contestant.doors ?? [contestant.url])],
    kind,
    books,
    connections,
    seconds,
    warmupSeconds: Math.min(maxWarmupSeconds, seconds * warmupShare),
  });
  const cpuMicros: Record<string, number> = {};
  for (const [name, after] of cpuOf(contestant)) {
    const before = cpuBefore.get(name);
    if (before === undefined || after === undefined) continue;
    cpuMicros[name] = ((after - before) * 1000) / Math.max(1, seen.answered);
  }
  const what = `${as}, ${label} at ${connections} connections`;
  assertAllAnswered(what, seen);
  await assertConserved(what, contestant, rowsBefore, seen);
  return {
    ...seen,
    suite,
    label,
    kind,
    connections,
    contestant: as,
    round,
    cpuMicros,
    residentBytes: Object.fromEntries(pids.map(([name, pid]) => [name, residentBytes(pid)])),
  };
}

/** What each process has used until now, in milliseconds. */
function cpuOf({ pids, databasePid }: Contestant): Map<string, number | undefined> {
  const used = new Map(Object.entries(pids()).map(([name, pid]) => [name, cpuMs(pid)]));
  if (databasePid !== undefined) used.set('PostgreSQL', treeCpuMs(databasePid));
  return used;
}

function assertAllAnswered(what: string, { errors, non2xx, all }: Seen): void {
  if (errors > 0 || non2xx > 0) {
    throw new BenchFailure(`${what}: ${errors} errors and ${non2xx} answers that are no 200.`);
  }
  if (all.count === 0) throw new BenchFailure(`${what}: no answer came in time.`);
}

async function assertConserved(
  what: string,
  { ledger }: Contestant,
  rowsBefore: number,
  { acknowledged }: Seen,
): Promise<void> {
  if (ledger === undefined || acknowledged === 0) return;
  const [rowsAfter, audit] = [await ledger.rows(), await ledger.audit()];
  const found = breaches({ acknowledged, rowsBefore, rowsAfter, audit });
  if (found.length > 0) throw new BenchFailure(`${what}: ${found.join('; ')}.`);
}
