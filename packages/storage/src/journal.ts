import { type AppendFile, openAppendFile } from './append-file.js';
import type { Disk } from './disk.js';
import { StorageBroken, StorageError, StorageFull } from './errors.js';
import { createReaders, type ReadRecord, readSegment } from './journal-reader.js';
import { writeLine } from './journal-record.js';
import { type Replay, replaySegments } from './journal-replay.js';
import type { OnRecord, Place } from './journal-scan.js';
import { maxLineBytes } from './lines.js';
import { beginSegment, holdSegments, segmentPath } from './segment.js';

export interface JournalOptions {
  readonly disk: Disk;
  /** The folder of the segments; it exists. */
  readonly folder: string;
  /** The segments are `<name>-000001.log`, `<name>-000002.log`, … */
  readonly name: string;
  /** The payload of a new segment's first record, asked for when the segment is made. */
  readonly header: () => string;
  readonly onRecord: OnRecord;
  /** Is told, in a sentence, what a torn tail lost. */
  readonly onCut: (sentence: string) => void;
  /** Called once, when the journal can no longer be trusted: the process must stop. */
  readonly onBroken: (error: StorageBroken) => void;
}

export interface Segment {
  readonly number: number;
  readonly bytes: number;
}

export interface Journal {
  /** From the oldest to the one being written. */
  readonly segments: readonly Segment[];
  readonly nextSequence: number;
  /**
   * Writes records with one write and one fdatasync; they may be relied on when it resolves. After
   * a crash any number of them, from the first on, may be there.
   * @param payloads one line of text each, not empty, at most about 32 MiB
   * @throws StorageFull when nothing was kept; StorageBroken when it is unknown what was kept
   */
  append(payloads: readonly string[]): Promise<Place[]>;
  /** Vouches for all that was written; of no effect when that was done last. */
  seal(): Promise<void>;
  /**
   * Seals the segment and begins the next.
   * @throws StorageFull when there was no room: the old segment is then written on
   */
  rotate(): Promise<void>;
  /**
   * Makes sure that the segment being written was not removed, replaced or cut short.
   * @throws StorageBroken when it was
   */
  verify(): Promise<void>;
  /** Deletes the segments up to this number and with it; never the one being written. */
  retire(upTo: number): Promise<void>;
  /**
   * Reads a record again, and checks it again.
   * @throws StorageError naming the place if it is no longer what was written
   */
  read(place: Pick<Place, 'segment' | 'offset' | 'length'>): Promise<string>;
  /**
   * Reads all records from the oldest on, in runs; nothing may be written meanwhile.
   * @throws StorageError likewise
   */
  records(): AsyncGenerator<readonly ReadRecord[]>;
  /** Seals, if there is room, and closes the files. */
  close(): Promise<void>;
}

/**
 * Opens a journal, a new one if the folder has none: every record is told to `onRecord`, a torn
 * tail is cut off, and what was perhaps never synced is written again and synced.
 * @throws StorageError naming the place when the journal is damaged where it was surely synced;
 * StorageFull when there is no room to begin
 */
export async function openJournal(options: JournalOptions): Promise<Journal> {
  const { disk, folder, name } = options;
  const held = await holdSegments(disk, folder, name);
  try {
    const replay = await replaySegments(options);
    const { last, validBytes, nextSequence } = replay;
    const first = validBytes > 0 ? undefined : headerLine(options, nextSequence);
    const health = createHealth(options.onBroken);
    const path = segmentPath(folder, name, last);
    const segment = { disk, path, file: held.get(last), onBroken: health.onBroken };
    held.delete(last);
    if (first === undefined) {
      const { syncedBytes, unsyncedCrc32 } = replay;
      const sizes = { validBytes, syncedBytes, unsyncedCrc32 };
      const file = await openAppendFile({ ...segment, ...sizes });
      return createJournal(options, health, replay, file);
    }
    const file = await beginSegment(segment, first);
    return createJournal(options, health, { ...replay, nextSequence: nextSequence + 1 }, file);
  } finally {
    for (const file of held.values()) await file.close();
  }
}

function createJournal(
  options: JournalOptions,
  health: Health,
  replay: Replay,
  opened: AppendFile,
): Journal {
  const { disk, folder, name } = options;
  const pathOf = (segment: number) => segmentPath(folder, name, segment);
  const readers = createReaders(disk, pathOf);
  const finished: Segment[] = [...replay.finished];
  let { last: number, nextSequence, sealed } = replay;
  let file = opened;

  async function write(payloads: readonly string[]): Promise<Place[]> {
    const { text, places } = layOut(payloads, number, nextSequence, file.synced);
    await file.append(Buffer.from(text));
    nextSequence += payloads.length;
    return places;
  }

  async function append(payloads: readonly string[]): Promise<Place[]> {
    checkPayloads(payloads);
    const places = await write(payloads);
    sealed = false;
    return places;
  }

  async function seal(): Promise<void> {
    if (!sealed) await write(['']);
    sealed = true;
  }

  async function rotate(): Promise<void> {
    await seal();
    const first = headerLine(options, nextSequence);
    const segment = { disk, path: pathOf(number + 1), onBroken: health.onBroken };
    const next = await health.orBroken(beginSegment(segment, first));
    finished.push({ number, bytes: file.synced });
    const old = file;
    file = next;
    number += 1;
    nextSequence += 1;
    sealed = false;
    await old.close();
  }

  async function remove(segment: number): Promise<void> {
    await readers.close(segment);
    // A removal that could not be synced is tried again, and then there is nothing to remove.
    if (await disk.exists(pathOf(segment))) await disk.remove(pathOf(segment));
    await disk.syncFolder(folder);
  }

  async function close(): Promise<void> {
    // Without the seal the next start cannot tell a torn last batch from a damaged one; a full or
    // broken disk is no reason to leave the files open.
    if (!health.isBroken()) await seal().catch(ignoreFullOrBroken);
    await file.close();
    await readers.closeAll();
  }

  return {
    get segments() {
      return [...finished, { number, bytes: file.synced }];
    },
    get nextSequence() {
      return nextSequence;
    },
    append: (payloads) => health.alone(() => append(payloads)),
    seal: () => health.alone(seal),
    rotate: () => health.alone(rotate),
    verify: () => file.verify(),
    retire: (upTo) => health.alone(() => retire(finished, upTo, remove)),
    read: readers.read,
    async *records() {
      for (const segment of [...finished.map((each) => each.number), number]) {
        yield* readSegment(disk, pathOf(segment), segment);
      }
    },
    close,
  };
}

/** Oldest first, and each removal synced: a power loss must not leave a gap. */
async function retire(
  finished: Segment[],
  upTo: number,
  remove: (segment: number) => Promise<void>,
): Promise<void> {
  for (;;) {
    const [oldest] = finished;
    if (oldest === undefined || oldest.number > upTo) return;
    await remove(oldest.number);
    finished.shift();
  }
}

/** A payload with a newline would be two lines, and an empty one is a seal. */
function checkPayloads(payloads: readonly string[]): void {
  for (const payload of payloads) {
    if (payload === '' || payload.includes('\n')) {
      throw new TypeError('a payload is one line of text, and not empty');
    }
  }
}

function headerLine({ header }: JournalOptions, sequence: number): string {
  const payload = header();
  checkPayloads([payload]);
  return writeLine(sequence, 0, payload);
}

/** The lines of one batch, and where they will stand. */
function layOut(payloads: readonly string[], segment: number, first: number, synced: number) {
  let offset = synced;
  const places: Place[] = [];
  const lines = payloads.map((payload, index) => {
    const line = writeLine(first + index, synced, payload);
    const length = Buffer.byteLength(line);
    // A longer line could be written, but not be read again.
    if (length > maxLineBytes) throw new RangeError(`a record has ${length} bytes`);
    places.push({ segment, offset, length, sequence: first + index });
    offset += length;
    return line;
  });
  return { text: lines.join(''), places };
}

function ignoreFullOrBroken(error: unknown): void {
  if (!(error instanceof StorageFull || error instanceof StorageBroken)) throw error;
}

type Health = ReturnType<typeof createHealth>;

/** Lets one piece of work at a time touch the files, and none once they are broken. */
function createHealth(tell: (error: StorageBroken) => void) {
  let broken: StorageBroken | undefined;
  let busy = false;

  function onBroken(error: StorageBroken): void {
    if (broken !== undefined) return;
    broken = error;
    tell(error);
  }

  return {
    isBroken: () => broken !== undefined,
    onBroken,
    /** For work whose failure, but for a full disk, leaves behind what nobody knows. */
    async orBroken<Result>(work: Promise<Result>): Promise<Result> {
      try {
        return await work;
      } catch (error) {
        if (error instanceof StorageFull || !(error instanceof StorageError)) throw error;
        const reason = error instanceof StorageBroken ? error : new StorageBroken(error.message);
        onBroken(reason);
        throw reason;
      }
    },
    async alone<Result>(work: () => Promise<Result>): Promise<Result> {
      if (broken !== undefined) throw broken;
      if (busy) throw new Error('the journal does one thing at a time; the caller waits its turn');
      busy = true;
      try {
        return await work();
      } finally {
        busy = false;
      }
    },
  };
}
