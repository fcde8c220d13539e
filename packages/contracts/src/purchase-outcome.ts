import { type After, patienceMs, within } from './batch.js';
import { Failure, itemProblem, toldOfItem } from './failures.js';
import type { PurchaseOperation, PurchaseOutcome } from './internal.js';
import type { PurchaseAnswer } from './order.js';

/**
 * What the caller of a purchase is told of its outcome.
 * @throws Failure for a purchase that failed; its detail says whether the outcome is known, and
 * names the key under which the same request may be repeated
 */
export function purchaseAnswer(outcome: PurchaseOutcome): {
  answer: PurchaseAnswer;
  replayed: boolean;
} {
  if (outcome.result === 'failed') {
    throw purchaseFailure(toldOfItem(outcome.problem), outcome.order_id);
  }
  const { replayed } = outcome;
  if (outcome.result === 'sold_out') return { answer: { message: 'Out of stock' }, replayed };
  const { order_id, item_id, title, price, timestamp } = outcome;
  const order = { order_id, item_id, title, price, timestamp };
  return { answer: { message: `bought book ${title}`, order }, replayed };
}

/**
 * A failed purchase, with what is known of its outcome and the key that makes its repetition safe.
 * Of an earlier request under the same key a refusal knows nothing, so it speaks of this one only.
 */
export function purchaseFailure(failure: Failure, orderId: string): Failure {
  const { code, message, status, foreign, nothingDone, retryAfterSeconds } = failure;
  if (status < 500) return failure;
  const known = nothingDone
    ? `This request bought nothing; it may be repeated with Idempotency-Key: ${orderId}`
    : `Whether order ${orderId} was made is not known; the same request with ` +
      `Idempotency-Key: ${orderId} tells, and buys no second copy`;
  return new Failure(code, `${message}. ${known}`, {
    cause: failure,
    foreign,
    nothingDone,
    ...(retryAfterSeconds !== undefined && { retryAfterSeconds }),
  });
}

/** The outcome of a purchase that failed. */
export function failedOutcome(
  { order_id }: Pick<PurchaseOperation, 'order_id'>,
  failure: Failure,
  isOwn = false,
): PurchaseOutcome {
  return { order_id, result: 'failed', problem: itemProblem(failure, isOwn) };
}

/**
 * The outcome of a purchase, or the failure that it was not known in the time that its caller gives.
 * The bound of its batch would not do: it is that of the most patient purchase in it.
 */
export function inTime(
  outcome: Promise<PurchaseOutcome>,
  operation: PurchaseOperation,
  after: After,
): Promise<PurchaseOutcome> {
  const { timeout_ms = patienceMs } = operation;
  return within(outcome, timeout_ms, after, (failure) => failedOutcome(operation, failure));
}
