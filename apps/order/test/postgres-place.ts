import {
  openPostgresStore,
  type PostgresStore,
  type PostgresStoreOptions,
} from '../src/store/postgres.js';

export interface PostgresPlace {
  /** Starts a replica on the database. */
  open(options?: Partial<PostgresStoreOptions>): Promise<PostgresStore>;
  /** Ends the replica that was started last, which is not told. */
  crash(): Promise<void>;
  /** Where the database is. */
  url(): Promise<string>;
  readonly log: string[];
  readonly broken: Error[];
}

/** A database, on which one replica after the other, or several at once, run an order store. */
export function createPlace(url: () => Promise<string>): PostgresPlace {
  let found: Promise<string> | undefined;
  let newest: PostgresStore | undefined;
  const place: PostgresPlace = {
    async open(options = {}) {
      newest = await openPostgresStore({
        url: await place.url(),
        monotonic: () => performance.now(),
        log: (_level, sentence) => place.log.push(sentence),
        onBroken: (error) => place.broken.push(error),
        patienceMs: 0,
        ...options,
      });
      return newest;
    },
    async crash() {
      newest?.destroy();
    },
    url() {
      found ??= url();
      return found;
    },
    log: [],
    broken: [],
  };
  return place;
}
