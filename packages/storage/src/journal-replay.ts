import { basename, dirname } from 'node:path';
import type { Disk } from './disk.js';
import { changedMeanwhile, StorageError } from './errors.js';
import {
  type Damage,
  describe,
  isBlank,
  type OnRecord,
  type Scan,
  scanSegment,
} from './journal-scan.js';
import { listSegments, segmentPath } from './segment.js';

export interface ReplayOptions {
  readonly disk: Disk;
  readonly folder: string;
  readonly name: string;
  readonly onRecord: OnRecord;
  readonly onCut: (sentence: string) => void;
}

/** What a start found, and how it is to be carried on. */
export interface Replay {
  /** From the oldest on; without the last one. */
  readonly finished: readonly { number: number; bytes: number }[];
  /** The segment to write on; it may still have to be made. */
  readonly last: number;
  /** How many of its bytes are valid, and how many of these were surely synced. */
  readonly validBytes: number;
  readonly syncedBytes: number;
  /** Of the valid bytes that were not; undefined if there is no telling. */
  readonly unsyncedCrc32: number | undefined;
  readonly nextSequence: number;
  readonly sealed: boolean;
}

/**
 * Tells `onRecord` of all records in order, and decides what is a torn tail and what is corruption.
 * A batch is written only after the one before it was synced, and says so; hence damage below what
 * any record of the last segment vouches for, or in an earlier segment, is no crash's doing.
 * @throws StorageError naming the place of a corruption; nothing was written then
 */
export async function replaySegments(options: ReplayOptions): Promise<Replay> {
  const { disk, folder, name, onRecord, onCut } = options;
  const pathOf = (number: number) => segmentPath(folder, name, number);
  const numbers = await listSegments(disk, folder, name);
  refuseGaps(numbers, pathOf);
  const [first = 1] = numbers;
  const blank = await unfinished(disk, numbers, pathOf);
  const kept = blank === undefined || blank === 1 ? numbers : numbers.slice(0, -1);
  const last = kept.at(-1) ?? 1;
  const finished: { number: number; bytes: number }[] = [];
  let sequence = first === 1 ? 1 : undefined;
  let scan: Scan | undefined;
  for (const number of kept) {
    const path = pathOf(number);
    scan = await scanSegment(disk, path, number, sequence, onRecord);
    if (number === last) break;
    refuseUnfinished(path, scan);
    finished.push({ number, bytes: scan.size });
    sequence = scan.nextSequence;
  }
  if (scan !== undefined) refuseVouched(pathOf(last), scan);
  if (scan?.validBytes === 0 && blank === undefined) await refuseEmpty(disk, pathOf(last), scan);
  if (blank !== undefined && blank !== last) {
    if (scan?.nextSequence === undefined) throw noRecord(pathOf(last));
    await disk.remove(pathOf(blank));
    await disk.syncFolder(folder);
    onCut(`${basename(pathOf(blank))} was never finished, and was removed`);
  }
  if (scan?.damage !== undefined) onCut(cutSentence(pathOf(last), scan, scan.damage));
  return {
    finished,
    last,
    validBytes: scan?.validBytes ?? 0,
    syncedBytes: scan?.vouched ?? 0,
    unsyncedCrc32: scan?.unvouchedCrc32,
    nextSequence: scan?.nextSequence ?? 1,
    sealed: scan?.sealed ?? false,
  };
}

type PathOf = (number: number) => string;

function refuseGaps(numbers: readonly number[], pathOf: PathOf): void {
  for (const [index, number] of numbers.entries()) {
    const expected = (numbers[0] ?? number) + index;
    if (number !== expected) throw new StorageError(`${pathOf(expected)} is missing`);
  }
}

/** The last segment if a crash came before its first record was synced. */
async function unfinished(
  disk: Disk,
  numbers: readonly number[],
  pathOf: PathOf,
): Promise<number | undefined> {
  const last = numbers.at(-1);
  if (last === undefined || !(await isBlank(disk, pathOf(last)))) return undefined;
  if (numbers.length > 1 || last === 1) return last;
  throw noRecord(pathOf(last));
}

/** Each segment but the last was sealed and synced before the next was made. */
function refuseUnfinished(path: string, scan: Scan): void {
  if (scan.damage !== undefined) throw corruption(describe(path, scan.damage), path);
  if (!scan.sealed) throw corruption(`${basename(path)} ends before its seal`, path);
}

/** Damage of the last segment is a torn write only above what was surely synced. */
function refuseVouched(path: string, scan: Scan): void {
  const { damage, vouched } = scan;
  if (damage === undefined || damage.offset >= vouched) return;
  const witness = `records behind it say that all was synced up to byte ${vouched}`;
  throw corruption(`${describe(path, damage)}, and ${witness}`, path);
}

/** A last segment without a record to begin with, although there is one somewhere in it. */
async function refuseEmpty(disk: Disk, path: string, { damage }: Scan): Promise<void> {
  if (damage === undefined || (await isBlank(disk, path))) throw changedMeanwhile(basename(path));
  throw corruption(describe(path, damage), path);
}

function cutSentence(path: string, { size, validBytes }: Scan, damage: Damage): string {
  return `${size - validBytes} bytes of a torn write were cut off: ${describe(path, damage)}`;
}

function noRecord(path: string): StorageError {
  return corruption(`${basename(path)} has not one valid record`, path);
}

function corruption(place: string, path: string): StorageError {
  return new StorageError(
    `${place}. This is no torn write: what stood there was on the disk. ` +
      `Restore ${dirname(path)} from a copy`,
  );
}
