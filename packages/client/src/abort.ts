const hubs = new WeakMap<AbortSignal, Set<() => void>>();

/**
 * Runs something when a signal is aborted, until the function returned is called. However many calls
 * share a signal, it has one listener: more than ten are taken for a leak by Node.
 */
export function onAbort(signal: AbortSignal, run: () => void): () => void {
  const runs = hubs.get(signal) ?? new Set();
  if (!hubs.has(signal)) {
    hubs.set(signal, runs);
    // It stays, as small as it is: with the signal it goes.
    signal.addEventListener('abort', () => abort(runs), { once: true });
  }
  runs.add(run);
  return () => {
    runs.delete(run);
  };
}

function abort(runs: ReadonlySet<() => void>): void {
  for (const run of runs) run();
}
