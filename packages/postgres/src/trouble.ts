import { Failure } from '@bazar/contracts';
import postgres from 'postgres';

/** What is wrong with a database, in a sentence for the person who starts the service. */
export class DatabaseError extends Error {
  override readonly name = 'DatabaseError';
}

/** The connection has gone, or never was: nobody will ever know what came of its last statement. */
export class LinkLost extends Error {
  override readonly name = 'LinkLost';
  /** Whether we gave it up because nothing came, rather than it us. */
  readonly wasSilent: boolean;

  constructor(reason: string, options: ErrorOptions & { readonly wasSilent?: boolean } = {}) {
    super(reason, options);
    this.wasSilent = options.wasSilent ?? false;
  }
}

/** SQLSTATE of what the server refused, having undone the statement; undefined for all else. */
export function refusalOf(error: unknown): string | undefined {
  // FATAL and PANIC end the connection, and with it what can be known of the statement.
  if (!(error instanceof postgres.PostgresError) || error.severity !== 'ERROR') return undefined;
  return error.code;
}

/** Another transaction was in the way: the same one over again may well succeed. */
export function isConflict(error: unknown): boolean {
  const code = refusalOf(error);
  return code === '40001' || code === '40P01';
}

/**
 * Refused with words, but nobody knows what was done: a statement whose completion is unknown, and a
 * connection exception between the server and what it keeps its rows on. PostgreSQL itself says
 * neither of a COMMIT; clusters that speak its language do.
 */
export function isUnknown(error: unknown): boolean {
  return /^(40003|08)/.test(refusalOf(error) ?? '');
}

/**
 * Codes, or their first letters, of what says nothing of the statement but that the server cannot
 * do it now: no resources (53), stopped or stopping (57P), an operator or the time limit (57014), a
 * lock that was not to be had (55P03), a failing disk (58), a standby (25006), rights that were
 * taken away (28, 42501), and a database that was removed (3D).
 */
const away = /^(08|53|57014|57P0|55P03|58|25006|28|42501|3D)/;

/**
 * What a caller is told when a transaction did not come to its end, with what is known of it.
 * Undefined for what is a mistake in a statement or in the program.
 * @param isCommitting true once COMMIT was sent
 */
export function failureOf(error: unknown, isCommitting: boolean): Failure | undefined {
  if (error instanceof LinkLost || (isCommitting && isUnknown(error))) {
    return isCommitting
      ? new Failure('unavailable', 'the database did not say whether it has it', { cause: error })
      : unavailable('the database cannot be reached', error);
  }
  const code = refusalOf(error);
  if (code === undefined) return undefined;
  if (code === '53100') {
    const options = { cause: error, nothingDone: true };
    return new Failure('storage_full', 'the database has no room to record it', options);
  }
  if (isConflict(error)) return unavailable('too many others were changing the same rows', error);
  if (code === '57014') return unavailable('the database took too long', error);
  return away.test(code) ? unavailable('the database is not available', error) : undefined;
}

function unavailable(detail: string, cause: unknown): Failure {
  return new Failure('unavailable', detail, { cause, nothingDone: true });
}
