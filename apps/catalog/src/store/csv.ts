import { join } from 'node:path';
import { Failure } from '@bazar/contracts';
import {
  type Disk,
  type Journal,
  lockFiles,
  openJournal,
  StorageError,
  StorageFull,
} from '@bazar/storage';
import type { After } from '../catalog.js';
import type { CatalogStore, Operation, Outcome } from '../store.js';
import { openStocks } from './opening.js';
import type { Retention } from './outcomes.js';
import { type Log, openPicture, type Picture } from './picture.js';
import { isOutcome, type OutcomeRecord, readRecord, writeRecord } from './record.js';
import { createReplay, type Replay } from './replay.js';
import { createShelf, type Shelf } from './shelf.js';
import { stageBatch } from './staging.js';

/** Published in the API document; see DESIGN "What is remembered". */
export const retention: Retention = { outcomes: 1_000_000, ageMs: 10 * 60_000 };

/** How the files follow the stock. */
const policy = {
  /** A changed stock is in `catalog_data.csv` at most about this long after. */
  snapshotDelayMs: 500,
  /** Above this many books a snapshot takes at most a twentieth of a core. */
  promptBooks: 10_000,
  restPerWork: 19,
  /** How long nothing must happen before the journal vouches for its last batch. */
  idleMs: 100,
  /** Outcomes a journal segment, the unit in which outcomes are forgotten. */
  segmentOutcomes: 250_000,
  fullDiskRetryMs: 1000,
};

export interface CsvStoreOptions {
  readonly disk: Disk;
  /** The folder of `catalog_data.csv` and the journal. */
  readonly folder: string;
  readonly now: () => number;
  readonly after: After;
  readonly newId: () => string;
  readonly log: Log;
  /** Called once when durability can no longer be promised; the process must stop at once. */
  readonly onBroken: (error: Error) => void;
  readonly retention?: Retention;
}

/**
 * The catalog in plain files: books in memory, every commit in a journal, a picture for people.
 * @throws StorageError (BadFile for a table) when the files are in use, damaged or not readable
 */
export async function openCsvStore(options: CsvStoreOptions): Promise<CatalogStore> {
  const { disk, folder, now, log } = options;
  await disk.makeFolder(folder);
  const lock = await lockFiles(disk, join(folder, 'catalog.lock'));
  try {
    const picture = openPicture({ disk, folder, now, log });
    const { journal, replay } = await openReplayedJournal(options, picture);
    try {
      const opened = await openStocks({ disk, journal, replay, picture, now, log });
      const store = createStore({
        options,
        picture,
        journal,
        replay,
        known: new Set(opened.known),
      });
      return await store.open(createShelf(opened.stocks), opened.dirty, () => lock.release());
    } catch (error) {
      await journal.close();
      throw error;
    }
  } catch (error) {
    await lock.release();
    throw error;
  }
}

async function openReplayedJournal(options: CsvStoreOptions, picture: Picture) {
  const { disk, folder, newId, log, onBroken } = options;
  const replay = createReplay();
  const name = 'catalog_journal';
  const files = await disk.list(folder);
  const images = await picture.images();
  if (images.length > 0 && !files.some((file) => file.startsWith(`${name}-`))) {
    throw new StorageError(
      `${images.at(-1)} is here, but the journal ${name}-*.log is not: restore both, or remove ` +
        'the image to begin anew from catalog_data.csv, forgetting past sales',
    );
  }
  const header = () => {
    replay.catalogId ??= newId();
    const { lastSale } = replay.outcomes;
    return writeRecord({ kind: 'segment', format: 1, catalog: replay.catalogId, sale: lastSale });
  };
  const journal = await openJournal({
    disk,
    folder,
    name,
    header,
    onRecord: replay.take,
    onCut: (sentence) => log('warn', sentence),
    onBroken,
  });
  // The header of a new journal was written, not read.
  if (!replay.begun) replay.outcomes.begin(newestSegment(journal), 0);
  return { journal, replay };
}

function newestSegment(journal: Journal): number {
  return journal.segments.at(-1)?.number ?? 1;
}

interface Parts {
  readonly options: CsvStoreOptions;
  readonly picture: Picture;
  readonly journal: Journal;
  readonly replay: Replay;
  readonly known: Set<string>;
}

function createStore({ options, picture, journal, replay, known }: Parts) {
  const { now, after, log } = options;
  const { outcomes } = replay;
  const exclusive = createQueue();
  let shelf: Shelf = createShelf([]);
  let visibleSequence = journal.nextSequence - 1;
  let changedSequence = visibleSequence;
  let pictureSequence = visibleSequence;
  let loggedThrough = 0;
  let closing = false;
  let cancelSeal = () => {};
  let cancelSnapshot = () => {};
  let snapshot: Promise<void> | undefined;

  async function commit(operations: readonly Operation[]): Promise<readonly Outcome[]> {
    const { results, stocks, records } = await stageBatch(operations, {
      shelf,
      outcomes,
      at: now(),
      recall: async ({ place }) => toOutcome(await journal.read(place)),
    });
    if (records.length > 0) {
      const places = await journal.append(records.map(writeRecord));
      for (const [index, record] of records.entries()) {
        const place = places[index];
        if (place !== undefined) outcomes.remember(record, place);
      }
      for (const stock of stocks.values()) shelf.put(stock);
      visibleSequence = journal.nextSequence - 1;
      scheduleSeal();
      if (stocks.size > 0) {
        changedSequence = visibleSequence;
        scheduleSnapshot(policy.snapshotDelayMs);
      }
    }
    return results;
  }

  /** The vouching seal waits for a quiet moment, so that a busy journal pays nothing for it. */
  function scheduleSeal(): void {
    cancelSeal();
    if (closing) return;
    cancelSeal = after(policy.idleMs, () => {
      void exclusive(() => journal.seal()).catch(ignoreFullDisk);
    });
  }

  function scheduleSnapshot(delayMs: number): void {
    if (closing || snapshot !== undefined) return;
    snapshot = new Promise<void>((resolve) => {
      const cancel = after(delayMs, resolve);
      cancelSnapshot = () => {
        cancel();
        resolve();
      };
    })
      .then(() => (closing ? undefined : takeSnapshot()))
      .then(
        () => policy.snapshotDelayMs,
        (error: unknown) => {
          ignoreFullDisk(error);
          log('warn', 'the disk is full: catalog_data.csv cannot follow the stock for the moment');
          return policy.fullDiskRetryMs;
        },
      )
      .then((nextDelayMs) => {
        snapshot = undefined;
        if (pictureSequence < changedSequence) scheduleSnapshot(nextDelayMs);
      });
  }

  function ignoreFullDisk(error: unknown): void {
    if (error instanceof StorageFull) return;
    options.onBroken(error instanceof Error ? error : new Error(String(error)));
  }

  /** Works in slices. Above `promptBooks` it rests after each, unless the shop is closing. */
  function createPause(books: number): () => Promise<void> {
    let since = performance.now();
    return async () => {
      const worked = performance.now() - since;
      const rest = books <= policy.promptBooks || closing ? 0 : worked * policy.restPerWork;
      await new Promise<void>((resolve) => after(rest, resolve));
      since = performance.now();
    };
  }

  async function takeSnapshot(): Promise<void> {
    const sequence = visibleSequence;
    const stocks = shelf.copy();
    const prepared = await picture.prepare(stocks, createPause(stocks.length));
    const replaces = [...known];
    await exclusive(() =>
      journal.append([
        writeRecord({ kind: 'checkpoint', at: now(), ...prepared, replaces, sequence }),
      ]),
    );
    scheduleSeal();
    await picture.publish(known);
    known.clear();
    known.add(prepared.dataSha256);
    await picture.keepOnly(prepared.image);
    pictureSequence = sequence;
    await exclusive(retire);
  }

  /** Begins a new segment when the newest is full, and forgets what need not be kept. */
  async function retire(): Promise<void> {
    if (outcomes.newest >= policy.segmentOutcomes) {
      await journal.rotate();
      outcomes.begin(newestSegment(journal), outcomes.lastSale);
    }
    const limits = options.retention ?? retention;
    const forgotten = outcomes.forget(limits, loggedThrough, now(), newestSegment(journal));
    if (forgotten > 0) await journal.retire(forgotten);
  }

  const store: CatalogStore = {
    async apply(operations) {
      try {
        return await exclusive(() => commit(operations));
      } catch (error) {
        if (!(error instanceof StorageFull)) throw error;
        throw new Failure('storage_full', 'the catalog has no room to record it', { cause: error });
      }
    },
    book: async (id) => {
      const stock = shelf.get(id);
      if (stock === undefined) return undefined;
      const { title, topic, quantity, price } = stock;
      return { id, title, topic, quantity, price };
    },
    search: async (topic, afterId, limit) => shelf.search(topic, afterId, limit),
    topics: async (afterTopic, limit) => shelf.topics(afterTopic, limit),
    async operations(afterSale, limit) {
      const { firstSale, lastSale } = outcomes;
      // A number beyond the last sale is no report of ours; the order service will say why.
      if (afterSale <= lastSale) loggedThrough = Math.max(loggedThrough, afterSale);
      const operations = outcomes.sales(afterSale, limit);
      return { catalogId: replay.catalogId ?? '', firstSale, lastSale, operations };
    },
    totals: async (afterId, limit) => ({
      sale: outcomes.lastSale,
      books: shelf.page(afterId, limit),
    }),
    async close() {
      closing = true;
      cancelSeal();
      cancelSnapshot();
      await snapshot;
      if (pictureSequence < changedSequence) await takeSnapshot().catch(ignoreFullDisk);
      await exclusive(() => journal.close());
      await release();
    },
  };

  let release = async () => {};

  return {
    async open(stocks: Shelf, dirty: boolean, releaseLock: () => Promise<void>) {
      shelf = stocks;
      release = releaseLock;
      visibleSequence = journal.nextSequence - 1;
      changedSequence = visibleSequence;
      pictureSequence = visibleSequence;
      if (dirty) await takeSnapshot();
      return store;
    },
  };
}

function toOutcome(payload: string): OutcomeRecord {
  const record = readRecord(payload);
  if (!isOutcome(record))
    throw new StorageError(`the journal has a ${record.kind}, not an outcome`);
  return record;
}

/** Runs one piece of work at a time, in the order asked; a failure is its asker's alone. */
function createQueue() {
  let last: Promise<unknown> = Promise.resolve();
  return <Result>(work: () => Promise<Result>): Promise<Result> => {
    const result = last.then(work, work);
    last = result.catch(() => undefined);
    return result;
  };
}
