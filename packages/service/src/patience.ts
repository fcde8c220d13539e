export interface PatienceOptions {
  /** Milliseconds on a clock that only goes forward. */
  readonly now: () => number;
}

const policy = {
  /** Waits are told apart by so many milliseconds, up to so many steps; longer ones are the last. */
  stepMs: 100,
  steps: 50,
  /** The limit is never less. */
  leastMs: 500,
  /** Nobody waits for as long as a greater share of the others does not. */
  abandonment: 1 / 4,
  /** How much the newest counts. */
  weight: 1 / 32,
  /** After so long what was seen counts by half, so that a longer wait is tried again now and then. */
  halfLifeMs: 2000,
  /** Whose turn it is has to be served too. */
  serviceMs: 200,
};

/** For how long clients wait before they hang up. */
export interface Patience {
  /** To be told of those whose turn has come, whether they were still there. */
  observe(waitedMs: number, hasLeft: boolean): void;
  /** To serve whoever has waited for longer is mostly in vain; between 0.5 s and 5 s. */
  limitMs(): number;
}

/**
 * Learns for how long clients wait from those who were served (the abandonment, or reneging, of queueing
 * theory). Nobody tells a server when to stop trying: a page may be left after two seconds, a program
 * after a minute. As long as few have left, the limit is the longest.
 */
export function createPatience({ now }: PatienceOptions): Patience {
  /** The share of those who had left, by how long they had waited; a moving average. */
  const abandoned = Array.from({ length: policy.steps }, () => ({ share: 0, at: 0 }));

  const shareOf = ({ share, at }: { share: number; at: number }) =>
    share * 0.5 ** ((now() - at) / policy.halfLifeMs);

  return {
    observe(waitedMs, hasLeft) {
      const step = abandoned[Math.min(policy.steps - 1, Math.floor(waitedMs / policy.stepMs))];
      if (step === undefined) return;
      const share = shareOf(step);
      step.share = share + (Number(hasLeft) - share) * policy.weight;
      step.at = now();
    },
    limitMs() {
      const first = abandoned.findIndex((step) => shareOf(step) > policy.abandonment);
      if (first < 0) return policy.steps * policy.stepMs;
      return Math.max(policy.leastMs, first * policy.stepMs - policy.serviceMs);
    },
  };
}
