import { BatcherClosed, createBatcher, QueueFull } from '@bazar/batching';
import { Failure } from '@bazar/contracts';
import { matchOutcomes, patienceMs } from '@bazar/contracts/internal';

/** What travels in batches: each item says how long its caller will still wait. */
export interface HopItem {
  readonly timeout_ms?: number;
}

export interface HopOptions<Operation extends HopItem, Outcome> {
  /** Asks the service behind for all of them at once; a rejection leaves all of them unknown. */
  readonly send: (operations: readonly Operation[]) => Promise<readonly Outcome[]>;
  readonly idOf: (operation: Operation) => string;
  readonly idOfOutcome: (outcome: Outcome) => string;
  /** One call carries at most this many. */
  readonly maxBatch: number;
  /** More that wait than this is overload. */
  readonly maxQueue: number;
  /**
   * So many may wait however long it takes, as when a service behind is away for a moment. Where more
   * do, and the first of them for longer than `maxWaitMs`, another one is refused at once: it would
   * wait as long, and be answered when nobody listens any more. Unless told, `maxQueue` is all.
   */
  readonly shedding?: { readonly minQueue: number; readonly maxWaitMs: number } | undefined;
  /** At most this many calls at a time; a function, where the number of replicas decides. */
  readonly maxInFlight: number | (() => number);
  /**
   * Whether anybody still waits for what becomes of an operation that has waited here for so long;
   * asked when its call is made.
   */
  readonly isWanted?: ((operation: Operation, waitedMs: number) => boolean) | undefined;
  /** Is told of every call how many operations it begins with. */
  readonly onFlush?: ((operations: number) => void) | undefined;
  /** Milliseconds on a clock that only goes forward. */
  readonly now?: (() => number) | undefined;
  /** Runs a batch soon, but not now. */
  readonly defer?: ((run: () => void) => unknown) | undefined;
}

/** One hop between two services: many callers, few calls at a time. */
export interface Hop<Operation, Outcome> {
  /**
   * Resolves to what became of the operation.
   * @throws Failure with `nothingDone` when the operation was not sent; else its outcome is unknown
   */
  ask(operation: Operation): Promise<Outcome>;
  /** How many operations wait for a call. */
  waiting(): number;
  /** Whether another one would be refused for those that wait already. */
  isOverloaded(): boolean;
  /** Answers everything accepted. */
  close(): Promise<void>;
}

/**
 * Gathers operations into calls. What waits behind a call gets older meanwhile: an operation goes
 * out with the time that is left of its caller's patience, and not at all when none is.
 */
export function createHop<Operation extends HopItem, Outcome>(
  options: HopOptions<Operation, Outcome>,
): Hop<Operation, Outcome> {
  const { send, idOf, idOfOutcome, maxBatch, maxQueue, maxInFlight, shedding } = options;
  const {
    isWanted = () => true,
    onFlush,
    now = () => performance.now(),
    defer = setImmediate,
  } = options;

  interface Waiting {
    readonly operation: Operation;
    readonly cameAt: number;
    readonly expiresAt: number;
  }

  async function flush(items: readonly Waiting[]): Promise<(Outcome | Failure)[]> {
    const time = now();
    const wanted: Operation[] = [];
    // Work that nobody waits for is not started.
    const isSent = items.map(({ operation, cameAt, expiresAt }) => {
      const timeout_ms = Math.floor(expiresAt - time);
      if (timeout_ms < 1 || !isWanted(operation, time - cameAt)) return false;
      wanted.push({ ...operation, timeout_ms });
      return true;
    });
    const outcomes = wanted.length === 0 ? [] : await send(wanted);
    const matched = matchOutcomes(wanted, idOf, outcomes, idOfOutcome);
    let next = 0;
    return isSent.map((sent) => (sent ? matched[next++] : undefined) ?? late());
  }

  const batches = createBatcher<Waiting, Outcome>(flush, {
    maxBatch,
    maxQueue,
    maxInFlight,
    onFlush,
    defer,
  });

  function isOverloaded(): boolean {
    if (shedding === undefined || batches.waiting() < shedding.minQueue) return false;
    const first = batches.oldest();
    return first !== undefined && now() - first.cameAt > shedding.maxWaitMs;
  }

  return {
    async ask(operation) {
      if (isOverloaded()) throw overloaded();
      const cameAt = now();
      const expiresAt = cameAt + Math.min(operation.timeout_ms ?? patienceMs, patienceMs);
      try {
        return await batches.add({ operation, cameAt, expiresAt });
      } catch (error) {
        if (error instanceof QueueFull) throw overloaded(error);
        if (error instanceof BatcherClosed) {
          throw new Failure('unavailable', 'the service is stopping', {
            cause: error,
            nothingDone: true,
          });
        }
        throw error;
      }
    },
    waiting: () => batches.waiting(),
    isOverloaded,
    close: () => batches.close(),
  };
}

function overloaded(cause?: Error): Failure {
  const options = { ...(cause && { cause }), nothingDone: true };
  return new Failure('overloaded', 'too many purchases are waiting', options);
}

function late(): Failure {
  const options = { nothingDone: true };
  return new Failure('deadline_exceeded', 'nobody waited for it any more before the call', options);
}
