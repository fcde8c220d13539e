import { Failure } from '@bazar/contracts';
import type { Database } from '@bazar/postgres';

export interface WatchEffects {
  /** Milliseconds on a clock that only goes forward. */
  readonly monotonic: () => number;
  readonly log: (level: 'info' | 'warn', sentence: string) => void;
}

/** What is known, from what was asked of it last, of whether the database could log an order. */
export interface Watch {
  run<Result>(work: () => Promise<Result>): Promise<Result>;
  /** The same for what needs room. */
  write<Result>(work: () => Promise<Result>): Promise<Result>;
  /** @throws Failure while it is full or away, as far as the last look tells */
  assertRoom(): Promise<void>;
}

/** While something is wrong, a look whether it still is at most this often. */
const lookEveryMs = 250;

export function createWatch(database: Database, { monotonic, log }: WatchEffects): Watch {
  let full: Failure | undefined;
  let away: Failure | undefined;
  let lookedAt = Number.NEGATIVE_INFINITY;

  function note(error: unknown): void {
    if (!(error instanceof Failure)) return;
    if (error.code === 'storage_full') {
      if (full === undefined) log('warn', 'the database has no room: purchases are refused');
      full = error;
    }
    if (error.code === 'unavailable') {
      if (away === undefined) log('warn', `${error.message}: purchases are refused`);
      away = error;
    }
  }

  async function run<Result>(work: () => Promise<Result>): Promise<Result> {
    try {
      const result = await work();
      if (away !== undefined) log('info', 'the database is there again');
      away = undefined;
      return result;
    } catch (error) {
      note(error);
      throw error;
    }
  }

  function hasRoomAgain(): void {
    if (full !== undefined) log('info', 'the database has room again: purchases are accepted');
    full = undefined;
  }

  async function look(): Promise<void> {
    if (monotonic() - lookedAt < lookEveryMs) return;
    lookedAt = monotonic();
    if (away !== undefined) await run(() => database.read((sql) => sql`SELECT id FROM log`));
    if (full !== undefined && (await database.hasRoom())) hasRoomAgain();
  }

  return {
    run,
    async write(work) {
      const result = await run(work);
      hasRoomAgain();
      return result;
    },
    async assertRoom() {
      if (full === undefined && away === undefined) return;
      await look();
      const trouble = full ?? away;
      if (trouble === undefined) return;
      throw new Failure(trouble.code, trouble.message, { cause: trouble.cause });
    },
  };
}
