import type { FailureCode } from '@bazar/contracts';

/** Why a call failed: a code that the shop named, or what was found on this side. */
export type ErrorCode = FailureCode | 'timeout' | 'connection' | 'contract';

export interface ErrorFacts {
  readonly requestId: string;
  readonly status?: number | undefined;
  readonly key?: string | undefined;
  readonly retryAfterMs?: number | undefined;
  readonly cause?: unknown;
}

/**
 * A call that failed. To be sold out is none: that is a result.
 *
 * @example
 * ```ts
 * try {
 *   return await bazar.info(7);
 * } catch (error) {
 *   if (error instanceof BazarError && error.code === 'book_not_found') return undefined;
 *   throw error;
 * }
 * ```
 */
export class BazarError extends Error {
  // In words, for a minifier gives classes names of its own.
  override readonly name: string = 'BazarError';
  /** Why, as one word to decide by. */
  readonly code: ErrorCode;
  /** The HTTP status; undefined when no answer came. */
  readonly status: number | undefined;
  /** Names the call in the logs of the shop. */
  readonly requestId: string;
  /**
   * The key of a purchase or a change that may have been made or may not: the same call with this
   * key tells, and does nothing twice. Undefined when nothing was done.
   */
  readonly key: string | undefined;
  /** After how many milliseconds the shop wants to be asked again, if it said so. */
  readonly retryAfterMs: number | undefined;

  constructor(code: ErrorCode, message: string, facts: ErrorFacts) {
    super(message, facts.cause === undefined ? {} : { cause: facts.cause });
    this.code = code;
    this.status = facts.status;
    this.requestId = facts.requestId;
    this.key = facts.key;
    this.retryAfterMs = facts.retryAfterMs;
  }
}

/** The time of the call was up before an answer had come. Its `code` is `timeout`. */
export class BazarTimeoutError extends BazarError {
  override readonly name = 'BazarTimeoutError';
  declare readonly code: 'timeout';

  constructor(message: string, facts: ErrorFacts) {
    super('timeout', message, facts);
  }
}

/** No whole answer came: there was no connection, or it broke. Its `code` is `connection`. */
export class BazarConnectionError extends BazarError {
  override readonly name = 'BazarConnectionError';
  declare readonly code: 'connection';

  constructor(message: string, facts: ErrorFacts) {
    super('connection', message, facts);
  }
}

/**
 * An answer came that the contract does not know: perhaps somebody else answered, or a newer shop.
 * Its `code` is `contract`.
 */
export class BazarContractError extends BazarError {
  override readonly name = 'BazarContractError';
  declare readonly code: 'contract';

  constructor(message: string, facts: ErrorFacts) {
    super('contract', message, facts);
  }
}
