import { crc32 } from 'node:zlib';

/** One line of a journal, as it stands in the file. */
export interface JournalLine {
  readonly sequence: number;
  /** The offset in its segment up to which all was synced before this line was written. */
  readonly synced: number;
  /** Where the payload begins in the bytes that were read. */
  readonly payloadStart: number;
}

/** `<crc32> <sequence> <synced> <payload>` and a newline; the checksum covers all that follows. */
export function writeLine(sequence: number, synced: number, payload: string): string {
  const body = `${sequence} ${synced} ${payload}`;
  return `${crc32(body).toString(16).padStart(8, '0')} ${body}\n`;
}

const checksumLength = 8;
const space = 0x20;

/** Reads the line from `start` to before `end`, its newline left out; undefined if damaged. */
export function readLine(bytes: Buffer, start: number, end: number): JournalLine | undefined {
  const body = start + checksumLength + 1;
  if (body > end || bytes[body - 1] !== space) return undefined;
  if (readChecksum(bytes, start) !== crc32(bytes.subarray(body, end))) return undefined;
  const sequence = readDigits(bytes, body, end);
  const synced = readDigits(bytes, sequence.end + 1, end);
  if (bytes[sequence.end] !== space || bytes[synced.end] !== space) return undefined;
  return { sequence: sequence.value, synced: synced.value, payloadStart: synced.end + 1 };
}

/** Small hexadecimal digits only: a flipped bit may turn a small letter into a capital one. */
function readChecksum(bytes: Buffer, start: number): number {
  let value = 0;
  for (let position = start; position < start + checksumLength; position += 1) {
    const code = bytes[position] ?? 0;
    const digit = code >= 0x61 && code <= 0x66 ? code - 0x57 : code - 0x30;
    if (digit < 0 || digit > 15 || (digit > 9 && code < 0x61)) return -1;
    value = value * 16 + digit;
  }
  return value;
}

function readDigits(bytes: Buffer, start: number, end: number): { value: number; end: number } {
  let value = 0;
  let position = start;
  for (; position < end; position += 1) {
    const digit = (bytes[position] ?? 0) - 0x30;
    if (digit < 0 || digit > 9) break;
    value = value * 10 + digit;
  }
  return { value, end: position };
}
