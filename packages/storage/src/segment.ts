import { basename, dirname, join } from 'node:path';
import { type AppendFile, openAppendFile } from './append-file.js';
import type { Disk } from './disk.js';
import { StorageBroken, StorageFull } from './errors.js';

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
  disk: Disk,
  path: string,
  line: string,
  onBroken: (error: StorageBroken) => void,
): Promise<AppendFile> {
  let file: AppendFile | undefined;
  try {
    file = await openAppendFile({ disk, path, onBroken, validBytes: 0 });
    await file.append(Buffer.from(line));
    return file;
  } catch (error) {
    await file?.close();
    if (error instanceof StorageFull) await takeBack(disk, path);
    throw error;
  }
}

/** A left-over would contradict what the segment before it is going to hold. */
async function takeBack(disk: Disk, path: string): Promise<void> {
  try {
    if (await disk.exists(path)) await disk.remove(path);
    await disk.syncFolder(dirname(path));
  } catch (cause) {
    const sentence = `${basename(path)} had no room, and could not be taken back`;
    throw new StorageBroken(sentence, { cause });
  }
}
