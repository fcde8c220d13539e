import type { Verdict } from './verdict.js';

export interface BreakerEffects {
  /** Milliseconds on a clock that only goes forward. */
  readonly now: () => number;
  /** It is left out from now on, or takes part again; `cause` is what the last call ended with. */
  readonly onChange: (isLive: boolean, cause: unknown) => void;
}

/** Whether a replica takes part. */
export interface Breaker {
  isLive(): boolean;
  /** It is left out, and its pause is over: one real call should find out how it is. */
  isDue(): boolean;
  /** When a call failed last; of those left out, the longest ago is the likeliest to be back. */
  failedAt(): number;
  /** A call begins. The returned function is told how it ended, once. */
  begin(): (verdict: Verdict, cause?: unknown) => void;
}

const policy = {
  /** One broken connection or one slow answer happens to a healthy service; three in a row do not. */
  failuresInARow: 3,
  /** A restarted process listens again within a second or so, and a trial costs its caller little. */
  firstPauseMs: 250,
  /** A caller waits ten seconds, so nobody should miss for longer a replica that is back. */
  longestPauseMs: 10_000,
};

/**
 * A circuit breaker (Nygard, "Release It!", 2007): a replica that nobody listens at, or that fails
 * several times in a row, is left out, and is tried again by one real call after each of ever longer
 * pauses. A replica that fails fast would otherwise always be the least busy one, and draw all
 * calls to itself.
 *
 * Calls that began before the replica was left out, or before it came back, say nothing about the
 * time after: a hundred that break at one moment are one failure, not a hundred.
 */
export function createBreaker({ now, onChange }: BreakerEffects): Breaker {
  let isLive = true;
  let failures = 0;
  let since = 0;
  let failedAt = 0;
  let pauseMs: number = policy.firstPauseMs;
  let isTried = false;
  /** Counts the times that its state changed. */
  let chapter = 0;

  function turn(live: boolean): void {
    isLive = live;
    chapter += 1;
    failures = 0;
    isTried = false;
    since = now();
  }

  function endLive(verdict: Verdict, cause: unknown): void {
    if (verdict === 'unjudged') return;
    failures = verdict === 'answered' ? 0 : failures + 1;
    if (verdict !== 'unreachable' && failures < policy.failuresInARow) return;
    pauseMs = policy.firstPauseMs;
    turn(false);
    onChange(false, cause);
  }

  function endTrial(verdict: Verdict): void {
    if (verdict === 'unjudged') {
      isTried = false;
      return;
    }
    if (verdict !== 'answered') pauseMs = Math.min(2 * pauseMs, policy.longestPauseMs);
    turn(verdict === 'answered');
    if (isLive) onChange(true, undefined);
  }

  return {
    isLive: () => isLive,
    isDue: () => !isLive && !isTried && now() >= since + pauseMs,
    failedAt: () => failedAt,
    begin() {
      const mine = chapter;
      const isTrial = !isLive && !isTried && now() >= since + pauseMs;
      if (isTrial) isTried = true;
      return (verdict, cause) => {
        if (mine !== chapter) return;
        if (verdict !== 'answered') failedAt = now();
        if (isLive) endLive(verdict, cause);
        // Where nobody takes part, calls go to those who are left out, and their pauses, which are
        // for better times, are not longer for that.
        else if (isTrial || verdict === 'answered') endTrial(verdict);
      };
    },
  };
}
