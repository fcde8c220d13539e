import { createSharedLeases } from '@bazar/catalog';
import { readMeasure } from '@bazar/simulation';
import t from 'tap';
import { honestShared, runSharedStory, type SharedBuild } from './simulation/shared-story.js';

// The leases of gateways before several replicas of a catalog: two of each, over one registry.
// SEED=… RUNS=1 tells a story again.

const seed = Number(process.env['SEED'] ?? Date.now() % 2 ** 31);
const runs = readMeasure('RUNS', process.env['RUNS'], 40);
const maxMutantRuns = 300;
t.comment(`SEED=${seed} RUNS=${runs}`);

t.test('when replicas and gateways come and go, then no read is stale', async (t) => {
  const sums: Record<string, number> = {};
  for (let run = 0; run < runs; run += 1) {
    const { stale, counts } = await runSharedStory(String(seed + run));
    for (const [what, times] of Object.entries(counts)) sums[what] = (sums[what] ?? 0) + times;
    if (stale.length > 0) t.fail(`SEED=${seed + run} RUNS=1`, { stale: stale.slice(0, 5) });
  }
  t.comment(`${runs} stories: ${JSON.stringify(sums)}`);
  for (const what of ['writes', 'sold out', 'hits', 'misses', 'evictions', 'kills', 'pauses']) {
    t.ok((sums[what] ?? 0) > 0, what);
  }
});

t.test('when a story is told twice, then it is the same', async (t) => {
  t.same(await runSharedStory(String(seed)), await runSharedStory(String(seed)));
});

const mutants: Readonly<Record<string, SharedBuild>> = {
  'that does not note what a write changes': { ...honestShared, notes: false },
  'whose gateways have clocks that are too slow': { ...honestShared, gatewayDrift: 0.25 },
  'that takes a broken connection for an answer': {
    ...honestShared,
    leases: (effects) =>
      createSharedLeases({
        ...effects,
        invalidate: (...post) => effects.invalidate(...post).catch(() => undefined),
      }),
  },
  'that confirms a lease that is let run out': {
    ...honestShared,
    leases: ({ registry, ...effects }) =>
      createSharedLeases({
        ...effects,
        registry: {
          ...registry,
          find: async (instance) => {
            const row = await registry.find(instance);
            return row && { ...row, evicting: false };
          },
        },
      }),
  },
  'that does not wait for the end of a lease': {
    ...honestShared,
    leases: (effects) =>
      createSharedLeases({ ...effects, monotonic: () => effects.monotonic() * 9 }),
  },
  'that gives every lease the same name': {
    ...honestShared,
    leases: (effects) =>
      createSharedLeases({ ...effects, newId: () => '00000000-0000-4000-8000-000000000000' }),
  },
  'that looks for gateways before it has committed': {
    ...honestShared,
    leases(effects) {
      let before = effects.registry.rows();
      const registry = {
        ...effects.registry,
        rows() {
          const rows = before;
          before = effects.registry.rows();
          before.catch(() => undefined);
          return rows;
        },
      };
      before.catch(() => undefined);
      return createSharedLeases({ ...effects, registry });
    },
  },
};

for (const [name, build] of Object.entries(mutants)) {
  t.test(`when a build is one ${name}, then some story shows it`, async (t) => {
    for (let run = 0; run < maxMutantRuns; run += 1) {
      const { stale } = await runSharedStory(String(seed + run), build);
      if (stale.length === 0) continue;
      t.pass(`story ${run + 1}: ${stale[0]}`);
      return;
    }
    t.fail(`SEED=${seed}: ${maxMutantRuns} stories without a stale read`);
  });
}
