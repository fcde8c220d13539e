import { isUtf8 } from 'node:buffer';
import { crc32 } from 'node:zlib';
import {
  BadFile,
  type Disk,
  type DiskFile,
  parseRows,
  StorageError,
  wholeLines,
  wholeNumber,
} from '@bazar/storage';
import type { LoggedOrder } from '../store.js';
import { checkOrderRow, header, readOrderCells, reportHeader } from './order-row.js';

const fileName = 'order_log.csv';
const newline = 0x0a;

/** What a start finds in an order log. */
export interface Scan {
  /** Where the valid part ends, in bytes; what follows is a torn tail. */
  readonly validBytes: number;
  /** Up to where a valid row vouches that all was synced. */
  readonly syncedBytes: number;
  /** Of the valid bytes behind these, as they were read; undefined if there is no telling. */
  readonly unsyncedCrc32: number | undefined;
  /** What must be appended before the first row: our header, perhaps after a newline. */
  readonly preamble: string;
  /** Rows in the report's own shape, from before the sales were numbered. */
  readonly reportRows: number;
  /** The number of torn bytes that `validBytes` leaves out. */
  readonly tornBytes: number;
}

interface Line {
  readonly bytes: Buffer;
  readonly number: number;
  readonly offset: number;
  readonly terminated: boolean;
}

type OnOrder = (order: LoggedOrder, offset: number, length: number, line: number) => void;

/** An order, and the line that it stands on. */
export interface OrderLine {
  readonly order: LoggedOrder;
  /** From 1 on. */
  readonly line: number;
}

/** Reads the orders of a log in runs of about 1 MiB. @throws what `scanOrderLog` throws */
export async function* readOrderLog(
  disk: Disk,
  path: string,
): AsyncGenerator<readonly OrderLine[]> {
  let run: OrderLine[] = [];
  const scanner = createScanner((order, _offset, _length, line) => run.push({ order, line }));
  const file = await disk.open(path, 'read');
  try {
    let number = 0;
    for await (const { bytes, offset } of wholeLines(file)) {
      const lines = splitLines(bytes, offset, number);
      number += lines.length;
      scanner.take(lines);
      yield run;
      run = [];
    }
    scanner.end();
  } finally {
    await file.close();
  }
}

/**
 * Reads an order log, ours or the report's, handing on each numbered order with its place.
 * @throws BadFile for a row of the report's shape that is none; StorageError for damage to what was
 * surely synced: then nothing is written and the start is refused
 */
export async function scanOrderLog(file: DiskFile, onOrder: OnOrder): Promise<Scan> {
  const scanner = createScanner(onOrder);
  let number = 0;
  for await (const { bytes, offset } of wholeLines(file)) {
    const lines = splitLines(bytes, offset, number);
    number += lines.length;
    scanner.take(lines);
  }
  return scanner.end();
}

/** What the catalog remembers of the sales is as good as a copy, for as long as it does. */
function refusal({ number, offset }: Line, what: string): StorageError {
  return new StorageError(
    `${fileName}, line ${number} (byte ${offset}) ${what}. Restore the file from a copy. Without ` +
      `one, put this one by, and delete line ${number} and all that follow it from the file: at ` +
      'the next start the sales that the catalog still remembers are logged again, and numbers ' +
      'that it has forgotten are named',
  );
}

function splitLines(bytes: Buffer, offset: number, before: number): Line[] {
  const lines: Line[] = [];
  for (let start = 0; start < bytes.length; ) {
    const end = bytes.indexOf(newline, start);
    const terminated = end !== -1;
    const stop = terminated ? end : bytes.length;
    lines.push({
      bytes: bytes.subarray(start, stop),
      number: before + lines.length + 1,
      offset: offset + start,
      terminated,
    });
    start = stop + 1;
  }
  return lines;
}

/**
 * A crash leaves the beginning of a line, and a power loss holes of zeros or old blocks. A line of
 * plain text with its end was written by somebody else, a spreadsheet's CRLF for example: taken for
 * a torn tail, the whole log behind it would be cut off.
 */
function isFinishedText({ bytes, terminated }: Line): boolean {
  return terminated && isUtf8(bytes) && !/\p{Cc}/u.test(bytes.toString().replace(/\r$/, ''));
}

/** A crash leaves the beginning of it, and a power loss zeros in the place of any part. */
function isTornHeader({ bytes, terminated }: Line): boolean {
  const whole = `${header}\n`;
  if (bytes.length > whole.length || (terminated && bytes.length < header.length)) return false;
  return bytes.every((byte, index) => byte === 0 || byte === whole.charCodeAt(index));
}

function createScanner(onOrder: OnOrder) {
  let ours = false;
  let reportRows = 0;
  let fileBytes = 0;
  let unterminated = false;
  let vouched = 0;
  let batchStart = 0;
  let batchCrc32 = 0;
  let damage: Line | undefined;
  let changed: Line | undefined;

  function takeReportLine(line: Line): void {
    // Nothing is ever written behind a header before that is synced.
    if (damage !== undefined) {
      changed ??= damage;
      return;
    }
    const text = line.bytes
      .toString('utf8')
      .replace(/^\ufeff/, '')
      .replace(/\r$/, '');
    if (text === header && line.terminated) ours = true;
    else if (isTornHeader(line)) damage = line;
    else if (text !== '' && (text !== reportHeader || line.number > 1)) {
      checkReportRow(text, line.number);
    }
  }

  function checkReportRow(text: string, number: number): void {
    const fail = (reason: string) => new BadFile(fileName, number, reason);
    const [cells = [], ...more] = parseRows(text);
    if (more.length > 0 || cells.length !== 3) {
      throw fail(`has ${cells.length} cells where timestamp, item_id and title belong`);
    }
    const [timestamp = '', item = '', title = ''] = cells;
    if (wholeNumber(item) === undefined)
      throw fail(`item_id must be a whole number, not "${item}"`);
    if (timestamp === '' || title === '') throw fail('timestamp or title is empty');
    reportRows += 1;
  }

  /** Valid rows behind a damaged one still tell how far the file was synced. */
  function takeRow(line: Line): boolean {
    const synced = line.terminated ? checkOrderRow(line.bytes) : undefined;
    const valid = synced !== undefined && synced <= line.offset;
    if (valid) vouched = Math.max(vouched, synced);
    else {
      damage ??= line;
      if (isFinishedText(line)) changed ??= line;
    }
    if (!valid || damage !== undefined) return false;
    addToBatch(line, synced);
    return true;
  }

  /** A batch begins with the row that vouches for all that stands before it. */
  function addToBatch(line: Line, synced: number): void {
    if (synced === line.offset) {
      batchStart = line.offset;
      batchCrc32 = 0;
    }
    batchCrc32 = crc32('\n', crc32(line.bytes, batchCrc32));
  }

  function takeRows(lines: readonly Line[]): void {
    const valid = lines.filter(takeRow);
    if (valid.length === 0) return;
    const rows = parseRows(valid.map(({ bytes }) => bytes.toString('utf8')).join('\n'));
    for (const [index, { number, offset, bytes }] of valid.entries()) {
      const order = readOrderCells(rows[index] ?? []);
      if (order === undefined) throw new BadFile(fileName, number, 'is not the row of an order');
      onOrder(order, offset, bytes.length, number);
    }
  }

  return {
    take(lines: readonly Line[]) {
      let first = 0;
      for (const line of lines) {
        if (ours) break;
        takeReportLine(line);
        first += 1;
      }
      if (ours) takeRows(lines.slice(first));
      const last = lines.at(-1);
      if (last === undefined) return;
      fileBytes = last.offset + last.bytes.length + (last.terminated ? 1 : 0);
      unterminated = !last.terminated;
    },
    end(): Scan {
      if (damage !== undefined && damage.offset < vouched) {
        throw refusal(damage, 'is damaged, and later rows say that it was safely written');
      }
      if (changed !== undefined) throw refusal(changed, 'is not as it was written');
      const validBytes = damage?.offset ?? fileBytes;
      const missingNewline = !ours && damage === undefined && unterminated ? '\n' : '';
      return {
        validBytes,
        syncedBytes: vouched,
        unsyncedCrc32: vouched > 0 && vouched === batchStart ? batchCrc32 : undefined,
        preamble: ours ? '' : `${missingNewline}${header}\n`,
        reportRows,
        tornBytes: fileBytes - validBytes,
      };
    },
  };
}
