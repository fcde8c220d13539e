import type { After } from '@bazar/contracts/internal';

export type { After };

/** By this machine's own clock. */
export const after: After = (ms, run) => {
  const timer = setTimeout(run, ms);
  return () => clearTimeout(timer);
};
