import type { IncomingMessage } from 'node:http';
import { canonicalId } from '@bazar/contracts';
import type { IsGone, PurchaseOperation } from '@bazar/contracts/internal';
import { callerOf } from './caller.js';
import { hasHungUp } from './exchange.js';
import { newOrderId } from './order-id.js';
import type { Sample } from './trace.js';

/** What is read of a request to buy; the contract has validated it. */
interface Asking {
  readonly id: string;
  readonly raw: IncomingMessage;
  readonly params: { readonly item_id: number };
  readonly headers: { readonly 'idempotency-key'?: string };
}

/** A request to buy, as those who make the purchase take it. */
export interface PurchaseRequest {
  readonly operation: PurchaseOperation;
  /** The order id is a key of the caller's own, under which it may have asked before. */
  readonly isKeyed: boolean;
  readonly isGone: IsGone;
}

/** @param sample decides whether the purchase is recorded */
export function purchaseRequest(request: Asking, sample: Sample): PurchaseRequest {
  const key = request.headers['idempotency-key'];
  const { requestId, timeoutMs, traceparent: given } = callerOf(request);
  const traceparent = sample(given);
  const operation = {
    order_id: key === undefined ? newOrderId() : canonicalId(key),
    item_id: request.params.item_id,
    request_id: requestId,
    ...(timeoutMs !== undefined && { timeout_ms: timeoutMs }),
    ...(traceparent !== undefined && { traceparent }),
  };
  return { operation, isKeyed: key !== undefined, isGone: hangUpOf(request.raw) };
}

function hangUpOf({ socket }: IncomingMessage): IsGone {
  return (waitedMs) => hasHungUp(socket, waitedMs);
}
