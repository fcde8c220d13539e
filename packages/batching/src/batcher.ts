/** Why an item was refused at once: as many items as may wait are waiting already. */
export class QueueFull extends Error {
  constructor(maxQueue: number) {
    super(`The queue is full: ${maxQueue} items are waiting`);
    this.name = 'QueueFull';
  }
}

/** Why an item was refused at once: the batcher takes no more. */
export class BatcherClosed extends Error {
  constructor() {
    super('The batcher is closed');
    this.name = 'BatcherClosed';
  }
}

export interface BatcherOptions {
  /** The most items that one flush is given. */
  readonly maxBatch: number;
  /** The most items that may wait for a flush; those in flight do not count. */
  readonly maxQueue: number;
  /**
   * The most flushes at a time; 1 by default, and always for a file. A further one starts only when
   * as many items wait as are in flight: it would else carry few, and small batches cost the most.
   * A function is asked again and again, and answers with a positive integer.
   */
  readonly maxInFlight?: number | (() => number);
  /** Is told of every flush how many items it begins with. */
  readonly onFlush?: ((items: number) => void) | undefined;
  /** Runs the first flush after an idle time, soon but not now; `setImmediate` by default. */
  readonly defer?: (run: () => void) => unknown;
}

export interface Batcher<I, O> {
  /**
   * Puts an item into the next batch and resolves to its result. Rejects with the item's own
   * error, with the failure of its flush, or at once with `QueueFull` or `BatcherClosed`.
   */
  add(item: I): Promise<O>;
  /** How many items wait for a flush. */
  waiting(): number;
  /** The one that has waited for the longest; undefined when none does. */
  oldest(): I | undefined;
  /** Resolves as soon as nothing is queued or in flight. */
  idle(): Promise<void>;
  /** Refuses every later item, and resolves when all earlier ones are answered. */
  close(): Promise<void>;
}

/**
 * Natural batching: one flush is in flight, and what arrives meanwhile is the next batch. Nothing
 * waits for a timer, so a lone item pays nothing, and the busier the flush, the larger its batches.
 * With two of them on a network hop, one end need not wait while the other works.
 * Databases know the idea as group commit (DeWitt et al., "Implementation Techniques for Main
 * Memory Database Systems", 1984), the LMAX Disruptor as smart batching (Thompson, 2011).
 *
 * @param flush takes the items in the order of arrival and resolves to as many results in the same
 *   order. An `Error` among them rejects its own item only; a flush that throws, rejects or answers
 *   with another number of results rejects the items of its batch only.
 * @throws RangeError when a bound is not a positive integer.
 */
export function createBatcher<I, O>(
  flush: (items: readonly I[]) => Promise<readonly (O | Error)[]>,
  { maxBatch, maxQueue, maxInFlight = 1, onFlush, defer = setImmediate }: BatcherOptions,
): Batcher<I, O> {
  const mostInFlight = typeof maxInFlight === 'number' ? () => maxInFlight : maxInFlight;
  const bounds = { maxBatch, maxQueue, maxInFlight: mostInFlight() };
  for (const [name, bound] of Object.entries(bounds)) {
    if (!Number.isSafeInteger(bound) || bound < 1) {
      throw new RangeError(`${name} must be a positive integer, not ${bound}`);
    }
  }
  interface Waiting {
    readonly item: I;
    readonly resolve: (result: O) => void;
    readonly reject: (reason: unknown) => void;
  }
  let queue: Waiting[] = [];
  /** The flushes in flight, each of which is followed by the next batch. */
  let running = 0;
  /** The items in them. */
  let inFlight = 0;
  let isDeferred = false;
  let closed = false;
  let idlers: (() => void)[] = [];

  function nextBatch(): Waiting[] {
    if (queue.length > maxBatch) return queue.splice(0, maxBatch);
    const batch = queue;
    queue = [];
    return batch;
  }

  async function settle(batch: readonly Waiting[]): Promise<void> {
    try {
      const results = await flush(batch.map(({ item }) => item));
      if (results.length !== batch.length) {
        throw new Error(`A flush of ${batch.length} items answered ${results.length} results`);
      }
      for (const [index, result] of results.entries()) {
        if (result instanceof Error) batch[index]?.reject(result);
        else batch[index]?.resolve(result);
      }
    } catch (error) {
      for (const { reject } of batch) reject(error);
    }
  }

  async function run(): Promise<void> {
    isDeferred = false;
    running += 1;
    // Where fewer may be in flight than before, the others go on with what waits.
    while (queue.length > 0 && running <= mostInFlight()) {
      const batch = nextBatch();
      inFlight += batch.length;
      onFlush?.(batch.length);
      await settle(batch);
      inFlight -= batch.length;
    }
    running -= 1;
    if (isBusy()) return;
    const released = idlers;
    idlers = [];
    for (const release of released) release();
  }

  const isBusy = () => running > 0 || isDeferred;

  function idle(): Promise<void> {
    return isBusy() ? new Promise((resolve) => idlers.push(resolve)) : Promise.resolve();
  }

  return {
    add(item) {
      if (closed) return Promise.reject(new BatcherClosed());
      if (queue.length >= maxQueue) return Promise.reject(new QueueFull(maxQueue));
      const answered = new Promise<O>((resolve, reject) => queue.push({ item, resolve, reject }));
      if (!isDeferred && queue.length >= inFlight && running < mostInFlight()) {
        isDeferred = true;
        // Deferred to the end of the event loop's poll phase, all the requests that were parsed in
        // it share this batch; started at once, the first of them would travel alone.
        defer(run);
      }
      return answered;
    },
    waiting: () => queue.length,
    oldest: () => queue[0]?.item,
    idle,
    close() {
      closed = true;
      return idle();
    },
  };
}
