import { basename, dirname, join } from 'node:path';
import { type AppendFile, type AppendFileOptions, openAppendFile } from './append-file.js';
import type { Disk, DiskFile } from './disk.js';
import { isOutOfHandles, StorageBroken, StorageFull } from './errors.js';
import { openAsWriter } from './lock.js';

const digits = 6;
const extension = '.log';

/** The file of a segment: `<name>-000001.log`. */
export function segmentPath(folder: string, name: string, number: number): string {
  return join(folder, `${name}-${String(number).padStart(digits, '0')}${extension}`);
}

/** The numbers of the segments in a folder, in order. */
export async function listSegments(disk: Disk, folder: string, name: string): Promise<number[]> {
  const numbers: number[] = [];
  for (const file of await disk.list(folder)) {
    const number = Number(/-([0-9]{6,15})\.log$/.exec(file)?.[1]);
    if (number > 0 && join(folder, file) === segmentPath(folder, name, number)) {
      numbers.push(number);
    }
  }
  return numbers.sort((a, b) => a - b);
}

/**
 * Makes a segment with its first line, durably.
 * @throws StorageFull when there was no room and nothing is left of it; StorageError, after which
 * the next start may or may not find it
 */
export async function beginSegment(
  options: Pick<AppendFileOptions, 'disk' | 'path' | 'file' | 'onBroken'>,
  line: string,
): Promise<AppendFile> {
  let file: AppendFile | undefined;
  try {
    file = await openAppendFile({ ...options, validBytes: 0 });
    await file.append(Buffer.from(line));
    return file;
  } catch (error) {
    await file?.close();
    if (error instanceof StorageFull) await takeBack(options.disk, options.path);
    throw error;
  }
}

/**
 * Opens all segments as their one writer, before any is read. In order: a writer has the newest of
 * them, and lets that go only when it has the next; so it is met whatever it is about to do.
 * @returns the open files by number
 * @throws StorageError with a sentence when another process writes them; the disk's error
 */
export async function holdSegments(
  disk: Disk,
  folder: string,
  name: string,
): Promise<Map<number, DiskFile>> {
  const held = new Map<number, DiskFile>();
  try {
    for (const number of await listSegments(disk, folder, name)) {
      held.set(number, await openAsWriter(disk, segmentPath(folder, name, number), 'write'));
    }
    return held;
  } catch (error) {
    for (const file of held.values()) await file.close();
    throw error;
  }
}

/** A left-over would contradict what the segment before it is going to hold. */
async function takeBack(disk: Disk, path: string): Promise<void> {
  try {
    if (await disk.exists(path)) await disk.remove(path);
    await disk.syncFolder(dirname(path));
  } catch (cause) {
    // Without one record it is no contradiction: it is written over, or removed by the next start.
    if (isOutOfHandles(cause)) return;
    const sentence = `${basename(path)} had no room, and could not be taken back`;
    throw new StorageBroken(sentence, { cause });
  }
}
