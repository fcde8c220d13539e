const closingSignals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

export type ClosingSignal = (typeof closingSignals)[number];

/**
 * A package manager passes on the Ctrl-C that the terminal has already sent to everybody, so one
 * press may arrive twice. Only a signal later than this is a second press.
 */
const samePressMs = 500;

/**
 * Watches for the signals that ask a process to end.
 *
 * @returns a function that gives the signals back their usual effect
 */
export function onSignals(first: (signal: ClosingSignal) => void, second: () => void): () => void {
  let firstAt: number | undefined;
  const onSignal = (signal: ClosingSignal): void => {
    if (firstAt === undefined) {
      firstAt = performance.now();
      first(signal);
    } else if (performance.now() - firstAt > samePressMs) {
      second();
    }
  };
  for (const signal of closingSignals) process.on(signal, onSignal);
  return () => {
    for (const signal of closingSignals) process.off(signal, onSignal);
  };
}
