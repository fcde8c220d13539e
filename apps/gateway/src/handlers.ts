import { canonicalId, type gateway } from '@bazar/contracts';
import { callerOf, type Handlers, ready, representation } from '@bazar/service';
import { v7 as newOrderId } from 'uuid';
import { homePage } from './home.js';
import type { Buying } from './purchase.js';
import type { Upstreams } from './upstreams.js';

type Asking = Parameters<typeof callerOf>[0];

/** What goes along with every further call. */
function onward(request: Asking) {
  const { requestId, timeoutMs, traceparent } = callerOf(request);
  return {
    requestId,
    ...(timeoutMs !== undefined && { timeoutMs }),
    ...(traceparent !== undefined && { headers: { traceparent } }),
  };
}

export function gatewayHandlers(upstreams: Upstreams, buying: Buying): Handlers<typeof gateway> {
  const { catalog, orders } = upstreams;
  return {
    home: () => homePage,
    async search(request, reply) {
      const { params, query } = request;
      const { headers, body } = await catalog.next().search({ params, query }, onward(request));
      if (headers.link !== undefined) reply.header('Link', headers.link);
      return representation(request, reply, ready(body));
    },
    async info(request, reply) {
      const { params } = request;
      const { body } = await catalog.next().info({ params }, onward(request));
      return representation(request, reply, ready(body));
    },
    async topics(request, reply) {
      const { query } = request;
      const { headers, body } = await catalog.next().topics({ query }, onward(request));
      if (headers.link !== undefined) reply.header('Link', headers.link);
      return representation(request, reply, ready(body));
    },
    async purchase(request, reply) {
      const key = request.headers['idempotency-key'];
      const { requestId, timeoutMs, traceparent } = callerOf(request);
      const { answer, replayed } = await buying.buy({
        order_id: key === undefined ? newOrderId() : canonicalId(key),
        item_id: request.params.item_id,
        request_id: requestId,
        ...(timeoutMs !== undefined && { timeout_ms: timeoutMs }),
        ...(traceparent !== undefined && { traceparent }),
      });
      if (replayed) reply.header('Idempotency-Replayed', 'true');
      return ready(answer);
    },
    async order(request, reply) {
      const { params } = request;
      const { body } = await orders.next().order({ params }, onward(request));
      return representation(request, reply, ready(body));
    },
  };
}
