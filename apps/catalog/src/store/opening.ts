import { type Disk, type Journal, StorageError } from '@bazar/storage';
import type { Stock } from '../store.js';
import { readBooks, readImage, toStock } from './book-file.js';
import { mergeEdit } from './edit.js';
import { imageNumber, type Log, noPause, type Picture } from './picture.js';
import { type PastPicture, type Shown, writeRecord } from './record.js';
import { applyEffects, type Checkpoint, type Replay } from './replay.js';
import { reportBooks } from './report-books.js';

export interface OpeningOptions {
  readonly disk: Disk;
  readonly journal: Journal;
  readonly replay: Replay;
  readonly picture: Picture;
  /** The hash of the data file that is in place. */
  readonly found: string | undefined;
  readonly now: () => number;
  readonly log: Log;
}

export interface Opened {
  readonly stocks: readonly Stock[];
  /** The data file that is in place, which the shop knows and may replace. */
  readonly shown: Shown;
  /** True when the files do not show these stocks yet. */
  readonly dirty: boolean;
}

/** The stocks that a start begins with: the books as found, or image, journal and edit. */
export async function openStocks(options: OpeningOptions): Promise<Opened> {
  const { checkpoint } = options.replay;
  if (checkpoint === undefined) return firstStart(options);
  const { disk, picture, replay, found, log } = options;
  const image = await readCheckedImage(disk, picture, checkpoint);
  const stocks = applyEffects(image, replay.effects, checkpoint.sequence);
  // A later snapshot of the same books has the same hash: what waits then is that one, unrecorded.
  const isPublished = found === checkpoint.shown.sha256;
  const isWaiting = !isPublished && (await picture.isWaiting(checkpoint.shown.sha256));
  const before = isWaiting ? checkpoint.replaces : undefined;
  const shown = replay.adopted ?? before ?? checkpoint.shown;
  const isBehind = replay.effects.size > 0 || shown !== checkpoint.shown;
  if (found === undefined) {
    log('warn', 'catalog_data.csv was missing; it is written again from the image and the journal');
    return { stocks, shown, dirty: true };
  }
  const known = [found, shown.sha256, checkpoint.shown.sha256, checkpoint.replaces?.sha256 ?? ''];
  const past = replay.pictures.found;
  // Where nothing was sold since, a person may take all edits back; no copy is sold twice by that.
  if (found !== shown.sha256 && past !== undefined && past.sequence < replay.soldUpTo) {
    await setOldCopyAside(options, past);
    await picture.judgeReplaced(known);
    return { stocks, shown, dirty: true };
  }
  if (found !== shown.sha256) {
    const edited = await adoptEdit(options, stocks, shown);
    await picture.judgeReplaced([...known, edited.shown.sha256]);
    return edited;
  }
  await picture.judgeReplaced(known);
  if (shown !== before) return { stocks, shown, dirty: isBehind };
  // The rename comes first of all: once the waiting file is written anew, nothing would tell that
  // the one in place is no person's edit.
  await picture.publish(shown, checkpoint.shown);
  return { stocks, shown: checkpoint.shown, dirty: replay.effects.size > 0 };
}

/** Takes over the books as they are found; the file stays as it is until the stock changes. */
async function firstStart(options: OpeningOptions): Promise<Opened> {
  const { disk, journal, picture, replay, now, log } = options;
  const left = (await picture.images()).at(-1);
  // A crash at a first start leaves the first image at most.
  if (replay.outcomes.lastSale > 0 || replay.effects.size > 0 || imageNumber(left) > 1) {
    throw new StorageError(
      'the catalog journal has no checkpoint to begin from, though the shop was open before; ' +
        'restore the folder from a copy',
    );
  }
  const isNew = !(await disk.exists(picture.data));
  if (isNew) await picture.layDown(reportBooks.map((book) => toStock(book, book.quantity, 0)));
  const { rows, sha256 } = await readBooks(disk, picture.data);
  log(
    'info',
    isNew
      ? `no catalog_data.csv: the report's ${rows.length} books are laid down`
      : `catalog_data.csv: ${rows.length} books are taken over as they are found`,
  );
  const stocks = rows.map((book) => toStock(book, book.quantity, 0));
  if (left !== undefined) await disk.remove(picture.imagePath(left));
  const { image, imageSha256 } = await picture.writeImage(stocks, noPause);
  const shown = { sha256, image };
  const checkpoint = { at: now(), shown, imageSha256, sequence: journal.nextSequence - 1 };
  await journal.append([writeRecord({ kind: 'checkpoint', ...checkpoint })]);
  replay.pictures.add({ ...checkpoint, sha256 });
  return { stocks, shown, dirty: false };
}

async function readCheckedImage(disk: Disk, picture: Picture, checkpoint: Checkpoint) {
  const { image } = checkpoint.shown;
  const path = picture.imagePath(image);
  if (!(await disk.exists(path))) {
    throw new StorageError(`${image} is missing; the journal's checkpoint needs it`);
  }
  const { rows, sha256 } = await readImage(disk, path);
  if (sha256 !== checkpoint.imageSha256) {
    throw new StorageError(`${image} is not the file that the journal's checkpoint names`);
  }
  return rows;
}

/** An old file of the shop's own says nothing of what a person wishes, only what once was. */
async function setOldCopyAside({ picture, log }: OpeningOptions, past: PastPicture) {
  const aside = await picture.setAside();
  log(
    'warn',
    `catalog_data.csv was the shop's own file of ${new Date(past.at).toISOString()} (journal ` +
      `record ${past.sequence}): copies that were sold since would be on sale again. It is kept ` +
      `as ${aside} and is not in force. To go back to any of it: stop the shop, make the ` +
      'same changes in catalog_data.csv, start the shop; or send them to POST /update/<id>',
  );
}

/**
 * Takes over what a person changed in `catalog_data.csv` while the shop was stopped.
 * @param shown what the file was made from
 */
async function adoptEdit(
  { disk, journal, picture, now, log }: OpeningOptions,
  stocks: readonly Stock[],
  shown: Shown,
): Promise<Opened> {
  const { rows: edited, sha256 } = await readBooks(disk, picture.data);
  const { rows: base } = await readImage(disk, picture.imagePath(shown.image));
  const current = new Map(stocks.map((stock) => [stock.id, stock]));
  const { changes, sentences } = mergeEdit(base, edited, (id) => current.get(id));
  // The person may go on editing after a crash, and then this is what their file was made from.
  const asFound = edited.map((book) => toStock(book, book.quantity, 0));
  const { image } = await picture.writeImage(asFound, noPause);
  const adopted = { sha256, image };
  const at = now();
  // One append: either the closing record is there and all rows count, or none does.
  await journal.append([
    ...changes.map((stock) => writeRecord({ kind: 'edit', at, stock })),
    writeRecord({ kind: 'adopted', at, rows: changes.length, shown: adopted }),
  ]);
  log(
    'warn',
    `catalog_data.csv was edited while the shop was stopped; books changed: ${changes.length}`,
  );
  for (const sentence of sentences.slice(0, 100)) log('warn', `adopted: ${sentence}`);
  if (sentences.length > 100) log('warn', `adopted: and ${sentences.length - 100} more`);
  for (const stock of changes) current.set(stock.id, stock);
  return { stocks: [...current.values()], shown: adopted, dirty: true };
}
