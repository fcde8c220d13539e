import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import {
  createDisk,
  createProcess,
  createRandom,
  type DiskMutant,
  type Random,
  readMeasure,
  type SimulatedDisk,
} from '@bazar/simulation';
import t from 'tap';
import { type AppendFile, openAppendFile } from '../src/append-file.js';
import { type Disk, readFully } from '../src/disk.js';
import { StorageError } from '../src/errors.js';
import { type Journal, openJournal } from '../src/journal.js';
import { lockFiles } from '../src/lock.js';
import { sha256OfFile, writeNext } from '../src/whole-file.js';

// The page cache survives a kill -9, so that no real crash ever tests an fsync. Here a journal, an
// append file and a file that is replaced as a whole live on a simulated disk, through kills, power
// losses and failing syncs at random calls. SEED=… repeats a failure; RUNS=… sets how many shops.

const seed = Number(process.env['SEED'] ?? Date.now() % 2 ** 31);
const runs = readMeasure('RUNS', process.env['RUNS'], 300);

/** How storage is put together; a mutant differs from the honest build in one of these. */
interface Build {
  readonly disk: DiskMutant;
  readonly journalDisk: (disk: Disk) => Disk;
  readonly wholeFileDisk: (disk: Disk) => Disk;
  /** How much of the append file a start takes for synced. */
  readonly syncedBytes: (validBytes: number) => number;
  /** Whether it holds what it writes again against what it read. */
  readonly checksAgain: boolean;
}

const honest: Build = {
  disk: {},
  journalDisk: (disk) => disk,
  wholeFileDisk: (disk) => disk,
  syncedBytes: () => 0,
  checksAgain: true,
};

const mutants: Readonly<Record<string, Build>> = {
  'without fdatasync': { ...honest, disk: { ignoreDatasync: true } },
  'without the folder fsync': { ...honest, disk: { ignoreFolderSync: true } },
  'with rename before fsync': { ...honest, wholeFileDisk: withoutFileSync },
  'whose journal trusts what it read back': { ...honest, journalDisk: withoutRewriting },
  'whose append file trusts what it read back': {
    ...honest,
    syncedBytes: (validBytes) => validBytes,
    checksAgain: false,
  },
  'that writes again without a check': { ...honest, checksAgain: false },
};

function withoutFileSync(disk: Disk): Disk {
  return {
    ...disk,
    open: async (path, mode) => ({ ...(await disk.open(path, mode)), sync: async () => {} }),
  };
}

/** Leaves out the writes that would change nothing that can be read. */
function withoutRewriting(disk: Disk): Disk {
  return {
    ...disk,
    async open(path, mode) {
      const file = await disk.open(path, mode);
      return {
        ...file,
        async write(bytes, position) {
          const there = Buffer.alloc(bytes.length);
          const count = await readFully(file, there, position);
          const isThere = count === bytes.length && there.equals(bytes);
          return isThere ? count : file.write(bytes, position);
        },
      };
    },
  };
}

/** What must never be seen after an honest crash. */
class Violation extends Error {}

/** What was asked of a file, in order, and how much of it a start must find. */
interface Ledger {
  readonly name: string;
  readonly asked: string[];
  /** The segment of each, as far as it is known. */
  readonly segments: number[];
  /** How many were acknowledged, or shown by a start. */
  sure: number;
  /** How many of the first ones may be gone, and how many must be. */
  mayBeGone: number;
  gone: number;
}

function createLedger(name: string): Ledger {
  return { name, asked: [], segments: [], sure: 0, mayBeGone: 0, gone: 0 };
}

/**
 * Holds what a start found against what was asked; from then on, what was found must stay, and
 * what was not must stay away.
 */
function settle(ledger: Ledger, found: readonly string[]): void {
  const { name, asked, sure, mayBeGone, gone } = ledger;
  const [head] = found;
  const first = head === undefined ? sure : asked.indexOf(head);
  if (first === -1) throw new Violation(`${name}: ${head?.slice(0, 40)} was never asked`);
  if (first > mayBeGone && sure > mayBeGone) {
    throw new Violation(`${name}: the first ${first} are gone, ${mayBeGone} may be`);
  }
  if (first < gone) throw new Violation(`${name}: ${gone} were gone, ${first} are`);
  for (const [index, payload] of found.entries()) {
    if (asked[first + index] === payload) continue;
    throw new Violation(`${name}: ${payload.slice(0, 40)} stands in the wrong place`);
  }
  const end = first + found.length;
  if (end < sure) throw new Violation(`${name}: ${sure} were acknowledged, ${end} are there`);
  asked.length = end;
  ledger.sure = end;
}

const folder = 'data';
const dataPath = `${folder}/catalog_data.csv`;
const nextPath = `${dataPath}.next`;
const logPath = `${folder}/order_log.csv`;

const counts = {
  lives: 0,
  kills: 0,
  powerLosses: 0,
  failedSyncs: 0,
  acknowledged: 0,
  cuts: 0,
  changes: 0,
};

/** One shop through its lives. */
interface Shop {
  readonly random: Random;
  readonly disk: SimulatedDisk;
  readonly build: Build;
  readonly journal: Ledger;
  readonly log: Ledger;
  /** A sync failed in the life before. */
  wasBroken: boolean;
  payloads: number;
}

/** One life of it, from a start to a crash. */
interface Life {
  readonly shop: Shop;
  readonly view: Disk;
  /** Stops the process at once, as `onBroken` has to. */
  readonly stop: () => void;
  /** A sync was made to fail: the start may be refused, and the process has to stop. */
  broken: boolean;
}

function newPayload({ shop }: Life): string {
  shop.payloads += 1;
  return `${shop.payloads} ${'x'.repeat(shop.random.pick([0, 20, 300, 1500]))}`;
}

async function openLedgerJournal({ shop, view, stop }: Life): Promise<Journal> {
  const found: string[] = [];
  const segments: number[] = [];
  const journal = await openJournal({
    disk: shop.build.journalDisk(view),
    folder,
    name: 'catalog',
    header: () => 'header',
    onRecord(payload, place, isHeader) {
      if (isHeader) return;
      found.push(payload);
      segments.push(place.segment);
    },
    onCut: () => {
      counts.cuts += 1;
    },
    onBroken: stop,
  });
  settle(shop.journal, found);
  const { asked } = shop.journal;
  shop.journal.segments.splice(asked.length - found.length, Number.POSITIVE_INFINITY, ...segments);
  return journal;
}

const writeLine = (payload: string) =>
  `${crc32(payload).toString(16).padStart(8, '0')} ${payload}\n`;

async function readAll(disk: Disk, path: string): Promise<Buffer> {
  if (!(await disk.exists(path))) return Buffer.alloc(0);
  const file = await disk.open(path, 'read');
  const bytes = Buffer.alloc(await file.size());
  await readFully(file, bytes, 0);
  await file.close();
  return bytes;
}

async function openLedgerLog({ shop, view, stop }: Life): Promise<AppendFile> {
  const found: string[] = [];
  let validBytes = 0;
  let checksum = 0;
  const lines = (await readAll(view, logPath)).toString('latin1').split('\n');
  // What follows the last newline is no whole line, even if only the newline is missing.
  for (const line of lines.slice(0, -1)) {
    const payload = line.slice(9);
    if (`${line}\n` !== writeLine(payload)) break;
    found.push(payload);
    validBytes += line.length + 1;
    checksum = crc32(`${line}\n`, checksum);
  }
  const file = await openAppendFile({
    disk: view,
    path: logPath,
    onBroken: stop,
    validBytes,
    syncedBytes: shop.build.syncedBytes(validBytes),
    ...(shop.build.checksAgain && { unsyncedCrc32: checksum }),
  });
  settle(shop.log, found);
  return file;
}

const checkpointOf = (payload: string) => /^checkpoint ([0-9a-f]{64}) /.exec(payload)?.[1];

/** The last checkpoint's file is in force, or it is waiting for its rename. */
async function checkWholeFile({ shop, view }: Life): Promise<void> {
  const hashes = shop.journal.asked.map(checkpointOf).filter((hash) => hash !== undefined);
  const last = hashes.at(-1);
  if (last === undefined) return;
  const hashOf = async (path: string) =>
    (await view.exists(path)) ? sha256OfFile(view, path) : undefined;
  if ((await hashOf(dataPath)) === last) return;
  if ((await hashOf(nextPath)) !== last) {
    throw new Violation('the last checkpoint is neither in force nor waiting');
  }
  const current = await hashOf(dataPath);
  if (current !== hashes.at(-2)) throw new Violation('the file in force is of no checkpoint');
  await view.rename(nextPath, dataPath);
  await view.syncFolder(folder);
}

async function replaceWholeFile(life: Life, journal: Journal): Promise<void> {
  const { shop, view } = life;
  const text = newPayload(life).repeat(3);
  const disk = shop.build.wholeFileDisk(view);
  await writeNext({ disk, path: nextPath, slices: [text.slice(0, 700), text.slice(700)] });
  await view.syncFolder(folder);
  const sha256 = createHash('sha256').update(text).digest('hex');
  await append(life, journal, [`checkpoint ${sha256} ${newPayload(life)}`]);
  await view.rename(nextPath, dataPath);
  await view.syncFolder(folder);
}

async function append({ shop }: Life, journal: Journal, payloads: string[]): Promise<void> {
  const ledger = shop.journal;
  ledger.asked.push(...payloads);
  const places = await journal.append(payloads);
  ledger.segments.push(...places.map(({ segment }) => segment));
  ledger.sure = ledger.asked.length;
  counts.acknowledged += payloads.length;
}

async function appendToLog(life: Life, log: AppendFile): Promise<void> {
  const payload = newPayload(life);
  const ledger = life.shop.log;
  ledger.asked.push(payload);
  await log.append(Buffer.from(writeLine(payload)));
  ledger.sure = ledger.asked.length;
  counts.acknowledged += 1;
}

/** Forgets the segments before the one of the last checkpoint. */
async function retire({ shop }: Life, journal: Journal): Promise<void> {
  const ledger = shop.journal;
  const index = ledger.asked.findLastIndex((payload) => checkpointOf(payload) !== undefined);
  const segment = ledger.segments[index];
  if (segment === undefined) return;
  ledger.mayBeGone = Math.max(ledger.mayBeGone, ledger.segments.indexOf(segment));
  await journal.retire(segment - 1);
  ledger.gone = ledger.mayBeGone;
}

async function work(life: Life, journal: Journal, log: AppendFile): Promise<void> {
  const { random } = life.shop;
  const batch = () => Array.from({ length: 1 + random.integer(4) }, () => newPayload(life));
  const steps: readonly (() => Promise<unknown>)[] = [
    () => append(life, journal, batch()),
    () => append(life, journal, batch()),
    () => appendToLog(life, log),
    () => appendToLog(life, log),
    () => Promise.all([append(life, journal, batch()), appendToLog(life, log)]),
    () => replaceWholeFile(life, journal),
    journal.seal,
    journal.rotate,
    () => retire(life, journal),
  ];
  for (let step = random.integer(20); step > 0; step -= 1) await random.pick(steps)();
}

async function live(life: Life): Promise<void> {
  const { view } = life;
  try {
    await view.makeFolder(folder);
    const lock = await lockFiles(view, `${folder}/catalog.lock`);
    const journal = await openLedgerJournal(life);
    const log = await openLedgerLog(life);
    await checkWholeFile(life);
    await work(life, journal, log);
    await journal.close();
    await log.close();
    await lock.release();
  } catch (error) {
    const isOfDisk = error instanceof StorageError || (error instanceof Error && 'code' in error);
    if (!isOfDisk) throw error;
    // The page cache let go of something between two looks at it; the next start sees the rest.
    const hasChanged = error.message.includes('changed between two readings');
    if (hasChanged) counts.changes += 1;
    else if (!life.broken) throw new Violation(`refused: ${error.message}`);
    life.stop();
  }
}

/** Has one of the next syncs fail, or none; the returned function ends that. */
function failOneSync(life: Life): () => void {
  const { random, disk } = life.shop;
  const from = disk.calls.length + random.integer(60);
  const failing = random.pick(['none', 'none', 'datasync', 'sync']);
  const file = random.pick(['catalog', 'order_log']);
  return disk.fail({
    at({ number, name, path }) {
      if (life.broken || number < from) return false;
      life.broken = name === failing && path.includes(file);
      if (life.broken) counts.failedSyncs += 1;
      return life.broken;
    },
    error: 'EIO',
  });
}

/** Lets one life begin, and ends it at a random call, or after its own end. */
async function liveAndDie(shop: Shop): Promise<void> {
  const { random, disk } = shop;
  const process = createProcess(`life ${counts.lives}`);
  const begin = disk.calls.length;
  // What a failed sync left in the page cache alone goes most dangerously amid the next start: half
  // of the lives after one are quiet, but for the moment when the cache lets go of it.
  const isQuiet = shop.wasBroken && random.chance(0.5);
  const last = begin + 1 + (isQuiet ? 200 : random.integer(random.pick([20, 60, 200])));
  const forgotten = begin + random.integer(40);
  let stop = () => {};
  const stopped = new Promise<void>((resolve) => {
    stop = () => {
      process.kill();
      resolve();
    };
  });
  const life: Life = { shop, view: disk.disk(process), stop, broken: false };
  const endFault = isQuiet ? () => {} : failOneSync(life);
  const ignore = disk.watch(({ number }) => {
    if (number === last) stop();
    if (isQuiet ? number === forgotten : random.chance(0.04)) disk.dropCaches();
  });
  await Promise.race([live(life), stopped]);
  process.kill();
  ignore();
  endFault();
  // A failed sync stops the process and leaves the machine: what it wrote can still be read.
  const crash = life.broken ? 'kills' : random.pick(['kills', 'powerLosses'] as const);
  if (crash === 'powerLosses') disk.powerLoss();
  counts[crash] += 1;
  counts.lives += 1;
  shop.wasBroken = life.broken;
}

/** The sentence that says what was seen and must not be; undefined for none. */
async function runShop(build: Build, run: number): Promise<string | undefined> {
  const random = createRandom(`${seed}/${run}`);
  const shop: Shop = {
    random,
    disk: createDisk({ random, shortWrites: random.pick([0, 0.1]), mutant: build.disk }),
    build,
    journal: createLedger('journal'),
    log: createLedger('append file'),
    wasBroken: false,
    payloads: 0,
  };
  try {
    for (let life = 3 + random.integer(8); life > 0; life -= 1) await liveAndDie(shop);
    return undefined;
  } catch (error) {
    if (!(error instanceof Violation)) throw error;
    return `SEED=${seed}, run ${run}: ${error.message}`;
  }
}

t.test('when the power fails at any call, then all that was acknowledged is there', async (t) => {
  const violations: string[] = [];
  for (let run = 0; run < runs; run += 1) {
    const violation = await runShop(honest, run);
    if (violation !== undefined) violations.push(violation);
  }
  t.same(violations.slice(0, 5), [], `${violations.length} of ${runs} runs`);
  t.comment(`SEED=${seed}, ${runs} runs: ${JSON.stringify(counts)}`);
  // A change between two readings is rare: the quick form may not meet one.
  const { changes, ...usual } = counts;
  for (const [name, count] of Object.entries(usual)) t.ok(count > 0, name);
  t.ok(changes > 0 || runs < 1000, 'changes');
});

for (const [name, build] of Object.entries(mutants)) {
  t.test(`when the power fails for a build ${name}, then that is caught`, async (t) => {
    let violation: string | undefined;
    let run = 0;
    while (violation === undefined && run < Math.max(runs, 6000)) {
      violation = await runShop(build, run);
      run += 1;
    }
    t.ok(violation, `in ${run} runs: ${violation}`);
  });
}
