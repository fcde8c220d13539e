import { randomUUID } from 'node:crypto';
import {
  openPostgresStore,
  type PostgresStore,
  type PostgresStoreOptions,
} from '../src/store/postgres.js';

export interface PostgresPlace {
  /** Starts a replica on the database. */
  open(options?: Partial<PostgresStoreOptions>): Promise<PostgresStore>;
  /** Ends the replica that was started last, which is not told. */
  kill(): Promise<void>;
  /** Where the database is. */
  url(): Promise<string>;
  readonly log: string[];
}

/** A database, on which one replica after the other, or several at once, run a catalog store. */
export function createPlace(url: () => Promise<string>): PostgresPlace {
  let found: Promise<string> | undefined;
  let newest: PostgresStore | undefined;
  const place: PostgresPlace = {
    async open(options = {}) {
      newest = await openPostgresStore({
        url: await place.url(),
        now: Date.now,
        newId: randomUUID,
        log: (_level, sentence) => place.log.push(sentence),
        patienceMs: 0,
        ...options,
      });
      return newest;
    },
    async kill() {
      newest?.destroy();
    },
    url() {
      found ??= url();
      return found;
    },
    log: [],
  };
  return place;
}
