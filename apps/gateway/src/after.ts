/** Waits `ms` milliseconds, then runs; the returned function takes the order back. */
export type After = (ms: number, run: () => void) => () => void;

/** By this machine's own clock. */
export const after: After = (ms, run) => {
  const timer = setTimeout(run, ms);
  return () => clearTimeout(timer);
};
