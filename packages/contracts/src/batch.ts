import { Failure } from './failures.js';
import type { PurchaseOutcome } from './internal.js';
import type { PurchaseAnswer } from './order.js';

/** How long a hop waits for a batch in which nobody says how long it will wait. */
const patienceMs = 10_000;

/**
 * The time that a batch is worth waiting for: that of its most patient item. It is bounded, for one
 * batch is in flight at a time, and while a service hangs no caller may hold up all others.
 */
export function batchTimeoutMs(items: readonly { readonly timeout_ms?: number }[]): number {
  const longest = items.reduce(
    (most, { timeout_ms = patienceMs }) => Math.max(most, timeout_ms),
    1,
  );
  return Math.min(longest, patienceMs);
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

/**
 * What the caller of a purchase is told of its outcome.
 * @throws Failure for a purchase that failed; where its outcome is unknown the detail names the key
 * under which the same request may be repeated
 */
export function purchaseAnswer(outcome: PurchaseOutcome): {
  answer: PurchaseAnswer;
  replayed: boolean;
} {
  if (outcome.result === 'failed') {
    const { code, detail } = outcome.problem;
    throw purchaseFailure(new Failure(code, detail, { foreign: true }), outcome.order_id);
  }
  const { replayed } = outcome;
  if (outcome.result === 'sold_out') return { answer: { message: 'Out of stock' }, replayed };
  const { order_id, item_id, title, price, timestamp } = outcome;
  const order = { order_id, item_id, title, price, timestamp };
  return { answer: { message: `bought book ${title}`, order }, replayed };
}

/** A failed purchase, with the key that makes its repetition safe where the outcome is unknown. */
export function purchaseFailure(failure: Failure, orderId: string): Failure {
  if (failure.status < 500) return failure;
  return new Failure(
    failure.code,
    `${failure.message}. Whether order ${orderId} was made is not known; the same request with ` +
      `Idempotency-Key: ${orderId} tells, and buys no second copy`,
    { cause: failure, foreign: failure.foreign },
  );
}
