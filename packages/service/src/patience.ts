export interface PatienceOptions {
  /** Milliseconds on a clock that only goes forward. */
  readonly now: () => number;
}

const policy = {
  /** Waits are told apart by so many milliseconds, up to so many steps. */
  stepMs: 100,
  steps: 50,
  /** No wait is too long that is shorter, whoever has hung up. */
  leastMs: 500,
  /** Of those who have waited for so long, a greater share has left. */
  tooMany: 1 / 4,
  /** How much the newest weighs. */
  weight: 1 / 32,
  /** After so long what was seen counts by half, so that it is tried again now and then. */
  halfLifeMs: 2000,
};

/** For how long clients are seen to wait. */
export interface Patience {
  /** To be told whether somebody was still there that was answered after such a wait. */
  saw(waitedMs: number, hasLeft: boolean): void;
  /** To serve whoever has waited for longer is mostly in vain; infinite as long as all have stayed. */
  limitMs(): number;
}

/**
 * Learns from those who are served for how long the others will wait. Nobody tells a server when to
 * stop trying: a page may be left after two seconds, a program after a minute.
 */
export function createPatience({ now }: PatienceOptions): Patience {
  /** The share of those who had left, by how long they had waited; a moving average. */
  const left = Array.from({ length: policy.steps }, () => ({ share: 0, at: 0 }));

  const shareOf = ({ share, at }: { share: number; at: number }) =>
    share * 0.5 ** ((now() - at) / policy.halfLifeMs);

  return {
    saw(waitedMs, hasLeft) {
      const step = left[Math.floor(waitedMs / policy.stepMs)];
      if (step === undefined) return;
      const share = shareOf(step);
      step.share = share + (Number(hasLeft) - share) * policy.weight;
      step.at = now();
    },
    limitMs() {
      const least = policy.leastMs / policy.stepMs;
      const step = left.findIndex((one, index) => index >= least && shareOf(one) > policy.tooMany);
      return step < 0 ? Number.POSITIVE_INFINITY : step * policy.stepMs;
    },
  };
}
