import { Failure } from '@bazar/contracts';
import { within } from '@bazar/contracts/internal';
import { after } from './after.js';

/**
 * Works for a caller who waits so long. What is under way when the time is up goes on all the same,
 * but is not waited for.
 *
 * @throws Failure `deadline_exceeded`, with `nothingDone` when no time was left to begin
 */
export function inTimeOf<T>(timeoutMs: number, work: () => T | Promise<T>): T | Promise<T> {
  // Work whose caller has given up is not started: nobody would read its answer.
  if (timeoutMs === 0) {
    throw new Failure('deadline_exceeded', 'no time was left', { nothingDone: true });
  }
  const result = work();
  return result instanceof Promise ? within(result, timeoutMs, after) : result;
}
