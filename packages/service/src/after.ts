import type { After } from '@bazar/contracts/internal';

/** By this machine's own clock. */
export const after: After = (ms, run) => {
  const timer = setTimeout(run, ms);
  return () => clearTimeout(timer);
};
