/** Waits `ms` milliseconds, then runs; the returned function takes the order back. */
export type After = (ms: number, run: () => void) => () => void;
