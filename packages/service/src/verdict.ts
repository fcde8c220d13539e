import { Failure } from '@bazar/contracts';

/**
 * What a call shows of the replica that it was made to: it answered, it failed to, nobody listens
 * there, or the call shows nothing, for it was given up, or came to nothing on our own side.
 */
export type Verdict = 'answered' | 'failing' | 'unreachable' | 'unjudged';

/**
 * Reads the end of a failed call as a verdict on the replica.
 * @param hadItsTime the replica was given as long as a healthy one may take; when callers with
 *   little patience run out of it, that is not the replica's fault
 */
export function verdictOn(error: unknown, hadItsTime: boolean): Verdict {
  if (!(error instanceof Failure)) return 'unjudged';
  const { code, foreign, nothingDone } = error;
  if (code === 'unavailable') return nothingDone && !foreign ? 'unreachable' : 'failing';
  if (code === 'overloaded' && foreign) return 'failing';
  if (code === 'deadline_exceeded') {
    return hadItsTime && !foreign && !nothingDone ? 'failing' : 'unjudged';
  }
  // Whatever else it says of a request, it is there and says it; what we refused was never sent.
  return foreign ? 'answered' : 'unjudged';
}

/**
 * True when the call ended without an answer that stands, so that another replica may know better:
 * no connection, a broken one, silence, an answer against the contract, or a replica that says that
 * it cannot work itself. (What it says of those behind it is in the outcomes of a batch, and stands:
 * it has asked them all, and others would ask them again.)
 */
export function isUnanswered(error: unknown): boolean {
  if (!(error instanceof Failure)) return false;
  const { code, foreign, nothingDone } = error;
  if (code === 'deadline_exceeded') return !nothingDone;
  return code === 'unavailable' || (code === 'overloaded' && foreign);
}
