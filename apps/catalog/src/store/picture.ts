import { join } from 'node:path';
import { type Disk, sha256OfFile, writeNext } from '@bazar/storage';
import type { Stock } from '../store.js';
import { bookColumns, imageColumns, writeBooks } from './book-file.js';
import type { Shown } from './record.js';

/** One sentence for the people who keep the shop. */
export type Log = (level: 'info' | 'warn', sentence: string) => void;

/** Lets others work between two slices of a long piece of work. */
export type Pause = () => Promise<void>;

export const noPause: Pause = async () => {};

export interface WrittenImage {
  readonly image: string;
  readonly imageSha256: string;
}

/** Both files of a snapshot, written and synced, not yet in force. */
export interface PreparedPicture {
  readonly shown: Shown;
  readonly imageSha256: string;
}

/**
 * The catalog as files that a person can open: `catalog_data.csv`, and beside it the image that it
 * was made from, with the running totals. The journal's checkpoint names the image; the data file
 * is for people, and what people write into it is never overwritten.
 */
export interface Picture {
  readonly data: string;
  imagePath(name: string): string;
  /** The names of the images, from the oldest on. */
  images(): Promise<string[]>;
  /** Writes the next image. @throws StorageFull or StorageError, and nothing is left of it */
  writeImage(stocks: readonly Stock[], pause: Pause): Promise<WrittenImage>;
  /** Writes the next image and, beside the data file, its next one; likewise. */
  prepare(stocks: readonly Stock[], pause: Pause): Promise<PreparedPicture>;
  /** Deletes what was prepared, but is not recorded and never will be. */
  discard(prepared: PreparedPicture): Promise<void>;
  /**
   * Puts the prepared data file in force; sets one aside that is not the one shown. May be called
   * again when it failed on the way.
   */
  publish(shown: Shown, prepared: Shown): Promise<void>;
  /** The hash of the data file that is in place. */
  found(): Promise<string | undefined>;
  /** Takes the data file out of force and keeps it; resolves to its new name. */
  setAside(): Promise<string>;
  /** Writes the data file where there is none. */
  layDown(stocks: readonly Stock[]): Promise<void>;
  /** Finishes what a crash left of a replacement: a file of an unknown hash is set aside. */
  judgeReplaced(known: readonly string[]): Promise<void>;
  /** True when the data file of this hash is still waiting for its rename. */
  isWaiting(sha256: string): Promise<boolean>;
  /** Deletes all images but one. */
  keepOnly(image: string): Promise<void>;
}

const imageName = /^catalog_image-(\d{6,})\.csv$/;

/** The number of an image, 1 for the first; 0 for no image. */
export function imageNumber(image: string | undefined): number {
  return Number(imageName.exec(image ?? '')?.[1] ?? 0);
}

export interface PictureOptions {
  readonly disk: Disk;
  readonly folder: string;
  readonly now: () => number;
  readonly log: Log;
}

export function openPicture({ disk, folder, now, log }: PictureOptions): Picture {
  const data = join(folder, 'catalog_data.csv');
  const next = `${data}.next`;
  const replaced = createReplaced({ disk, folder, now, log }, data);

  async function images(): Promise<string[]> {
    const names = (await disk.list(folder)).filter((name) => imageName.test(name));
    return names.sort((a, b) => imageNumber(a) - imageNumber(b));
  }

  async function writeImage(stocks: readonly Stock[], pause: Pause): Promise<WrittenImage> {
    const number = imageNumber((await images()).at(-1)) + 1;
    const image = `catalog_image-${String(number).padStart(6, '0')}.csv`;
    const path = join(folder, image);
    const slices = writeBooks(stocks, imageColumns, pause);
    const { sha256 } = await writeNext({ disk, path, slices });
    await disk.syncFolder(folder).catch((error) => giveBack(path, error));
    return { image, imageSha256: sha256 };
  }

  /** On a full disk each attempt would else take more of the room that the journal needs. */
  async function giveBack(path: string, error: unknown): Promise<never> {
    await disk.remove(path).catch(() => undefined);
    throw error;
  }

  async function writeData(stocks: readonly Stock[], pause: Pause): Promise<string> {
    const slices = writeBooks(stocks, bookColumns, pause);
    const { sha256 } = await writeNext({ disk, path: next, slices });
    await disk.syncFolder(folder);
    return sha256;
  }

  return {
    data,
    imagePath: (name) => join(folder, name),
    images,
    writeImage,
    async prepare(stocks, pause) {
      const { image, imageSha256 } = await writeImage(stocks, pause);
      const path = join(folder, image);
      const sha256 = await writeData(stocks, pause).catch((error) => giveBack(path, error));
      return { shown: { sha256, image }, imageSha256 };
    },
    async discard({ shown }) {
      await disk.remove(join(folder, shown.image));
      await disk.remove(next);
    },
    async publish(shown, prepared) {
      const known = [shown.sha256, prepared.sha256];
      await replaced.judge(known);
      // Where there is none to be put in force, an earlier attempt came as far as that.
      if ((await disk.exists(next)) || (await sha256OfFile(disk, data)) !== prepared.sha256) {
        await replaced.keep(known);
        await disk.rename(next, data);
      }
      await disk.syncFolder(folder);
      // An edit may land at any moment up to the rename, so what was replaced is judged after it.
      await replaced.judge(known);
    },
    found: async () => ((await disk.exists(data)) ? sha256OfFile(disk, data) : undefined),
    async setAside() {
      const aside = await replaced.freeName();
      await disk.rename(data, join(folder, aside));
      await disk.syncFolder(folder);
      return aside;
    },
    async layDown(stocks) {
      await writeData(stocks, noPause);
      await disk.rename(next, data);
      await disk.syncFolder(folder);
    },
    judgeReplaced: replaced.judge,
    isWaiting: async (sha256) =>
      (await disk.exists(next)) && (await sha256OfFile(disk, next)) === sha256,
    async keepOnly(image) {
      for (const name of await images()) if (name !== image) await disk.remove(join(folder, name));
    },
  };
}

/** The data file that was in force, kept under a name of its own until its hash is known. */
function createReplaced({ disk, folder, now, log }: PictureOptions, data: string) {
  const replaced = `${data}.replaced`;

  /** Two edits may be set aside within one tick of the clock. */
  async function freeName(): Promise<string> {
    const time = new Date(now()).toISOString().replaceAll(':', '-');
    for (let turn = 1; ; turn += 1) {
      const name = `catalog_data.edited-${time}${turn === 1 ? '' : `-${turn}`}.csv`;
      if (!(await disk.exists(join(folder, name)))) return name;
    }
  }

  async function setAside(): Promise<void> {
    const aside = await freeName();
    await disk.rename(replaced, join(folder, aside));
    log(
      'warn',
      `catalog_data.csv was edited while the shop was running; the edit is kept as ${aside} and ` +
        'is not in force. To apply it: stop the shop, make the same changes in catalog_data.csv, ' +
        'start the shop; or send them to POST /update/<id>',
    );
  }

  async function judge(known: readonly string[]): Promise<void> {
    if (!(await disk.exists(replaced))) return;
    if (known.includes(await sha256OfFile(disk, replaced))) await disk.remove(replaced);
    else await setAside();
  }

  /**
   * A second name keeps what the rename is about to replace. Where there is none to be had (no
   * file, no hard links), the file is judged before the rename, as well as that can be done.
   */
  async function keep(known: readonly string[]): Promise<void> {
    try {
      await disk.link(data, replaced);
    } catch {
      if (!(await disk.exists(data)) || known.includes(await sha256OfFile(disk, data))) return;
      await disk.rename(data, replaced);
    }
  }

  return { freeName, judge, keep };
}
