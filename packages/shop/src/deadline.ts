/**
 * Waits for a promise, but not for ever.
 *
 * @returns true when it was fulfilled within `ms` milliseconds, false when the time ran out first
 * @throws what the promise is rejected with
 */
export async function settlesWithin(promise: Promise<unknown>, ms: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<boolean>((resolve) => {
    timer = setTimeout(resolve, ms, false);
  });
  try {
    return await Promise.race([promise.then(() => true), late]);
  } finally {
    clearTimeout(timer);
  }
}
