import { Failure, type ItemProblem } from './failures.js';

/**
 * How long a caller waits who does not say so, and the longest that any caller is waited for. A
 * stop takes a little longer than this at most, so a service's grace must be more.
 */
export const patienceMs = 10_000;

/**
 * The time that a batch is worth waiting for: that of its most patient item. It is bounded, for few
 * batches are in flight at a time, and while a service hangs no caller may hold up all others.
 */
export function batchTimeoutMs(items: readonly { readonly timeout_ms?: number }[]): number {
  const longest = items.reduce(
    (most, { timeout_ms = patienceMs }) => Math.max(most, timeout_ms),
    1,
  );
  return Math.min(longest, patienceMs);
}

/** Waits so many milliseconds, then runs; the returned function takes the order back. */
export type After = (ms: number, run: () => void) => () => void;

/**
 * What is promised, or what `late` makes of its failure to come in time; what is promised goes on all
 * the same, for others may wait for it too.
 * @throws Failure `deadline_exceeded`, unless `late` makes something else of it
 */
export function within<T>(
  promise: Promise<T>,
  timeoutMs: number,
  after: After,
  late: (failure: Failure) => T | Promise<T> = (failure) => Promise.reject(failure),
): Promise<T> {
  return new Promise((resolve, reject) => {
    const cancel = after(timeoutMs, () => {
      resolve(late(new Failure('deadline_exceeded', `no answer came within ${timeoutMs} ms`)));
    });
    promise.then(
      (value) => {
        cancel();
        resolve(value);
      },
      (error: unknown) => {
        cancel();
        reject(error);
      },
    );
  });
}

/**
 * Outcomes belong to operations by id, wherever they stand in the answer. An operation without one
 * is unknown, which is not the same as refused: its place holds a Failure that says so.
 */
export function matchOutcomes<Operation, Outcome>(
  operations: readonly Operation[],
  idOf: (operation: Operation) => string,
  outcomes: readonly Outcome[],
  idOfOutcome: (outcome: Outcome) => string,
): (Outcome | Failure)[] {
  const byId = new Map(outcomes.map((outcome) => [idOfOutcome(outcome), outcome]));
  return operations.map((operation) => {
    const id = idOf(operation);
    return byId.get(id) ?? new Failure('unavailable', `the batch's answer does not name ${id}`);
  });
}

/** The items of a batch that is sent again, with what is left of their callers' patience. */
export function aged<Item extends { readonly timeout_ms?: number }>(
  items: readonly Item[],
  spentMs: number,
): Item[] {
  return items.map((item) => {
    const { timeout_ms = patienceMs } = item;
    return { ...item, timeout_ms: Math.max(0, Math.floor(timeout_ms - spentMs)) };
  });
}

/**
 * The outcomes of a batch that was sent before, elsewhere, and not answered: whoever did nothing for
 * an item now does not know what was done for it then.
 */
export function outcomesUnknown<
  Outcome extends { readonly result: string; readonly problem?: ItemProblem },
>(outcomes: readonly Outcome[]): Outcome[] {
  return outcomes.map((outcome) => {
    if (outcome.problem?.nothing_done === undefined) return outcome;
    const { code, detail } = outcome.problem;
    return { ...outcome, problem: { code, detail } };
  });
}

/**
 * Why a whole batch came to nothing at the replica itself, as one that cannot reach its database; such
 * a one is fast, and would draw all calls to itself. Undefined as soon as one item got an answer that
 * stands, or failed at what is behind the replica, for then another one would do no better.
 */
export function ownFailure(
  outcomes: readonly { readonly result: string; readonly problem?: ItemProblem }[],
): Failure | undefined {
  const problems = outcomes.map(({ problem }) => problem);
  const isOwn = (problem: ItemProblem | undefined) =>
    problem?.own === true && (problem.code === 'unavailable' || problem.code === 'overloaded');
  const [first] = problems;
  if (first === undefined || !problems.every(isOwn)) return undefined;
  const nothingDone = problems.every((problem) => problem?.nothing_done === true);
  return new Failure(first.code, first.detail, { foreign: true, nothingDone });
}
