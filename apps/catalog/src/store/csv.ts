import { join } from 'node:path';
import { Failure, remembered } from '@bazar/contracts';
import type { After } from '@bazar/contracts/internal';
import {
  type Disk,
  isFull,
  type Journal,
  type Lock,
  lockFiles,
  openJournal,
  refuseMoved,
  StorageError,
  StorageFull,
} from '@bazar/storage';
import type { CatalogStore, Operation, Outcome } from '../store.js';
import { type Opened, openStocks } from './opening.js';
import type { Outcomes, Retention } from './outcomes.js';
import { type Log, openPicture, type Picture } from './picture.js';
import { isOutcome, type OutcomeRecord, readRecord, writeRecord } from './record.js';
import { createReplay, type Replay } from './replay.js';
import { createShelf, type Shelf } from './shelf.js';
import { createSnapshots } from './snapshots.js';
import { stageBatch } from './staging.js';

/** How long nothing must happen before the journal vouches for its last batch. */
const idleMs = 100;

/** A journal segment holds this share of what is remembered; it is the unit of forgetting. */
const segmentsRemembered = 4;

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
  /** Opens the files even where the shop was moved from them: for who reads, and sells nothing. */
  readonly evenIfMoved?: boolean;
}

export interface CsvStore extends CatalogStore {
  /** All that is remembered, each id once, in the order of the commits; nobody may sell meanwhile. */
  outcomes(): AsyncGenerator<readonly OutcomeRecord[]>;
}

/**
 * The catalog in plain files: books in memory, every commit in a journal, a picture for people.
 * @throws StorageError (BadFile for a table) when the files are in use, damaged or not readable
 */
export async function openCsvStore(options: CsvStoreOptions): Promise<CsvStore> {
  const { disk, folder, now, log } = options;
  await disk.makeFolder(folder);
  const lock = await lockFiles(disk, join(folder, 'catalog.lock'));
  try {
    if (options.evenIfMoved !== true) await refuseMoved(disk, folder);
    const picture = openPicture({ disk, folder, now, log });
    const onBroken = once(options.onBroken);
    const found = await picture.found();
    const replay = createReplay(found);
    const journal = await openReplayedJournal({ ...options, onBroken }, picture, replay);
    try {
      const opened = await openStocks({ disk, journal, replay, picture, found, now, log });
      replay.effects.clear();
      const files = { picture, journal, lock };
      return createStore({ ...options, onBroken }, files, replay, opened);
    } catch (error) {
      await journal.close();
      throw error;
    }
  } catch (error) {
    await lock.release();
    throw error;
  }
}

/** The journal tells that it broke, and so does whoever waited for it. */
function once(run: (error: Error) => void): (error: Error) => void {
  let ran = false;
  return (error) => {
    if (!ran) run(error);
    ran = true;
  };
}

async function openReplayedJournal(
  options: CsvStoreOptions,
  picture: Picture,
  replay: Replay,
): Promise<Journal> {
  const { disk, folder, newId, log, onBroken } = options;
  const name = 'catalog_journal';
  const newestImage = (await picture.images()).at(-1);
  const header = () => {
    if (replay.catalogId === undefined && newestImage !== undefined) {
      throw new StorageError(
        `${newestImage} is here, but the journal ${name}-*.log is not, and without it nobody ` +
          'knows what was sold: restore all catalog files together from one copy',
      );
    }
    replay.catalogId ??= newId();
    const { lastSale } = replay.outcomes;
    return writeRecord({
      kind: 'segment',
      format: 1,
      catalog: replay.catalogId,
      sale: lastSale,
      pictures: replay.pictures.newest(),
    });
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
  return journal;
}

function newestSegment(journal: Journal): number {
  return journal.segments.at(-1)?.number ?? 1;
}

interface Files {
  readonly picture: Picture;
  readonly journal: Journal;
  readonly lock: Lock;
}

function createStore(
  options: CsvStoreOptions,
  { picture, journal, lock }: Files,
  { outcomes, catalogId = '', pictures }: Replay,
  { stocks, shown, dirty }: Opened,
): CsvStore {
  const { now, after, log } = options;
  const limits = options.retention ?? remembered;
  const segmentOutcomes = Math.ceil(limits.outcomes / segmentsRemembered);
  const exclusive = createQueue();
  const shelf = createShelf(stocks);
  const readers = createReaders(shelf, outcomes, catalogId);
  let visibleSequence = journal.nextSequence - 1;
  let closing = false;
  let cancelSeal = () => {};

  const snapshots = createSnapshots({
    picture,
    journal,
    exclusive,
    shown,
    pictures,
    current: () => ({ stocks: shelf.copy(), sequence: visibleSequence }),
    async onTaken() {
      scheduleSeal();
      await exclusive(retire).catch(stopUnlessFull);
    },
    onError: stopUnlessFull,
    now,
    after,
    log,
  });

  async function commit(operations: readonly Operation[]): Promise<readonly Outcome[]> {
    const { results, stocks, records } = await stageBatch(operations, {
      shelf,
      outcomes,
      at: now(),
      recall: async ({ place }) => toOutcome(await journal.read(place)),
    });
    if (records.length === 0) return results;
    const places = await journal.append(records.map(writeRecord));
    for (const [index, record] of records.entries()) {
      const place = places[index];
      if (place !== undefined) outcomes.remember(record, place);
    }
    for (const stock of stocks.values()) shelf.put(stock);
    visibleSequence = journal.nextSequence - 1;
    scheduleSeal();
    // Segments end with a snapshot, also where nothing but sold-out answers fills them.
    if (stocks.size > 0 || outcomes.newest >= segmentOutcomes) snapshots.changed();
    return results;
  }

  /** The vouching seal waits for a quiet moment, so that a busy journal pays nothing for it. */
  function scheduleSeal(): void {
    cancelSeal();
    if (closing) return;
    cancelSeal = after(idleMs, () => {
      void exclusive(() => journal.seal()).catch(stopUnlessFull);
    });
  }

  function stopUnlessFull(error: unknown): void {
    if (isFull(error)) return;
    options.onBroken(error instanceof Error ? error : new Error(String(error)));
  }

  /** Begins a new segment when the newest is full, and forgets what need not be kept. */
  async function retire(): Promise<void> {
    // The last checkpoint stands here: a start needs this segment, however little is remembered.
    const segment = newestSegment(journal);
    if (outcomes.newest >= segmentOutcomes) {
      await journal.rotate();
      outcomes.begin(newestSegment(journal), outcomes.lastSale);
    }
    const forgotten = outcomes.forget(limits, readers.loggedThrough, now(), segment);
    if (forgotten > 0) await journal.retire(forgotten);
  }

  scheduleSeal();
  if (dirty) snapshots.changed();

  return {
    async apply(operations) {
      try {
        return await exclusive(() => commit(operations));
      } catch (error) {
        if (!(error instanceof StorageFull)) throw error;
        throw new Failure('storage_full', 'the catalog has no room to record it', { cause: error });
      }
    },
    book: readers.book,
    search: readers.search,
    topics: readers.topics,
    async operations(after, limit) {
      // The order service asks all the time: an idle shop sees by this that its journal is gone.
      await journal.verify();
      return readers.operations(after, limit);
    },
    totals: readers.totals,
    outcomes: () => readOutcomes(journal, outcomes),
    async close() {
      closing = true;
      cancelSeal();
      await snapshots.close();
      try {
        await exclusive(() => journal.close());
      } finally {
        await lock.release();
      }
    },
  };
}

type Readers = Pick<CatalogStore, 'book' | 'search' | 'topics' | 'operations' | 'totals'> & {
  /** The order log is complete up to this sale, as it has reported. */
  readonly loggedThrough: number;
};

function createReaders(shelf: Shelf, outcomes: Outcomes, catalogId: string): Readers {
  let loggedThrough = 0;
  return {
    get loggedThrough() {
      return loggedThrough;
    },
    async book(id) {
      const stock = shelf.get(id);
      if (stock === undefined) return undefined;
      const { title, topic, quantity, price } = stock;
      return { id, title, topic, quantity, price };
    },
    search: async (topic, after, limit) => shelf.search(topic, after, limit),
    topics: async (after, limit) => shelf.topics(after, limit),
    async operations(after, limit) {
      const { firstSale, lastSale } = outcomes;
      // A number beyond the last sale is no report of ours; the order service will say why.
      if (after <= lastSale) loggedThrough = Math.max(loggedThrough, after);
      return { catalogId, firstSale, lastSale, operations: outcomes.sales(after, limit) };
    },
    totals: async (after, limit) => ({
      sale: outcomes.lastSale,
      books: shelf.page(after, limit),
    }),
  };
}

async function* readOutcomes(
  journal: Journal,
  outcomes: Outcomes,
): AsyncGenerator<readonly OutcomeRecord[]> {
  for await (const run of journal.records()) {
    const found: OutcomeRecord[] = [];
    for (const { payload, segment, offset } of run) {
      const record = readRecord(payload);
      if (!isOutcome(record)) continue;
      // Forgotten and decided anew, an id may still stand in a segment that a crash left behind.
      const place = outcomes.find(record.id)?.place;
      if (place?.segment === segment && place.offset === offset) found.push(record);
    }
    yield found;
  }
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
