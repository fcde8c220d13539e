import { parentPort } from 'node:worker_threads';
import { type Build, type BuildMaker, honest } from './build.js';
import { cacheMutants } from './cache-mutants.js';
import { runCacheStory } from './cache-story.js';
import { mutants } from './mutants.js';
import { sharedMutants } from './shared-mutants.js';
import { honestShared, runSharedStory } from './shared-story.js';
import { runStory } from './story.js';

/** Which story to tell, and of which build: one of the mutants, or the honest one. */
export interface Story {
  readonly kind: 'shop' | 'cache' | 'shared';
  readonly seed: number | string;
  readonly mutant?: string | undefined;
}

/** What became of it: whatever was wrong, one sentence each, and how often what happened. */
export interface Told {
  readonly seed: string;
  readonly wrong: readonly string[];
  readonly counts: Readonly<Record<string, number>>;
}

function named<T>(builds: Readonly<Record<string, T>>, name: string): T {
  const found = builds[name];
  if (found === undefined) throw new Error(`there is no build ${name}`);
  return found;
}

const honestly = (): Build => honest;
const makerOf = (builds: Readonly<Record<string, BuildMaker>>, mutant: string | undefined) =>
  mutant === undefined ? honestly : named(builds, mutant);

async function tell({ kind, seed, mutant }: Story): Promise<Told> {
  if (kind === 'shop') {
    const told = await runStory(seed, makerOf(mutants, mutant));
    const wrong = told.breaches.map(({ law, sentence }) => `${law}: ${sentence}`);
    return { seed: told.seed, wrong, counts: told.evidence.counts };
  }
  const { stale, ...told } =
    kind === 'cache'
      ? await runCacheStory(seed, makerOf(cacheMutants, mutant))
      : await runSharedStory(
          String(seed),
          mutant === undefined ? honestShared : named(sharedMutants, mutant),
        );
  return { ...told, wrong: stale };
}

parentPort?.on('message', async (story: Story) => {
  parentPort?.postMessage(await tell(story));
});
