import { type Changes, guardSlotOf, guardSlots } from '@bazar/contracts/internal';
import { LRUCache } from 'lru-cache';

/** An answer as it is kept: ready to be sent. */
export interface Kept {
  /** The pattern of the route that gave it. */
  readonly route: string;
  /** The head, without what differs from one answer to the next. */
  readonly head: string;
  /** The body as it is sent: bytes, one to a character. */
  readonly bytes: string;
  /** The same as a text. */
  readonly body: string;
  readonly etag: string;
  /** Of a page with a next one. */
  readonly link: string | undefined;
}

/** What an answer shows, and with it what makes it old: one book, or lists of titles. */
export type Subject = number | 'titles';

export interface CacheEffects {
  /** Whether the lease allows to serve at this moment. */
  readonly isLive: () => boolean;
  /** The most that is kept, in bytes of answers and of what surrounds them. */
  readonly maxBytes?: number;
}

export interface Reading {
  readonly kept: Kept;
  /** As RFC 9211 names it. */
  readonly status: 'hit' | 'fwd=miss' | 'fwd=miss; collapsed';
}

/** Answers of the catalog, kept under a lease. */
export interface Cache {
  /** What may be served at this very moment; nothing else may happen between the look and that. */
  look(key: string): Kept | undefined;
  /**
   * What is kept under the key; else what is fetched, by this reader or together with others. So a
   * fetch must not end with the patience of whoever happens to have asked first.
   */
  read(key: string, subject: Subject, fetch: () => Promise<Kept>): Promise<Reading>;
  /** Nothing that was read before these changes is served any more, nor kept. */
  forget(changes: Changes): void;
  /** Likewise, whatever it shows. */
  forgetAll(): void;
  /** How many reads were answered in which way. */
  counts(): { readonly hit: number; readonly miss: number; readonly collapsed: number };
  /** How often something had to be forgotten. */
  invalidations(): number;
  /** How many answers are kept. */
  entries(): number;
}

interface Entry {
  readonly kept: Kept;
  readonly slot: number;
  readonly guard: number;
}

interface Fetch {
  readonly guard: number;
  readonly kept: Promise<Kept>;
  /** The one that begins when this one has ended, for all who came meanwhile. */
  next?: Promise<Kept>;
}

/** The counter of all lists of titles, after those of the books. */
const titlesSlot = guardSlots;
/** Of one key. Were it one, whoever comes after a change would wait for a fetch that hangs. */
const maxUnderWay = 2;
const defaultMaxBytes = 64 * 1024 * 1024;
/** What an entry takes besides its answer, roughly. */
const overheadBytes = 500;

/** What a kept answer takes in memory, in bytes. */
function sizeOfKept({ head, bytes, body }: Kept): number {
  return head.length + sizeOf(body) + (bytes === body ? 0 : bytes.length);
}

/** What a text takes in memory, in bytes: V8 gives each character one or two of them. */
function sizeOf(text: string): number {
  return Buffer.byteLength(text) === text.length ? text.length : 2 * text.length;
}

/**
 * A cache that shows nothing older than what was acknowledged before the reader came. Every answer
 * belongs to a counter, its guard, that each change of its subject raises. An answer is as good as
 * the guard that was seen *before* it was fetched: once that has changed, the answer is neither
 * kept, nor served, nor shared with whoever comes later. While two fetches of a key are under way those
 * wait for the next one, which begins when all of them have come. So however many read one book, the
 * catalog has at most two to answer: without a lease too, which a gateway that has too much to do loses
 * first of all.
 */
export function createCache({ isLive, maxBytes = defaultMaxBytes }: CacheEffects): Cache {
  const guards = new Float64Array(guardSlots + 1);
  /** The counter that every answer belongs to. */
  let all = 0;
  const entries = new LRUCache<string, Entry>({
    maxSize: maxBytes,
    sizeCalculation: ({ kept }, key) => sizeOfKept(kept) + sizeOf(key) + overheadBytes,
  });
  /** Those under way by key, the newest last. */
  const fetches = new Map<string, Fetch[]>();
  let hit = 0;
  let miss = 0;
  let collapsed = 0;
  let invalidations = 0;

  const slotOf = (subject: Subject) => (subject === 'titles' ? titlesSlot : guardSlotOf(subject));
  /** Both only rise: an equal sum means that neither has. */
  const guardOf = (slot: number) => (guards[slot] ?? Number.NaN) + all;

  function raise(slot: number): void {
    guards[slot] = (guards[slot] ?? Number.NaN) + 1;
  }

  function look(key: string): Kept | undefined {
    const entry = entries.get(key);
    if (entry === undefined || entry.guard !== guardOf(entry.slot) || !isLive()) return undefined;
    hit += 1;
    return entry.kept;
  }

  async function fetchAndKeep(
    key: string,
    slot: number,
    fetch: () => Promise<Kept>,
  ): Promise<Kept> {
    miss += 1;
    const guard = guardOf(slot);
    const mine: Fetch = { guard, kept: fetch() };
    const underWay = fetches.get(key) ?? [];
    fetches.set(key, underWay);
    underWay.push(mine);
    try {
      const kept = await mine.kept;
      if (guard === guardOf(slot) && isLive()) entries.set(key, { kept, slot, guard });
      return kept;
    } finally {
      underWay.splice(underWay.indexOf(mine), 1);
      if (underWay.length === 0) fetches.delete(key);
    }
  }

  /** What those are given who may not share what is under way. */
  async function readNext(
    underWay: readonly Fetch[],
    fetch: () => Promise<Kept>,
  ): Promise<Reading> {
    const newest = underWay.at(-1);
    if (newest === undefined || underWay.length < maxUnderWay) {
      return { kept: await fetch(), status: 'fwd=miss' };
    }
    const status = newest.next === undefined ? 'fwd=miss' : 'fwd=miss; collapsed';
    if (newest.next !== undefined) collapsed += 1;
    newest.next ??= newest.kept.then(fetch, fetch);
    return { kept: await newest.next, status };
  }

  return {
    look,
    async read(key, subject, fetch) {
      const kept = look(key);
      if (kept !== undefined) return { kept, status: 'hit' };
      const slot = slotOf(subject);
      const underWay = fetches.get(key) ?? [];
      const newest = underWay.at(-1);
      if (newest !== undefined && newest.guard === guardOf(slot) && isLive()) {
        collapsed += 1;
        return { kept: await newest.kept, status: 'fwd=miss; collapsed' };
      }
      return readNext(underWay, () => fetchAndKeep(key, slot, fetch));
    },
    forget({ books, titles }) {
      invalidations += 1;
      for (const id of books) raise(slotOf(id));
      if (titles) raise(titlesSlot);
    },
    forgetAll() {
      all += 1;
      entries.clear();
    },
    counts: () => ({ hit, miss, collapsed }),
    invalidations: () => invalidations,
    entries: () => entries.size,
  };
}
