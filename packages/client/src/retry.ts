import type { BazarError, ErrorCode } from './errors.js';

type Failed = Pick<BazarError, 'code' | 'status'>;

/** What was found on this side: there was no answer, or not one of the shop. */
const found: ReadonlySet<ErrorCode> = new Set<ErrorCode>(['timeout', 'connection', 'contract']);

/**
 * Whether what was asked for may have been done. The shop says of some of its own failures that
 * nothing was done, but in a sentence, for people.
 */
export function isOutcomeUnknown({ code, status = 0 }: Failed): boolean {
  return found.has(code) || status >= 500;
}

/**
 * Whether the same request may mend it: nobody knows the outcome, or it said to come again. A success
 * that cannot be read may have been cut; one that is too large, which has no status, has not.
 */
export function mayPass({ code, status = 0 }: Failed): boolean {
  if (code === 'timeout' || code === 'connection') return true;
  if (code === 'contract' && status >= 200 && status < 300) return true;
  return status >= 500 || status === 429 || status === 408;
}

/** With five repeats some three seconds in all, which is what a restart takes. */
const firstDelayMs = 200;
const maxDelayMs = 5000;

/**
 * How long to wait before the repeat of this number, from 0: "full jitter" (Brooker, "Exponential
 * Backoff And Jitter", AWS 2015), and no less than what the shop asked for, with room for all whom
 * it told the same.
 *
 * @param random from 0 to 1
 */
export function delayMs(
  repeat: number,
  { retryAfterMs = 0 }: Pick<BazarError, 'retryAfterMs'>,
  random: number,
): number {
  const backoff = Math.min(maxDelayMs, firstDelayMs * 2 ** repeat);
  return retryAfterMs + random * Math.max(backoff, retryAfterMs / 2);
}

/**
 * How long one attempt may take. One that is never answered must leave time for another: it gets
 * half of what is left, and the last one all of it.
 */
export function attemptMs(leftMs: number, repeatsLeft: number): number {
  return Math.floor(repeatsLeft > 0 ? Math.max(leftMs / 2, Math.min(leftMs, 1000)) : leftMs);
}

/** Holds back the repeats of all calls of one client. */
export interface RetryBudget {
  /** Takes from the budget what a repeat costs, if that is there. */
  spend(): boolean;
  /** The shop has answered, after so many repeats: what the last one cost comes back. */
  earn(repeats: number): void;
}

const budget = { full: 500, repeat: 5, success: 1 };

/**
 * A bucket of tokens, as the AWS SDKs keep one ("retry quota" of their standard mode): a shop that
 * is down is asked once by each call, not five times, and a shop of which every fifth answer is lost
 * is asked again as often as it takes.
 */
export function createRetryBudget(): RetryBudget {
  let tokens = budget.full;
  return {
    spend() {
      if (tokens < budget.repeat) return false;
      tokens -= budget.repeat;
      return true;
    },
    earn(repeats) {
      tokens = Math.min(budget.full, tokens + (repeats > 0 ? budget.repeat : budget.success));
    },
  };
}
