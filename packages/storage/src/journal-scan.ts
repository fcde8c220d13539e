import { basename } from 'node:path';
import { crc32 } from 'node:zlib';
import type { Disk } from './disk.js';
import { readLine } from './journal-record.js';
import { newline, wholeLines } from './lines.js';

/** Where a record stands. */
export interface Place {
  /** The number of its segment. */
  readonly segment: number;
  /** Of its first byte in the segment. */
  readonly offset: number;
  /** Of its line in bytes, the newline included. */
  readonly length: number;
  /** 1, 2, 3, … over all segments, headers and seals included. */
  readonly sequence: number;
}

/** Is told of each record in order; `isHeader` marks the first one of a segment. */
export type OnRecord = (payload: string, place: Place, isHeader: boolean) => void;

export interface Damage {
  /** Of the first damaged byte's line in the segment. */
  readonly offset: number;
  readonly line: number;
  readonly reason: string;
}

/** What a segment holds. */
export interface Scan {
  /** In bytes. */
  readonly size: number;
  /** Up to the first damage, or the end. */
  readonly validBytes: number;
  /** How many bytes were surely synced, by the word of any valid record. */
  readonly vouched: number;
  /** Of the valid bytes behind these, as they were read; undefined if there is no telling. */
  readonly unvouchedCrc32: number | undefined;
  readonly damage: Damage | undefined;
  /** The sequence that the next record will have; undefined if no record is valid. */
  readonly nextSequence: number | undefined;
  /** Whether the last valid record is a seal. */
  readonly sealed: boolean;
}

/**
 * Reads a segment, and tells `onRecord` of the records before the first damage. Behind it, the
 * valid records are still asked what they vouch for.
 * @param sequence what the first record must have; undefined if any will do
 */
export async function scanSegment(
  disk: Disk,
  path: string,
  segment: number,
  sequence: number | undefined,
  onRecord: OnRecord,
): Promise<Scan> {
  let nextSequence = sequence;
  let found = false;
  let vouched = 0;
  let sealed = false;
  let size = 0;
  let validBytes = 0;
  let line = 0;
  let damage: Damage | undefined;
  let batchStart = 0;
  let batchCrc32 = 0;

  /** Half a sentence if the line from `start` to `end`, its newline included, is damaged. */
  function read(bytes: Buffer, start: number, end: number, offset: number): string | undefined {
    if (bytes[end - 1] !== newline) return 'the line has no end';
    const record = readLine(bytes, start, end - 1);
    if (record === undefined) return 'the checksum does not fit';
    vouched = Math.max(vouched, record.synced);
    if (damage !== undefined) return undefined;
    if (nextSequence !== undefined && record.sequence !== nextSequence) {
      return `record ${nextSequence} should stand here, not ${record.sequence}`;
    }
    if (record.synced > offset) return 'the record vouches for more than stands before it';
    if (record.synced === offset) batchStart = offset;
    sealed = record.payloadStart === end - 1;
    if (!sealed) {
      const payload = bytes.toString('utf8', record.payloadStart, end - 1);
      const place = { segment, offset, length: end - start, sequence: record.sequence };
      onRecord(payload, place, !found);
    }
    found = true;
    nextSequence = record.sequence + 1;
    validBytes = offset + end - start;
    return undefined;
  }

  const file = await disk.open(path, 'read');
  try {
    for await (const { bytes, offset } of wholeLines(file)) {
      for (let start = 0; start < bytes.length; ) {
        const end = bytes.indexOf(newline, start) + 1 || bytes.length;
        line += 1;
        const reason = read(bytes, start, end, offset + start);
        if (reason !== undefined) damage ??= { offset: offset + start, line, reason };
        start = end;
      }
      size = offset + bytes.length;
      if (batchStart >= offset) batchCrc32 = 0;
      const part = bytes.subarray(
        Math.max(0, batchStart - offset),
        Math.max(0, validBytes - offset),
      );
      batchCrc32 = crc32(part, batchCrc32);
    }
  } finally {
    await file.close();
  }
  nextSequence = found ? nextSequence : undefined;
  // Behind damage, a record may vouch for more: for all that stands before it.
  const unvouchedCrc32 = vouched === batchStart ? batchCrc32 : undefined;
  return { size, validBytes, vouched, unvouchedCrc32, damage, nextSequence, sealed };
}

/** Whether a segment has not one valid record: it was never finished, or it is lost. */
export async function isBlank(disk: Disk, path: string): Promise<boolean> {
  const file = await disk.open(path, 'read');
  try {
    for await (const { bytes } of wholeLines(file)) {
      for (let start = 0; start < bytes.length; ) {
        const end = bytes.indexOf(newline, start) + 1 || bytes.length;
        if (bytes[end - 1] === newline && readLine(bytes, start, end - 1) !== undefined)
          return false;
        start = end;
      }
    }
    return true;
  } finally {
    await file.close();
  }
}

/** Names a place for people: file, byte and line. */
export function describe(path: string, { offset, line, reason }: Damage): string {
  return `${basename(path)}, line ${line} (byte ${offset}): ${reason}`;
}
