import { once } from 'node:events';
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import type { Story, Told } from './teller.js';

export interface Tellers {
  tell(story: Story): Promise<Told>;
  /** Stories with these seeds, in the order of the seeds. */
  tellAll(kind: Story['kind'], seed: number, runs: number): Promise<Told[]>;
  /**
   * What gave each mutant away, one sentence each; undefined for one that `runs` stories did not
   * catch, which is taken for an honest build.
   */
  catchAll(
    kind: Story['kind'],
    seed: number,
    hunt: { readonly mutants: readonly string[]; readonly runs: number },
  ): Promise<Map<string, string | undefined>>;
  dismiss(): Promise<void>;
}

/** How often what happened in all of them. */
export function sumUp(stories: readonly Told[]): Record<string, number> {
  const sums: Record<string, number> = {};
  for (const { counts } of stories) {
    for (const [what, times] of Object.entries(counts)) sums[what] = (sums[what] ?? 0) + times;
  }
  return sums;
}

/**
 * Threads that tell stories, one for each core. Not only for the sake of the cores: a test file has
 * hooks on every promise (by which tap knows whose an uncaught error is), and a story makes hundreds
 * of thousands of those.
 */
export function hireTellers(): Tellers {
  const workers = new Set<Worker>();
  const free = Array.from({ length: availableParallelism() }, recruit);
  const waiting: ((worker: Worker) => void)[] = [];

  function recruit(): Worker {
    const worker = new Worker(new URL('./teller.ts', import.meta.url));
    workers.add(worker);
    return worker;
  }

  async function hire(): Promise<Worker> {
    return free.pop() ?? new Promise((resolve) => waiting.push(resolve));
  }

  function release(worker: Worker): void {
    const next = waiting.shift();
    if (next === undefined) free.push(worker);
    else next(worker);
  }

  async function tell(story: Story): Promise<Told> {
    const worker = await hire();
    worker.postMessage(story);
    try {
      const [told] = await once(worker, 'message');
      release(worker);
      return told;
    } catch (error) {
      // An error that nobody caught was the end of the thread.
      workers.delete(worker);
      release(recruit());
      throw error;
    }
  }

  async function giveAway(
    story: Omit<Story, 'seed'>,
    seed: number,
    runs: number,
  ): Promise<string | undefined> {
    for (let run = 0; run < runs; run += 1) {
      const { seed: one, wrong } = await tell({ ...story, seed: seed + run });
      if (wrong.length > 0) return `story ${run + 1} (seed ${one}): ${wrong[0]}`;
    }
    return undefined;
  }

  return {
    tell,
    tellAll: (kind, seed, runs) =>
      Promise.all(Array.from({ length: runs }, (_, run) => tell({ kind, seed: seed + run }))),
    async catchAll(kind, seed, { mutants, runs }) {
      const caught = mutants.map(
        async (mutant) => [mutant, await giveAway({ kind, mutant }, seed, runs)] as const,
      );
      return new Map(await Promise.all(caught));
    },
    async dismiss() {
      await Promise.all([...workers].map((worker) => worker.terminate()));
    },
  };
}
