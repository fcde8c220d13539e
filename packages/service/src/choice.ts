/** What of a replica matters when one is chosen. */
export interface Candidate {
  busy(): number;
  isLive(): boolean;
  isDue(): boolean;
  failedAt(): number;
}

/**
 * Chooses the replica for the next call: the least busy of those that take part, and of several
 * such, each in its turn. A replica that is left out gets a call when it is due for a trial, or when
 * there is no other; then the one that has been out for longest, rather than nobody.
 *
 * Least outstanding requests needs no measuring: a replica that is slow, for whatever reason, has
 * more calls under way, and so gets fewer.
 */
export function createChoice() {
  let turn = 0;
  /** @param mayTry whether this call may be a trial, which is to be repeated if it fails */
  return <R extends Candidate>(candidates: readonly R[], mayTry: boolean): R | undefined => {
    const due = mayTry ? candidates.find((candidate) => candidate.isDue()) : undefined;
    if (due !== undefined) return due;
    let best: R | undefined;
    let place = 0;
    for (let step = 0; step < candidates.length; step += 1) {
      const index = (turn + step) % candidates.length;
      const candidate = candidates[index];
      if (candidate === undefined || (best !== undefined && !precedes(candidate, best))) continue;
      best = candidate;
      place = index;
    }
    turn = place + 1;
    return best;
  };
}

function precedes(one: Candidate, other: Candidate): boolean {
  if (one.isLive() !== other.isLive()) return one.isLive();
  return one.isLive() ? one.busy() < other.busy() : one.failedAt() < other.failedAt();
}
