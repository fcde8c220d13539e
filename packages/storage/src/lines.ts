import type { DiskFile } from './disk.js';

/** A run of whole lines. The bytes are valid only until the next run is asked for. */
export interface Lines {
  /** Ends with a newline, but for a file's end without one and for a line without end. */
  readonly bytes: Buffer;
  /** Of the first byte in the file. */
  readonly offset: number;
}

const chunkBytes = 1024 * 1024;
/** The longest line, its newline included; of a longer one, pieces are handed over. */
export const maxLineBytes = 32 * 1024 * 1024;

export const newline = 0x0a;

/** Reads a file in runs of whole lines of about 1 MiB. */
export async function* wholeLines(file: DiskFile): AsyncGenerator<Lines, void> {
  let buffer = Buffer.allocUnsafe(chunkBytes);
  let held = 0;
  let offset = 0;
  for (;;) {
    const count = await file.read(buffer.subarray(held), offset + held);
    const filled = held + count;
    let end = buffer.subarray(0, filled).lastIndexOf(newline) + 1;
    if (count === 0 || (end === 0 && filled === maxLineBytes)) end = filled;
    if (end > 0) yield { bytes: buffer.subarray(0, end), offset };
    if (count === 0) return;
    held = filled - end;
    offset += end;
    if (held === buffer.length) {
      buffer = Buffer.concat([buffer], Math.min(maxLineBytes, buffer.length * 2));
    } else {
      buffer.copyWithin(0, end, filled);
    }
  }
}
