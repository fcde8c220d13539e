import type { FailureCode } from '@bazar/contracts';

/** Why a call failed: a code that the shop named, or what was found on this side. */
export type ErrorCode = FailureCode | 'timeout' | 'connection' | 'contract';

export interface ErrorFacts extends ErrorOptions {
  readonly requestId: string;
  readonly status?: number | undefined;
  readonly key?: string | undefined;
  readonly retryAfterMs?: number | undefined;
}

/**
 * A call that failed. To be sold out is none: that is a result.
 *
 * @example
 * ```ts
 * try {
 *   await bazar.info(7);
 * } catch (error) {
 *   if (error instanceof BazarError && error.code === 'book_not_found') return undefined;
 *   throw error;
 * }
 * ```
 */
export class BazarError extends Error {
  /** Why, as one word to decide by. */
  readonly code: ErrorCode;
  /** The HTTP status; undefined when no answer came. */
  readonly status: number | undefined;
  /** Names the call in the logs of the shop. */
  readonly requestId: string;
  /**
   * The key of a purchase or an update. When it is not known what became of it (a timeout, a broken
   * connection, a status of 500 and above), the same call with this key tells, and does nothing twice.
   */
  readonly key: string | undefined;
  /** After how many milliseconds the shop wants to be asked again, if it said so. */
  readonly retryAfterMs: number | undefined;

  constructor(code: ErrorCode, message: string, facts: ErrorFacts) {
    super(message, 'cause' in facts ? { cause: facts.cause } : {});
    this.name = new.target.name;
    this.code = code;
    this.status = facts.status;
    this.requestId = facts.requestId;
    this.key = facts.key;
    this.retryAfterMs = facts.retryAfterMs;
  }
}

/** The time of the call was up before an answer had come. */
export class BazarTimeoutError extends BazarError {
  declare readonly code: 'timeout';

  constructor(message: string, facts: ErrorFacts) {
    super('timeout', message, facts);
  }
}

/** No whole answer came: there was no connection, or it broke. */
export class BazarConnectionError extends BazarError {
  declare readonly code: 'connection';

  constructor(message: string, facts: ErrorFacts) {
    super('connection', message, facts);
  }
}

/** An answer came that the contract does not know: perhaps somebody else answered. */
export class BazarContractError extends BazarError {
  declare readonly code: 'contract';

  constructor(message: string, facts: ErrorFacts) {
    super('contract', message, facts);
  }
}
