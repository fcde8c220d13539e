import { type Disk, type Journal, StorageError, sha256OfFile } from '@bazar/storage';
import type { Stock } from '../store.js';
import { readBooks, readImage } from './book-file.js';
import { mergeEdit } from './edit.js';
import type { Log, Picture } from './picture.js';
import { writeRecord } from './record.js';
import { applyEffects, type Checkpoint, type Replay } from './replay.js';

/** The four books of the report, laid down when there is neither a file nor a journal. */
const reportBooks: readonly Stock[] = [
  [1, 'How to get a good grade in DOS in 40 minutes a day', 'distributed', 10, 30] as const,
  [2, 'RPCs for Noobs', 'distributed', 2, 50] as const,
  [3, 'Xen and the Art of Surviving Undergraduate School', 'undergrad', 3, 40] as const,
  [4, 'Cooking for the Impatient Undergrad', 'undergrad', 6, 35] as const,
].map(([id, title, topic, quantity, price]) => ({
  id,
  title,
  topic,
  quantity,
  price,
  stocked: quantity,
  sold: 0,
}));

export interface OpeningOptions {
  readonly disk: Disk;
  readonly journal: Journal;
  readonly replay: Replay;
  readonly picture: Picture;
  readonly now: () => number;
  readonly log: Log;
}

export interface Opened {
  readonly stocks: readonly Stock[];
  /** The hashes of `catalog_data.csv` that the shop knows and may replace. */
  readonly known: ReadonlySet<string>;
  /** True when the files do not show these stocks yet. */
  readonly dirty: boolean;
}

/** The stocks that a start begins with: from the books as found, or from image, journal and edit. */
export async function openStocks(options: OpeningOptions): Promise<Opened> {
  const { checkpoint } = options.replay;
  if (checkpoint === undefined) return firstStart(options);
  const { disk, picture, replay, log } = options;
  const image = await readCheckedImage(disk, picture, checkpoint);
  const stocks = applyEffects(image, replay.effects, checkpoint.sequence);
  const known = new Set([checkpoint.dataSha256, ...replay.adopted]);
  if (await picture.isWaiting(checkpoint.dataSha256)) {
    for (const sha256 of checkpoint.replaces) known.add(sha256);
  }
  if (!(await disk.exists(picture.data))) {
    log('warn', 'catalog_data.csv was missing; it is written again from the image and the journal');
    return { stocks, known, dirty: true };
  }
  const found = await sha256OfFile(disk, picture.data);
  if (known.has(found)) {
    return { stocks, known, dirty: found !== checkpoint.dataSha256 || replay.effects.size > 0 };
  }
  return { stocks: await adoptEdit(options, checkpoint, stocks, known), known, dirty: true };
}

async function firstStart(options: OpeningOptions): Promise<Opened> {
  const { disk, picture, replay, log } = options;
  if (replay.outcomes.lastSale > 0 || replay.effects.size > 0) {
    throw new StorageError('the catalog journal has operations, but no checkpoint to begin from');
  }
  if (!(await disk.exists(picture.data))) {
    log('info', `no catalog_data.csv: the report's ${reportBooks.length} books are laid down`);
    return { stocks: reportBooks, known: new Set(), dirty: true };
  }
  const { rows, sha256 } = await readBooks(disk, picture.data);
  log('info', `catalog_data.csv: ${rows.length} books are taken over as they are found`);
  const stocks = rows.map((book) => ({ ...book, stocked: book.quantity, sold: 0 }));
  return { stocks, known: new Set([sha256]), dirty: true };
}

async function readCheckedImage(disk: Disk, picture: Picture, checkpoint: Checkpoint) {
  const path = picture.imagePath(checkpoint.image);
  if (!(await disk.exists(path))) {
    throw new StorageError(`${checkpoint.image} is missing; the journal's checkpoint needs it`);
  }
  const { rows, sha256 } = await readImage(disk, path);
  if (sha256 !== checkpoint.imageSha256) {
    throw new StorageError(
      `${checkpoint.image} is not the file that the journal's checkpoint names`,
    );
  }
  return rows;
}

/** Takes over what a person changed in `catalog_data.csv` while the shop was stopped. */
async function adoptEdit(
  { disk, journal, picture, now, log }: OpeningOptions,
  checkpoint: Checkpoint,
  stocks: readonly Stock[],
  known: Set<string>,
): Promise<Stock[]> {
  const { rows: edited, sha256 } = await readBooks(disk, picture.data);
  const earlier = (await picture.images()).filter((name) => name < checkpoint.image).at(-1);
  const waiting = await picture.isWaiting(checkpoint.dataSha256);
  const base = waiting && earlier !== undefined ? earlier : checkpoint.image;
  const { rows: before } = await readImage(disk, picture.imagePath(base));
  const current = new Map(stocks.map((stock) => [stock.id, stock]));
  const { changes, sentences } = mergeEdit(before, edited, (id) => current.get(id));
  const at = now();
  // One append: either the closing record is there and all rows count, or none does.
  await journal.append([
    ...changes.map((stock) => writeRecord({ kind: 'edit', at, stock })),
    writeRecord({ kind: 'adopted', at, sha256, rows: changes.length }),
  ]);
  log('warn', `catalog_data.csv was edited while the shop was stopped: ${changes.length} changes`);
  for (const sentence of sentences.slice(0, 100)) log('warn', `adopted: ${sentence}`);
  if (sentences.length > 100) log('warn', `adopted: ${sentences.length - 100} further changes`);
  known.add(sha256);
  for (const stock of changes) current.set(stock.id, stock);
  return [...current.values()];
}
