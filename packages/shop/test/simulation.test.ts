import { readMeasure } from '@bazar/simulation';
import t from 'tap';
import { cacheMutants } from './simulation/cache-mutants.js';
import { type Case, forgeries } from './simulation/forgeries.js';
import { breachesOf } from './simulation/laws.js';
import { mutants } from './simulation/mutants.js';
import { runStory } from './simulation/story.js';
import { hireTellers, sumUp } from './simulation/tellers.js';

// The whole shop in one process: the real use cases and stores of the three services over a
// simulated network, simulated disks and a simulated clock, through kills, power losses, full and
// failing disks, pauses and partitions, while people buy, give up, and ask again under their keys.
// SEED=… RUNS=1 tells a story again, event by event; RUNS=… sets how many stories are told.

const seed = Number(process.env['SEED'] ?? Date.now() % 2 ** 31);
const runs = readMeasure('RUNS', process.env['RUNS'], 300);
/** A mutant that so many stories do not catch is taken for an honest build. */
const mutantRuns = 3000;
t.comment(`SEED=${seed} RUNS=${runs}`);
const tellers = hireTellers();
t.teardown(tellers.dismiss);

t.test('when everything fails at random moments, then every promise is kept', async (t) => {
  const stories = await tellers.tellAll('shop', seed, runs);
  const broken = stories.filter(({ wrong }) => wrong.length > 0);
  for (const { seed: one, wrong } of broken.slice(0, 10)) {
    t.fail(`SEED=${one} RUNS=1`, { breaches: wrong.slice(0, 10) });
  }
  t.comment(`${runs} stories: ${JSON.stringify(sumUp(stories))}`);
  t.equal(broken.length, 0, `SEED=${seed}: stories in which a promise was broken`);
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
  const caught = await tellers.catchAll('shop', seed, {
    mutants: Object.keys(mutants),
    runs: mutantRuns,
  });
  for (const [mutant, how] of caught) t.ok(how, `a shop ${mutant}: ${how}`);
});

t.test('when gateways keep what they read, then nobody is shown a stale stock', async (t) => {
  const stories = await tellers.tellAll('cache', seed, runs);
  const stale = stories.flatMap(({ seed: one, wrong }) =>
    wrong.map((sentence) => `SEED=${one} RUNS=1: ${sentence}`),
  );
  t.same(stale.slice(0, 10), []);
  t.comment(`${runs} stories of the cache: ${JSON.stringify(sumUp(stories))}`);
});

t.test('when a rule of the cache is broken, then somebody is shown a stale stock', async (t) => {
  const caught = await tellers.catchAll('cache', seed, {
    mutants: Object.keys(cacheMutants),
    runs: mutantRuns,
  });
  for (const [mutant, how] of caught) t.ok(how, `a shop ${mutant}: ${how}`);
});
