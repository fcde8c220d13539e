import { type Disk, writeFully } from './disk.js';
import { isFull } from './errors.js';

/**
 * Whether a disk has room for so many bytes, found by writing them to a file that is removed again:
 * quotas and reserved blocks make every other answer a guess.
 */
export async function hasRoom(disk: Disk, path: string, bytes: number): Promise<boolean> {
  try {
    const file = await disk.open(path, 'create');
    try {
      await writeFully(file, Buffer.alloc(bytes), 0);
      await file.sync();
    } finally {
      await file.close().finally(() => disk.remove(path));
    }
    return true;
  } catch (error) {
    if (isFull(error)) return false;
    throw error;
  }
}
