import {
  canonicalId,
  defaultLimit,
  Failure,
  type Order,
  type orderAdmin,
  type order as orderContract,
} from '@bazar/contracts';
import { type After, inTime, type orderInternal, purchaseAnswer } from '@bazar/contracts/internal';
import {
  type Handlers,
  nextLink,
  purchaseRequest,
  ready,
  representation,
  type Sample,
} from '@bazar/service';
import { type AuditEffects, auditShop } from './audit.js';
import type { Purchases } from './purchase.js';
import type { LoggedOrder, OrderStore } from './store.js';

function toOrder({ orderId, itemId, title, price, timestamp }: LoggedOrder): Order {
  return { order_id: orderId, item_id: itemId, title, price, timestamp };
}

export function publicHandlers(
  store: OrderStore,
  purchases: Purchases,
  after: After,
  sample: Sample = (traceparent) => traceparent,
): Handlers<typeof orderContract> {
  return {
    async purchase(request, reply) {
      const { operation, isKeyed, isGone } = purchaseRequest(request, sample);
      const asked = purchases.purchaseFor(operation, isGone);
      const outcome = await inTime(asked, operation, after);
      const { answer, replayed } = purchaseAnswer(outcome);
      // Under a key that was made here nobody can have asked before: it was this service that asked
      // the catalog again.
      if (replayed && isKeyed) reply.header('Idempotency-Replayed', 'true');
      return ready(answer);
    },
    async order(request, reply) {
      const id = canonicalId(request.params.order_id);
      const found = await store.find(id);
      if (found === undefined) throw new Failure('order_not_found', `there is no order ${id}`);
      return representation(request, reply, ready(toOrder(found)));
    },
  };
}

export function adminHandlers(effects: AuditEffects): Handlers<typeof orderAdmin> {
  const { store } = effects;
  return {
    async orders(request, reply) {
      const { after = 0, limit = defaultLimit } = request.query;
      // One more than the page tells whether there is a next one.
      const orders = await store.list(after, limit + 1);
      const page = orders.slice(0, limit);
      const last = page.at(-1);
      if (orders.length > limit && last !== undefined) {
        reply.header('Link', nextLink('/orders', { after: last.sale, limit }));
      }
      return ready(page.map((order) => ({ ...toOrder(order), sale: order.sale })));
    },
    audit: async () => ready(await auditShop(effects)),
  };
}

export function internalHandlers(purchases: Purchases): Handlers<typeof orderInternal> {
  return {
    async purchases(request) {
      const outcomes = await Promise.all(request.body.purchases.map(purchases.purchase));
      return ready({ outcomes });
    },
  };
}
