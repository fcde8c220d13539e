import { setTimeout as sleep } from 'node:timers/promises';
import { Failure } from '@bazar/contracts';
import { type Link, openLink, type Sql } from './link.js';
import { createPool } from './pool.js';
import { failureOf, isConflict, isUnknown, LinkLost, refusalOf } from './trouble.js';

export interface DatabaseOptions {
  /** What the database shows of us among its connections. */
  readonly name: string;
  readonly connections?: number;
  readonly maxWaiting?: number;
  readonly waitMs?: number;
  readonly statementTimeoutMs?: number;
  readonly silenceMs?: number;
  /** From 0 to 1, for who tries again when. */
  readonly random?: () => number;
  readonly pause?: (ms: number) => Promise<unknown>;
  /** Milliseconds on a clock that only goes forward. */
  readonly monotonic?: () => number;
}

/**
 * A database as the stores see it. What fails because the database is away, full, busy or starting
 * is a `Failure`: with `nothingDone` when nothing of it was kept for sure, and without it when the
 * connection went after COMMIT was sent, so that nobody can say. Whatever else goes wrong is thrown
 * as it is, and nothing was kept.
 */
export interface Database {
  /** Runs statements that change nothing; each sees the database as it is at one moment. */
  read<Result>(work: (sql: Sql) => Promise<Result>): Promise<Result>;
  /**
   * Runs statements that count together or not at all; READ COMMITTED, so each of them sees what
   * was committed before it began. Where others are in the way the work is done over again: it must
   * have no effects but on the database. What it throws undoes it.
   */
  transaction<Result>(work: (sql: Sql) => Promise<Result>): Promise<Result>;
  /**
   * Runs something that finds, when it is run again, what it has left behind before, and is run again
   * while nobody knows whether it has: a COMMIT that was not answered has happened, or has not, or is
   * happening still. Whatever fails after 5 s of that is as unknown as the first failure was.
   */
  settle<Result>(run: () => Promise<Result>): Promise<Result>;
  /** Whether as much room as a full batch takes can be had; it is given back. */
  hasRoom(): Promise<boolean>;
  close(): Promise<void>;
  /** Ends all connections at once, whatever is under way on them. */
  destroy(): void;
}

const policy = {
  connections: 10,
  maxWaiting: 1000,
  waitMs: 5000,
  statementTimeoutMs: 4000,
  /** A little more, so that a server that is there says that it was too slow. */
  silenceMs: 5000,
  attempts: 8,
  /** The first pause before another attempt, at most; each further one is twice as long. */
  pauseMs: 5,
  settleMs: 5000,
  settlePauseMs: 100,
};

/** Nothing is connected before there is a statement to run. */
export function connectDatabase(url: string, options: DatabaseOptions): Database {
  const { random = Math.random, pause = sleep, ...bounds } = { ...policy, ...options };
  const { monotonic = () => performance.now() } = options;
  const pool = createPool({ open: () => openLink({ url, ...bounds }), ...bounds });

  /** Runs something on a link, and over again on what a repeat is known to be safe and useful. */
  async function attempt<Result>(
    use: 'read' | 'write',
    run: (link: Link) => Promise<Result>,
  ): Promise<Result> {
    let isNew = false;
    for (let count = 1; ; count += 1) {
      const link = await pool.take(use, isNew);
      const wasResting = link.wasAnswered();
      try {
        return await (wasResting ? run(link) : runFirst(link, run));
      } catch (error) {
        if (refusalOf(error) === readOnly) link.destroy('it can only be read');
        // What ended one connection has often ended all: each would cost somebody its silence.
        if (!link.isUsable()) pool.forget();
        // A link that rested may have died long ago; the server need not be away for that. Where
        // nothing came at all, the time is up that somebody should wait.
        isNew = error instanceof LinkLost && !error.wasSilent && wasResting;
        if (count >= policy.attempts || !(isConflict(error) || (isNew && count === 1))) {
          throw failureOf(error, false) ?? error;
        }
      } finally {
        pool.give(link);
      }
      await pause(random() * policy.pauseMs * 2 ** count);
    }
  }

  return {
    read: (work) => attempt('read', (link) => work(link.sql)),
    transaction: (work) => attempt('write', (link) => runTransaction(link, work)),
    async settle(run) {
      const until = monotonic() + policy.settleMs;
      let unknown: Failure | undefined;
      for (;;) {
        try {
          return await run();
        } catch (error) {
          if (!(error instanceof Failure)) throw error;
          if (!error.nothingDone) unknown ??= error;
          // That the last attempt did nothing says nothing of the first.
          if (unknown === undefined) throw error;
          if (monotonic() >= until) throw unknown;
        }
        await pause(policy.settlePauseMs);
      }
    },
    async hasRoom() {
      try {
        // The table is dropped with its file before anybody sees it.
        await attempt('write', (link) =>
          runTransaction(
            link,
            (sql) => sql`CREATE TEMPORARY TABLE room ON COMMIT DROP AS
              SELECT repeat('x', 1000) AS filler FROM generate_series(1, 256)`,
          ),
        );
        return true;
      } catch {
        return false;
      }
    },
    close: () => pool.close(),
    destroy: () => pool.destroy(),
  };
}

/** SQLSTATE of a write where only reading goes. */
const readOnly = '25006';

/**
 * Runs something on a new connection, and makes sure meanwhile that it led to a server that takes
 * writes: behind a name that has moved there may be a standby, which shows what was before. A
 * primary that becomes a standby ends its connections, so that once is enough.
 */
async function runFirst<Result>(link: Link, run: (link: Link) => Promise<Result>): Promise<Result> {
  const fits = assertPrimary(link);
  fits.catch(() => {});
  const result = await run(link);
  await fits;
  return result;
}

/** @throws LinkLost for a server that can only be read, whose connection is then given up */
async function assertPrimary(link: Link): Promise<void> {
  const [server] = await link.sql<{ standby: boolean; readonly: string }>`
    SELECT pg_is_in_recovery() AS standby, current_setting('transaction_read_only') AS readonly`;
  if (server?.standby === false && server.readonly === 'off') return;
  const reason = 'this server can only be read';
  link.destroy(reason);
  throw new LinkLost(reason);
}

/** @throws Failure for a commit of which nobody knows; else what went wrong, and it was undone */
export async function runTransaction<Result>(
  link: Link,
  work: (sql: Sql) => Promise<Result>,
): Promise<Result> {
  let isCommitting = false;
  try {
    // Not waited for: the first statement of the work travels with it.
    const begun = link.command('BEGIN');
    begun.catch(() => {});
    const result = await work(link.sql);
    await begun;
    isCommitting = true;
    const did = await link.command('COMMIT');
    if (did !== 'COMMIT') throw new TypeError(`a transaction that had failed ended in a ${did}`);
    return result;
  } catch (error) {
    if (error instanceof LinkLost) throw isCommitting ? (failureOf(error, true) ?? error) : error;
    if (isCommitting && isUnknown(error)) {
      link.destroy('nobody knows what came of its commit');
      throw failureOf(error, true) ?? error;
    }
    // A refused COMMIT has ended the transaction already, and kept nothing.
    if (!isCommitting || refusalOf(error) === undefined) await rollBack(link);
    throw error;
  }
}

/** A connection that cannot even do that has no transaction any more. */
async function rollBack(link: Link): Promise<void> {
  try {
    await link.command('ROLLBACK');
  } catch {
    link.destroy('its transaction could not be rolled back');
  }
}
