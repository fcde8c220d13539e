/** How many repeats there may be. */
export interface RepeatBudget {
  /** A call is made for the first time, which pays for a part of a repeat. */
  earn(): void;
  isLeft(): boolean;
  /** Pays for a repeat; to be asked only while something is left. */
  spend(): void;
}

export const repeatPolicy = {
  /** Repeats per call, in the long run. A back end that is dead or overloaded gets so much more. */
  share: 0.2,
  /** What so many calls have paid in is kept, so that a replica may die in the midst of many. */
  kept: 1000,
  /** There from the start, so that a lone call to a quiet shop has its repeat. */
  atFirst: 20,
};

/**
 * Bounds the repeats to a share of the calls, as Finagle's and gRPC's retry budgets do: a bucket of
 * tokens, into which every call pays a fifth of one, and from which every repeat takes one. However
 * many fail, there are never more than `atFirst` repeats above `share` of all calls. So each of the
 * two hops of a purchase multiplies what a failing back end is sent by 1.2, and both by 1.44, where
 * repeats without a budget would multiply it by the number of replicas at each.
 */
export function createRepeatBudget(): RepeatBudget {
  const most = repeatPolicy.share * repeatPolicy.kept;
  let tokens = repeatPolicy.atFirst;
  return {
    earn() {
      tokens = Math.min(most, tokens + repeatPolicy.share);
    },
    isLeft: () => tokens >= 1,
    spend() {
      tokens -= 1;
    },
  };
}
