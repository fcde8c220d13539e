import { Failure, type health } from '@bazar/contracts';
import type { Replicas } from './replicas.js';

/**
 * Asks all replicas of a service whether they can work; the first that is well speaks for them, as
 * one is enough to work.
 *
 * @param timeoutMs how long a replica may take to answer
 * @returns `ok`, or what is wrong with them, in their own words if they answer
 */
export async function askHealth(
  replicas: Pick<Replicas<typeof health>, 'each'>,
  timeoutMs: number,
): Promise<'ok' | Failure> {
  try {
    await Promise.any(replicas.each().map((replica) => replica.ready({}, { timeoutMs })));
    return 'ok';
  } catch (error) {
    const failures: unknown[] = error instanceof AggregateError ? error.errors : [error];
    // Where only room is missing, reading goes on, and that is the most that can be said.
    const told = failures.filter((failure) => failure instanceof Failure);
    const best = told.find(({ code }) => code === 'storage_full') ?? told[0];
    if (best === undefined) throw error;
    return best;
  }
}
