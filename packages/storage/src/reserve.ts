import type { Disk } from './disk.js';
import { isFull } from './errors.js';
import { writeNext } from './whole-file.js';

/** Room on a disk, taken by a file that is removed when something else needs it more. */
export interface Reserve {
  /** Takes the room if it is not taken; false while the disk has not so much. */
  fill(): Promise<boolean>;
  /** Gives the room away; false when there was none to give. */
  spend(): Promise<boolean>;
}

/**
 * Reserves room by writing a file: quotas and reserved blocks make every other answer to the
 * question whether there is any a guess. It stays from one start to the next.
 * @param path of the file, which holds nothing
 * @throws StorageError or the disk's error, here and in the calls, unless the disk is full
 */
export async function openReserve(disk: Disk, path: string, bytes: number): Promise<Reserve> {
  let isHeld = (await sizeOf(disk, path)) >= bytes;
  let filling: Promise<boolean> | undefined;

  async function fill(): Promise<boolean> {
    try {
      if (!isHeld) await writeNext({ disk, path, slices: ['.'.repeat(bytes)] });
      isHeld = true;
    } catch (error) {
      if (!isFull(error)) throw error;
    }
    return isHeld;
  }

  return {
    fill() {
      filling ??= fill().finally(() => {
        filling = undefined;
      });
      return filling;
    },
    async spend() {
      // A filling under way may have taken just the room that is needed.
      await filling?.catch(() => undefined);
      if (!isHeld) return false;
      isHeld = false;
      await disk.remove(path);
      return true;
    },
  };
}

async function sizeOf(disk: Disk, path: string): Promise<number> {
  if (!(await disk.exists(path))) return 0;
  const file = await disk.open(path, 'read');
  return file.size().finally(() => file.close());
}
