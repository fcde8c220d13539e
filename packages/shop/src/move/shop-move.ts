import { type CatalogTarget, openCatalogTarget } from '@bazar/catalog';
import { Failure } from '@bazar/contracts';
import { type OrderTarget, openOrderTarget } from '@bazar/order';
import {
  type MoveNote,
  moveNoteName,
  nodeDisk,
  readMoveNote,
  removeMoveNote,
  writeMoveNote,
} from '@bazar/storage';
import type { MoveConfig } from './config.js';
import { openFiles, type ShopFiles } from './files.js';
import { createProgress } from './progress.js';
import { MoveRefused } from './refusal.js';
import { comparison, differences, type ShopSums } from './sums.js';

export interface MoveEffects {
  readonly say: (line: string) => void;
  /** Aborted by whoever wants the move to end; it is asked until the first commit. */
  readonly stop: AbortSignal;
}

interface Targets {
  readonly catalog: CatalogTarget;
  readonly order: OrderTarget;
}

/**
 * Takes the shop of a folder into two new databases, all or nothing.
 *
 * The books are copied first and committed last, around the orders. So a kill finds both databases
 * new; or, between the two commits, the order database done and no books: then no catalog starts
 * there (`unfinished_move` stands in it), and with any other catalog the order service refuses to
 * start, for the identities differ. The note in the folder is written between the two commits as
 * well: once there are books to be sold in the database, no service sells them from the files. In
 * all of these states the same command once more comes to the end.
 *
 * @throws MoveRefused, StorageError, DatabaseError and Failure, with a sentence; Interrupted
 */
export async function moveShop(config: MoveConfig, effects: MoveEffects): Promise<void> {
  const { DATA_DIR: folder, CATALOG_DATABASE_URL, ORDER_DATABASE_URL } = config;
  const urls = [CATALOG_DATABASE_URL, ORDER_DATABASE_URL];
  const { say, stop } = effects;
  const journey = { ...effects, folder, to: urls.map(placeOf), isAhead: false };
  const progress = createProgress(say, () => assertWanted(journey));
  const files = await openFiles(folder, say, progress);
  try {
    stop.throwIfAborted();
    const log = (_level: string, sentence: string) => say(sentence);
    const catalog = await openCatalogTarget(CATALOG_DATABASE_URL, log);
    try {
      const order = await openOrderTarget(ORDER_DATABASE_URL, log);
      try {
        await moveInto({ catalog, order }, files, journey);
      } finally {
        await order.close();
      }
    } finally {
      await catalog.close();
    }
  } finally {
    await files.close();
  }
}

/** A database without who may come in, and how. */
function placeOf(url: string): string {
  const { hostname, port, pathname } = new URL(url);
  return `${hostname}:${port || 5432}${pathname}`;
}

interface Journey extends MoveEffects {
  readonly folder: string;
  readonly to: readonly string[];
  /** Whether the orders are there for good, by this move or by one that was killed. */
  isAhead: boolean;
}

/** Once the orders are there for good, the end is the only place where nothing is half done. */
function assertWanted({ stop, isAhead }: Journey): void {
  if (!isAhead) stop.throwIfAborted();
}

async function moveInto(targets: Targets, files: ShopFiles, journey: Journey): Promise<void> {
  const { say, folder, to } = journey;
  const { catalogId: id } = files.sums;
  const before = await readMoveNote(nodeDisk, folder);
  journey.isAhead = await refuseElsewhere(before, targets, files, journey);
  const note = { id, to };
  let noted = false;
  let there: Partial<ShopSums> = {};

  async function moveOrders(): Promise<void> {
    await targets.order.fill(files.rows, async (sums, wasNew) => {
      compare('order', files.sums, sums, wasNew);
      there = { ...there, ...sums };
      await targets.catalog.noteBegun();
      assertWanted(journey);
    });
    journey.isAhead = true;
  }

  try {
    await targets.catalog.fill(files.rows, {
      async check(sums, wasNew) {
        compare('catalog', files.sums, sums, wasNew);
        there = { ...sums };
        await moveOrders();
      },
      async beforeCommit() {
        noted = true;
        await writeMoveNote(nodeDisk, folder, { ...note, isDone: false });
      },
    });
  } catch (error) {
    if (isUnknown(error)) throw unknownEnd(error);
    // A note that stays all the same says what there is to do.
    if (noted) await restoreNote(folder, before).catch(() => undefined);
    if (!journey.isAhead) await targets.catalog.forgetBegun().catch(() => undefined);
    throw error;
  }
  await writeMoveNote(nodeDisk, folder, { ...note, isDone: true }).catch((cause: unknown) => {
    throw new MoveRefused(
      'it is in the databases, but that could not be noted in the folder: run it again',
      { cause },
    );
  });
  for (const line of comparison(files.sums, { ...files.sums, ...there })) say(line);
  if (files.pending > 0) {
    say(`${files.pending} sales are not logged yet: the order service does so when it starts.`);
  }
  if (files.reportRows > 0) {
    say(`${files.reportRows} rows of the report have no number of an order, and stay in the file.`);
  }
  say(
    `The shop is in ${to.join(' and ')} now. The files in ${folder} are a backup: no shop starts ` +
      `on them while ${moveNoteName} is there.`,
  );
}

/**
 * Resolves to whether the order database has the orders already.
 * @throws MoveRefused where a move of these files to other places, or of other files, has been
 */
async function refuseElsewhere(
  note: MoveNote | undefined,
  { catalog, order }: Targets,
  { sums }: ShopFiles,
  { folder, to }: Journey,
): Promise<boolean> {
  const found = { catalog: await catalog.look(), order: await order.look() };
  for (const name of ['catalog', 'order'] as const) {
    if (found[name] === undefined || found[name] === sums.catalogId) continue;
    throw new MoveRefused(
      `the ${name} database is not new: it has the shop of catalog ${found[name]}. Give a new one, ` +
        'or drop it and create it again',
    );
  }
  const isBegun = found.order !== undefined;
  if (note === undefined) return isBegun;
  const again = `To move it again, make sure that nobody sells from there, and delete ${moveNoteName}`;
  if (note.id !== sums.catalogId || note.to.join() !== to.join()) {
    throw new MoveRefused(`${folder} was moved to ${note.to.join(' and ')}. ${again}`);
  }
  if (note.isDone && (found.catalog === undefined || found.order === undefined)) {
    throw new MoveRefused(`${folder} was moved there already, and what it held is gone. ${again}`);
  }
  return isBegun;
}

/** @throws MoveRefused when the database does not hold what the files do */
function compare(
  name: 'catalog' | 'order',
  here: ShopSums,
  there: Partial<ShopSums>,
  wasNew: boolean,
): void {
  const found = differences(here, there);
  if (found.length === 0) return;
  throw new MoveRefused(
    wasNew
      ? `what came into the ${name} database is not what the files hold (${found.join(', ')}), ` +
          'and was taken back'
      : `the ${name} database has this shop already, as it is not in the files by now ` +
          `(${found.join(', ')}). Give a new one, or drop it and create it again`,
  );
}

/** Whether a COMMIT may have been kept, or not. */
function isUnknown(error: unknown): error is Failure {
  return error instanceof Failure && !error.nothingDone;
}

function unknownEnd(cause: Failure): MoveRefused {
  return new MoveRefused(
    `${cause.message}, so nobody knows whether the move has come to its end: run it again`,
    { cause },
  );
}

async function restoreNote(folder: string, before: MoveNote | undefined): Promise<void> {
  if (before === undefined) await removeMoveNote(nodeDisk, folder);
  else await writeMoveNote(nodeDisk, folder, before);
}
