import { join } from 'node:path';
import { type Disk, sha256OfFile, writeNext } from '@bazar/storage';
import type { Stock } from '../store.js';
import { bookColumns, imageColumns, writeBooks } from './book-file.js';

/** One sentence for the people who keep the shop. */
export type Log = (level: 'info' | 'warn', sentence: string) => void;

/** Both files of a snapshot, written and synced, not yet in force. */
export interface PreparedPicture {
  readonly image: string;
  readonly imageSha256: string;
  readonly dataSha256: string;
}

/**
 * The catalog as files that a person can open: `catalog_data.csv`, and beside it the image that it
 * was made from, with the running totals. The journal's checkpoint names the image; the data file
 * is for people, and what people write into it is never overwritten.
 */
export interface Picture {
  readonly data: string;
  imagePath(name: string): string;
  prepare(stocks: readonly Stock[], pause: () => Promise<void>): Promise<PreparedPicture>;
  /** Puts the prepared data file in force; one that the shop does not know is set aside. */
  publish(known: ReadonlySet<string>): Promise<void>;
  /** True when the data file of this hash is still waiting for its rename. */
  isWaiting(sha256: string): Promise<boolean>;
  /** Deletes all images but one. */
  keepOnly(image: string): Promise<void>;
  images(): Promise<string[]>;
}

const imageName = /^catalog_image-(\d+)\.csv$/;

export interface PictureOptions {
  readonly disk: Disk;
  readonly folder: string;
  readonly now: () => number;
  readonly log: Log;
}

export function openPicture({ disk, folder, now, log }: PictureOptions): Picture {
  const data = join(folder, 'catalog_data.csv');
  const next = `${data}.next`;
  /** The file that was in force, kept under this name until its hash is known. */
  const replaced = `${data}.replaced`;

  async function images(): Promise<string[]> {
    return (await disk.list(folder)).filter((name) => imageName.test(name)).sort();
  }

  async function setAside(): Promise<void> {
    const time = new Date(now()).toISOString().replaceAll(':', '-');
    const aside = `catalog_data.edited-${time}.csv`;
    await disk.rename(replaced, join(folder, aside));
    log(
      'warn',
      `catalog_data.csv was edited while the shop was running; the edit is kept as ${aside} and ` +
        'is not in force. To apply it: stop the shop, make the same changes in catalog_data.csv, ' +
        'start the shop; or send them to POST /update/<id>',
    );
  }

  /** An edit may land at any moment up to the rename, so what was replaced is judged after it. */
  async function judgeReplaced(known: ReadonlySet<string>): Promise<void> {
    if (!(await disk.exists(replaced))) return;
    if (known.has(await sha256OfFile(disk, replaced))) await disk.remove(replaced);
    else await setAside();
  }

  return {
    data,
    images,
    imagePath: (name) => join(folder, name),
    async prepare(stocks, pause) {
      const newest = imageName.exec((await images()).at(-1) ?? '')?.[1] ?? '0';
      const image = `catalog_image-${String(Number(newest) + 1).padStart(6, '0')}.csv`;
      const slices = writeBooks(stocks, imageColumns, pause);
      const written = await writeNext({ disk, path: join(folder, image), slices });
      const rows = writeBooks(stocks, bookColumns, pause);
      const { sha256: dataSha256 } = await writeNext({ disk, path: next, slices: rows });
      await disk.syncFolder(folder);
      return { image, imageSha256: written.sha256, dataSha256 };
    },
    async publish(known) {
      await judgeReplaced(known);
      if (await disk.exists(data)) await disk.link(data, replaced);
      await disk.rename(next, data);
      await disk.syncFolder(folder);
      await judgeReplaced(known);
    },
    isWaiting: async (sha256) =>
      (await disk.exists(next)) && (await sha256OfFile(disk, next)) === sha256,
    async keepOnly(image) {
      for (const name of await images()) if (name !== image) await disk.remove(join(folder, name));
    },
  };
}
