import { readMeasure } from '@bazar/simulation';
import t from 'tap';
import { sharedMutants } from './simulation/shared-mutants.js';
import { runSharedStory } from './simulation/shared-story.js';
import { hireTellers, sumUp } from './simulation/tellers.js';

// The leases of gateways before several replicas of a catalog: two of each, over one registry.
// SEED=… RUNS=1 tells a story again.

const seed = Number(process.env['SEED'] ?? Date.now() % 2 ** 31);
const runs = readMeasure('RUNS', process.env['RUNS'], 40);
/** A mutant that so many stories do not catch is taken for an honest build. */
const mutantRuns = 300;
t.comment(`SEED=${seed} RUNS=${runs}`);
const tellers = hireTellers();
t.teardown(tellers.dismiss);

t.test('when replicas and gateways come and go, then no read is stale', async (t) => {
  const stories = await tellers.tellAll('shared', seed, runs);
  for (const { seed: one, wrong } of stories) {
    if (wrong.length > 0) t.fail(`SEED=${one} RUNS=1`, { wrong: wrong.slice(0, 5) });
  }
  const sums = sumUp(stories);
  t.comment(`${runs} stories: ${JSON.stringify(sums)}`);
  for (const what of ['writes', 'sold out', 'hits', 'misses', 'evictions', 'kills', 'pauses']) {
    t.ok((sums[what] ?? 0) > 0, what);
  }
});

t.test('when a story is told twice, then it is the same', async (t) => {
  t.same(await runSharedStory(String(seed)), await runSharedStory(String(seed)));
});

t.test('when a rule of the shared leases is broken, then some story shows it', async (t) => {
  const caught = await tellers.catchAll('shared', seed, {
    mutants: Object.keys(sharedMutants),
    runs: mutantRuns,
  });
  for (const [mutant, how] of caught) t.ok(how, `a build ${mutant}: ${how}`);
});
