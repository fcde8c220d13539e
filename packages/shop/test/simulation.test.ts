import { readMeasure } from '@bazar/simulation';
import t from 'tap';
import { cacheMutants } from './simulation/cache-mutants.js';
import { runCacheStory } from './simulation/cache-story.js';
import { type Case, forgeries } from './simulation/forgeries.js';
import { breachesOf } from './simulation/laws.js';
import { mutants } from './simulation/mutants.js';
import { runStory } from './simulation/story.js';

// The whole shop in one process: the real use cases and stores of the three services over a
// simulated network, simulated disks and a simulated clock, through kills, power losses, full and
// failing disks, pauses and partitions, while people buy, give up, and ask again under their keys.
// SEED=… RUNS=1 tells a story again, event by event; RUNS=… sets how many stories are told.

const seed = Number(process.env['SEED'] ?? Date.now() % 2 ** 31);
const runs = readMeasure('RUNS', process.env['RUNS'], 300);
/** A mutant that so many stories do not catch is taken for an honest build. */
const maxMutantRuns = 3000;

t.comment(`SEED=${seed} RUNS=${runs}`);

t.test('when everything fails at random moments, then every promise is kept', async (t) => {
  const sums: Record<string, number> = {};
  let broken = 0;
  for (let run = 0; run < runs; run += 1) {
    const { seed: one, breaches, evidence } = await runStory(seed + run);
    for (const [what, times] of Object.entries(evidence.counts))
      sums[what] = (sums[what] ?? 0) + times;
    if (breaches.length === 0) continue;
    broken += 1;
    t.fail(`SEED=${one} RUNS=1`, { breaches: breaches.slice(0, 10) });
    if (broken === 10) break;
  }
  t.comment(`${runs} stories: ${JSON.stringify(sums)}`);
  t.equal(broken, 0, `SEED=${seed}: stories in which a promise was broken`);
});

t.test('when a story is told twice, then it is the same to the last event', async (t) => {
  for (let run = 0; run < 3; run += 1) {
    t.same(await runStory(seed + run), await runStory(seed + run));
  }
});

/** A story in which enough has happened, and nothing wrong. */
async function eventfulStory(): Promise<Case> {
  for (let run = 0; ; run += 1) {
    const { evidence, ending } = await runStory(seed + run);
    const { sold = 0, sold_out: soldOut = 0, changed = 0, reads = 0 } = evidence.counts;
    const isEventful = Math.min(sold, soldOut, changed, reads, evidence.shopReads.length) > 0;
    if (ending !== undefined && isEventful) return { evidence, ending };
  }
}

t.test('when the evidence is forged, then the law that it breaks is named', async (t) => {
  const { evidence, ending } = await eventfulStory();
  t.same(breachesOf(evidence, ending), []);
  for (const [law, forge] of Object.entries(forgeries)) {
    const forged = forge({ evidence, ending });
    const breaches = breachesOf({ ...evidence, ...forged }, { ...ending, ...forged });
    t.ok(
      breaches.some((breach) => breach.law === law),
      law,
    );
  }
});

t.test('when a rule of the protocol is broken, then some story shows it', async (t) => {
  for (const [build, make] of Object.entries(mutants)) {
    let caught: string | undefined;
    for (let run = 0; run < maxMutantRuns && caught === undefined; run += 1) {
      const { seed: one, breaches } = await runStory(seed + run, make);
      const [first] = breaches;
      if (first !== undefined) caught = `story ${run + 1} (seed ${one}): ${first.law}`;
    }
    t.ok(caught, `a shop ${build}`);
    t.comment(`a shop ${build}: ${caught}`);
  }
});

t.test('when gateways keep what they read, then nobody is shown a stale stock', async (t) => {
  const sums: Record<string, number> = {};
  const stale: string[] = [];
  for (let run = 0; run < runs; run += 1) {
    const outcome = await runCacheStory(seed + run);
    stale.push(...outcome.stale.map((sentence) => `SEED=${outcome.seed} RUNS=1: ${sentence}`));
    for (const [what, times] of Object.entries(outcome.counts))
      sums[what] = (sums[what] ?? 0) + times;
  }
  t.same(stale.slice(0, 10), []);
  t.comment(`${runs} stories of the cache: ${JSON.stringify(sums)}`);
});

t.test('when a rule of the cache is broken, then somebody is shown a stale stock', async (t) => {
  for (const [build, make] of Object.entries(cacheMutants)) {
    let caught: string | undefined;
    for (let run = 0; run < maxMutantRuns && caught === undefined; run += 1) {
      const { seed: one, stale } = await runCacheStory(seed + run, make);
      const [first] = stale;
      if (first !== undefined) caught = `story ${run + 1} (seed ${one}): ${first}`;
    }
    t.ok(caught, `a shop ${build}`);
    t.comment(`a shop ${build}: ${caught}`);
  }
});
