import { basename } from 'node:path';
import { type Disk, type DiskFile, readFully } from './disk.js';
import { StorageError } from './errors.js';
import { readLine } from './journal-record.js';
import type { Place } from './journal-scan.js';
import { newline, wholeLines } from './lines.js';

/** Reads single records again; a segment is opened when it is first asked for. */
export function createReaders(disk: Disk, pathOf: (segment: number) => string) {
  const files = new Map<number, Promise<DiskFile>>();

  function open(segment: number): Promise<DiskFile> {
    const known = files.get(segment);
    if (known !== undefined) return known;
    const opening = disk.open(pathOf(segment), 'read');
    files.set(segment, opening);
    opening.catch(() => files.delete(segment));
    return opening;
  }

  async function close(segment: number): Promise<void> {
    const opening = files.get(segment);
    files.delete(segment);
    await (await opening)?.close();
  }

  return {
    async read(place: Pick<Place, 'segment' | 'offset' | 'length'>): Promise<string> {
      const { segment, offset, length } = place;
      const bytes = Buffer.alloc(length);
      await readFully(await open(segment), bytes, offset);
      const record = readLine(bytes, 0, length - 1);
      if (record === undefined || bytes[length - 1] !== newline) {
        throw damaged(pathOf(segment), offset);
      }
      return bytes.toString('utf8', record.payloadStart, length - 1);
    },
    close,
    async closeAll() {
      for (const segment of files.keys()) await close(segment);
    },
  };
}

/** A record as it stands in a segment. */
export interface ReadRecord {
  readonly payload: string;
  readonly segment: number;
  readonly offset: number;
}

/**
 * Reads a segment from its beginning, in runs of about 1 MiB, and checks each record again.
 * @throws StorageError naming the place of a record that is no longer what was written
 */
export async function* readSegment(
  disk: Disk,
  path: string,
  segment: number,
): AsyncGenerator<readonly ReadRecord[]> {
  const file = await disk.open(path, 'read');
  try {
    for await (const { bytes, offset } of wholeLines(file)) {
      const records: ReadRecord[] = [];
      for (let start = 0; start < bytes.length; ) {
        const end = bytes.indexOf(newline, start) + 1 || bytes.length;
        const record = readLine(bytes, start, end - 1);
        if (record === undefined || bytes[end - 1] !== newline) throw damaged(path, offset + start);
        const payload = bytes.toString('utf8', record.payloadStart, end - 1);
        // An empty one is a seal.
        if (payload !== '') records.push({ payload, segment, offset: offset + start });
        start = end;
      }
      yield records;
    }
  } finally {
    await file.close();
  }
}

function damaged(path: string, offset: number): StorageError {
  return new StorageError(
    `${basename(path)}, byte ${offset}: the record was damaged after its writing`,
  );
}
