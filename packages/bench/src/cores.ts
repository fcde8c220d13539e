import { spawnSync } from 'node:child_process';
import { availableParallelism } from 'node:os';

/** Which cores the shop has, and which those who load it, as `taskset` counts them. */
export interface Division {
  readonly shop: string;
  readonly load: string;
}

/** Half of the cores for each side. @returns undefined where there is only one */
export function divideCores(cores = availableParallelism()): Division | undefined {
  const half = Math.floor(cores / 2);
  if (half === 0) return undefined;
  return { shop: `0-${half - 1}`, load: `${half}-${cores - 1}` };
}

/**
 * Keeps processes to some cores, with all their threads: a load that takes the time of the shop that
 * it is measured against shows what becomes of a slower shop.
 *
 * @returns false where the system cannot (taskset of util-linux, sched_setaffinity(2))
 */
export function keepToCores(pids: readonly number[], cores: string): boolean {
  return pids.every((pid) => {
    const options = ['--all-tasks', '--cpu-list', '--pid', cores, String(pid)];
    return spawnSync('taskset', options, { stdio: 'ignore' }).status === 0;
  });
}
