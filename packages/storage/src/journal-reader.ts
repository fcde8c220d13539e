import { basename } from 'node:path';
import { type Disk, type DiskFile, readFully } from './disk.js';
import { StorageError } from './errors.js';
import { readLine } from './journal-record.js';
import type { Place } from './journal-scan.js';
import { newline } from './lines.js';

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
        const name = basename(pathOf(segment));
        throw new StorageError(`${name}, byte ${offset}: the record was damaged after its writing`);
      }
      return bytes.toString('utf8', record.payloadStart, length - 1);
    },
    close,
    async closeAll() {
      for (const segment of files.keys()) await close(segment);
    },
  };
}
