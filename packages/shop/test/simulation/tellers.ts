import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import type { Story, Told } from './teller.js';

export interface Tellers {
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
  /** @throws Error when a thread has ended before, with the seed of its story */
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

interface Job {
  readonly story: Story;
  resolve(told: Told): void;
  reject(error: Error): void;
}

/**
 * Threads that tell stories, one for each core. Not only for the sake of the cores: a test file has
 * hooks on every promise (by which tap knows whose an uncaught error is), and a story makes hundreds
 * of thousands of those.
 */
export function hireTellers(): Tellers {
  const workers = new Set<Worker>();
  const free: Worker[] = [];
  const waiting: Job[] = [];
  const underWay = new Map<Worker, Job>();
  /** An error that nobody caught, which is the end of its thread: the others stop too. */
  let failure: Error | undefined;

  function recruit(): void {
    const worker = new Worker(new URL('./teller.ts', import.meta.url));
    worker.on('message', (told: Told) => {
      underWay.get(worker)?.resolve(told);
      underWay.delete(worker);
      free.push(worker);
      assign();
    });
    worker.on('error', (error) => lose(worker, error));
    worker.on('exit', () => lose(worker, new Error('The thread has ended.')));
    workers.add(worker);
    free.push(worker);
  }

  function lose(worker: Worker, cause: Error): void {
    if (!workers.delete(worker)) return;
    const job = underWay.get(worker);
    const { kind, seed, mutant = 'that is honest' } = job?.story ?? {};
    const message = `SEED=${seed} RUNS=1: a story (${kind}) of a build ${mutant} has no end`;
    failure ??= new Error(message, { cause });
    for (const { reject } of [...underWay.values(), ...waiting.splice(0)]) reject(failure);
  }

  function assign(): void {
    while (failure === undefined && waiting.length > 0) {
      const worker = free.pop();
      if (worker === undefined) return;
      const job = waiting.shift();
      if (job === undefined) return;
      underWay.set(worker, job);
      worker.postMessage(job.story);
    }
  }

  function tell(story: Story): Promise<Told> {
    return new Promise((resolve, reject) => {
      if (failure !== undefined) {
        reject(failure);
        return;
      }
      waiting.push({ story, resolve, reject });
      assign();
    });
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

  for (let core = 0; core < availableParallelism(); core += 1) recruit();

  return {
    tellAll: (kind, seed, runs) =>
      Promise.all(Array.from({ length: runs }, (_, run) => tell({ kind, seed: seed + run }))),
    async catchAll(kind, seed, { mutants, runs }) {
      const caught = mutants.map(
        async (mutant) => [mutant, await giveAway({ kind, mutant }, seed, runs)] as const,
      );
      return new Map(await Promise.all(caught));
    },
    async dismiss() {
      const all = [...workers];
      workers.clear();
      await Promise.all(all.map((worker) => worker.terminate()));
      if (failure !== undefined) throw failure;
    },
  };
}
