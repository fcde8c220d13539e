import { createSharedLeases } from '@bazar/catalog';
import { honestShared, type SharedBuild } from './shared-story.js';

/** Builds that break one rule of the leases which replicas share. */
export const sharedMutants: Readonly<Record<string, SharedBuild>> = {
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
