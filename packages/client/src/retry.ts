import type { BazarError, ErrorCode } from './errors.js';

/** What the same request may mend: nobody knows the outcome, or the shop said to come again. */
const passing: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'timeout',
  'connection',
  'request_timeout',
  'too_many_requests',
  'internal',
  'unavailable',
  'overloaded',
  'storage_full',
  'deadline_exceeded',
]);

/** A gateway that is not ours answers so for a shop that it cannot reach. */
const badGateways: ReadonlySet<number | undefined> = new Set([502, 503, 504]);

export function mayPass({ code, status }: BazarError): boolean {
  return passing.has(code) || (code === 'contract' && badGateways.has(status));
}

const firstDelayMs = 100;
const maxDelayMs = 5000;

/**
 * How long to wait before the repeat of this number, from 0: "full jitter" (Brooker, "Exponential
 * Backoff And Jitter", AWS 2015), and no less than what the shop asked for.
 *
 * @param random from 0 to 1
 */
export function delayMs(repeat: number, { retryAfterMs = 0 }: BazarError, random: number): number {
  return retryAfterMs + random * Math.min(maxDelayMs, firstDelayMs * 2 ** repeat);
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
  /** A call has succeeded, after so many repeats. */
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
      tokens = Math.min(budget.full, tokens + Math.max(budget.success, repeats * budget.repeat));
    },
  };
}
