import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import Postgrator from 'postgrator';
import postgres from 'postgres';
import { runTransaction } from './database.js';
import { type Link, openLink, type Sql } from './link.js';
import { DatabaseError, LinkLost } from './trouble.js';

export interface MigrationOptions {
  /** The service whose tables these are, as `catalog`; every service has a database of its own. */
  readonly owner: string;
  /** The folder of the numbered files, as `001.do.books.sql`. */
  readonly folder: URL;
  readonly log: (level: 'info' | 'warn', sentence: string) => void;
  /** Fills new tables; runs at every start, in the same transaction. */
  readonly fill?: (sql: Sql) => Promise<void>;
  /** For so long a database may be away that is perhaps starting just now. */
  readonly patienceMs?: number;
  readonly pause?: (ms: number) => Promise<unknown>;
}

const policy = {
  patienceMs: 10_000,
  pauseMs: 250,
  /** A table may be large, and another replica may be at it first. */
  statementTimeoutMs: 60_000,
  silenceMs: 65_000,
};

/** Any number, the same for all of us: it stands for the right to change the tables. */
const lockNumber = 5_000_500_150_025;

/**
 * Brings the tables to the version that this program knows, in one transaction. Of several replicas
 * that start at once one does it, and the others wait for it.
 * @throws DatabaseError with a sentence that says what is wrong
 */
export async function migrate(url: string, options: MigrationOptions): Promise<void> {
  const { owner, log, patienceMs = policy.patienceMs, pause = sleep } = options;
  const started = performance.now();
  for (let isFirst = true; ; isFirst = false) {
    let link: Link | undefined;
    try {
      link = openLink({ url, name: `bazar ${owner} start`, ...policy });
      const start = link;
      const versions = await runTransaction(start, (sql) => migrateLocked(start, sql, options));
      if (versions.length > 0) {
        log('info', `the database has the tables of version ${versions.at(-1)} now`);
      }
      await link.end();
      return;
    } catch (error) {
      link?.destroy('the start failed');
      const trouble = new DatabaseError(sentenceOf(error, url), { cause: error });
      if (!isAway(error) || performance.now() - started > patienceMs) throw trouble;
      if (isFirst) log('warn', `${trouble.message}; trying again`);
    }
    await pause(policy.pauseMs);
  }
}

/** Resolves to the versions that the database did not have yet. */
async function migrateLocked(link: Link, sql: Sql, options: MigrationOptions): Promise<number[]> {
  await sql`SELECT pg_advisory_xact_lock(${lockNumber})`;
  const schema = await assertFit(sql, options);
  const postgrator = new Postgrator({
    driver: 'pg',
    migrationPattern: `${fileURLToPath(options.folder).replaceAll(/[*?[\]{}()!+@]/g, '\\$&')}*.sql`,
    schemaTable: versionTable(options.owner),
    currentSchema: schema,
    execQuery: async (text) => ({ rows: [...(await link.script(text))] }),
  });
  const [known, found] = [await postgrator.getMaxVersion(), await postgrator.getDatabaseVersion()];
  if (found > known) {
    throw new DatabaseError(
      `its tables are of version ${found}, and this program knows only those up to ${known}: ` +
        'start a newer one',
    );
  }
  const migrations = await postgrator.migrate();
  await options.fill?.(sql);
  return migrations.map(({ version }) => version);
}

const versionTable = (owner: string) => `bazar_${owner}_version`;

/** Resolves to the schema that the tables are in. */
async function assertFit(
  sql: Sql,
  { owner, log }: Pick<MigrationOptions, 'owner' | 'log'>,
): Promise<string> {
  const [is] = await sql<{
    schema: string | null;
    encoding: string;
    readonly: string;
    careless: string | null;
    temporary: boolean;
    async: number;
    sync: number;
  }>`SELECT current_schema() AS schema,
      current_setting('server_encoding') AS encoding,
      current_setting('transaction_read_only') AS readonly,
      (SELECT string_agg(name || ' = ' || setting, ', ') FROM pg_settings
        WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit') AND setting = 'off'
          OR name = 'synchronous_commit' AND setting = 'local'
            AND current_setting('synchronous_standby_names') <> '') AS careless,
      has_database_privilege(current_database(), 'TEMPORARY') AS temporary,
      (SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'async') AS async,
      (SELECT count(*) FROM pg_stat_replication WHERE sync_state IN ('sync', 'quorum')) AS sync`;
  if (is === undefined || is.schema === null || !/^[a-z_][a-z0-9_]*$/.test(is.schema)) {
    throw new DatabaseError('there is no schema for our tables on its search_path');
  }
  if (is.encoding !== 'UTF8') throw new DatabaseError(`it keeps text as ${is.encoding}, not UTF8`);
  if (is.readonly === 'on') throw new DatabaseError('it can only be read: name the primary server');
  if (is.careless !== null) {
    throw new DatabaseError(`it may lose what it has acknowledged (${is.careless})`);
  }
  // With such a table it is found out whether there is room again.
  if (!is.temporary) throw new DatabaseError('this user may not make temporary tables there');
  if (is.async > 0 && is.sync === 0) {
    log(
      'warn',
      'the standbys of this database follow asynchronously: a failover to one of them may lose ' +
        'purchases that were acknowledged (synchronous_standby_names)',
    );
  }
  const others = await sql<{ name: string }>`SELECT table_name AS name
    FROM information_schema.tables
    WHERE table_schema = ${is.schema} AND table_name LIKE 'bazar\\_%\\_version'
      AND table_name <> ${versionTable(owner)}`;
  const [other] = others.map(({ name }) => name.replace(/^bazar_(.*)_version$/, '$1'));
  if (other !== undefined) {
    throw new DatabaseError(`it belongs to the ${other} service: give each a database of its own`);
  }
  return is.schema;
}

/** What the server's codes mean for a person. */
const reasons: Readonly<Record<string, string>> = {
  '3D000': 'there is none of that name: create it, as with createdb',
  '28P01': 'the password is wrong',
  '28000': 'this user may not come in',
  '42501': 'this user may not make tables there',
};

/** The database by its place, which has no password in it, and what is wrong. */
function sentenceOf(error: unknown, url: string): string {
  const { host, pathname } = new URL(url);
  const place = `the database ${pathname.slice(1)} at ${host}`;
  const cause = error instanceof LinkLost ? (error.cause ?? error) : error;
  const message = cause instanceof Error ? cause.message.replaceAll(/\s+/g, ' ') : String(cause);
  if (cause instanceof DatabaseError) return `${place} cannot be used: ${message}`;
  if (!(cause instanceof postgres.PostgresError)) return `${place} cannot be reached: ${message}`;
  const reason = reasons[cause.code];
  return `${place} cannot be used: ${reason === undefined ? message : `${reason} (${message})`}`;
}

/** Gone, not there, or still starting (57P03): it may come. */
function isAway(error: unknown): boolean {
  if (!(error instanceof LinkLost)) return false;
  const { cause } = error;
  if (cause instanceof DatabaseError) return false;
  return !(cause instanceof postgres.PostgresError) || /^(57P0|53)/.test(cause.code);
}
