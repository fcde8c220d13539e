import { Failure, type gateway } from '@bazar/contracts';
import { type gatewayInternal, keeperHeader, patienceMs } from '@bazar/contracts/internal';
import {
  callerOf,
  etagOf,
  type Handlers,
  purchaseRequest,
  type Ready,
  ready,
  readyAnswer,
  representation,
  type Sample,
  securityHeaders,
} from '@bazar/service';
import type { Cache, Kept, Subject } from './cache.js';
import { homePage } from './home.js';
import type { Lease } from './lease.js';
import type { Buying } from './purchase.js';
import type { Upstreams } from './upstreams.js';

/**
 * A read takes milliseconds, and to ask for it twice does no harm: a replica that is silent for so
 * long leaves most of the time to others.
 */
const reads = { timeoutMs: patienceMs, attemptTimeoutMs: 2000 };

type Asking = Parameters<typeof callerOf>[0];

/** A reply to a read; at run time it is Fastify's own. */
interface ReadReply {
  header(name: 'Cache-Status' | 'ETag' | 'Link', value: string): unknown;
}

/** What goes along with a call that others may wait for too: nobody's own patience. */
function onward(request: Asking, headers: Readonly<Record<string, string>> = {}) {
  const { requestId, traceparent } = callerOf(request);
  return { requestId, headers: traceparent === undefined ? headers : { ...headers, traceparent } };
}

/**
 * The URL of a page as our own links spell it. An answer is kept under it whatever else stood in the
 * URL that was asked for: else anybody could fill the cache with one answer.
 */
function pageUrl(path: string, query: { after?: string | number; limit?: number }): string {
  const { after, limit } = query;
  const parameters = [
    ...(after === undefined ? [] : [`after=${encodeURIComponent(after)}`]),
    ...(limit === undefined ? [] : [`limit=${limit}`]),
  ];
  return parameters.length === 0 ? path : `${path}?${parameters.join('&')}`;
}

/** Headers of every answer that was at hand. */
const readyHeaders: readonly [string, string][] = [
  ['content-type', 'application/json; charset=utf-8'],
  ['cache-control', 'no-cache'],
  ['cache-status', 'bazar; hit'],
  ...Object.entries(securityHeaders),
  ['vary', 'Origin'],
];

/** An answer of the catalog that was checked against the contract, as it goes on to our callers. */
function keptOf(route: string, { text: body, headers }: CatalogAnswer): Kept {
  const etag = headers['etag'] ?? etagOf(body);
  const link = headers['link'];
  const own: [string, string][] = [['etag', etag]];
  if (link !== undefined) own.push(['link', link]);
  return { ...readyAnswer(route, [...readyHeaders, ...own], body), body, etag, link };
}

interface CatalogAnswer {
  readonly text: string;
  readonly headers: Readonly<Record<string, string | undefined>>;
}

export interface HandlerParts {
  readonly upstreams: Pick<Upstreams, 'catalog' | 'orders'>;
  readonly buying: Buying;
  readonly cache: Cache;
  /** The id of this gateway, by which catalogs know it. */
  readonly instance: string;
  /** Decides which purchases are recorded. */
  readonly sample?: Sample | undefined;
}

export function gatewayHandlers({
  upstreams: { catalog, orders },
  buying,
  cache,
  instance,
  sample = (traceparent) => traceparent,
}: HandlerParts): Handlers<typeof gateway> {
  /** Answers a read with what is kept, or with what the catalog says. */
  async function read<T>(
    request: Asking & { readonly routeOptions: { readonly url?: string | undefined } },
    reply: ReadReply,
    key: string,
    subject: Subject,
    fetch: () => Promise<CatalogAnswer>,
  ) {
    const ask = async () => keptOf(request.routeOptions.url ?? '', await fetch());
    const { kept, status } = await cache.read(key, subject, ask);
    const { body, etag, link } = kept;
    reply.header('Cache-Status', `bazar; ${status}`);
    if (link !== undefined) reply.header('Link', link);
    // The bytes are the catalog's, and were checked to be of the contract.
    return representation(request, reply, body as string & Ready<T>, etag);
  }

  return {
    home: () => homePage,
    search: (request, reply) =>
      read(
        request,
        reply,
        pageUrl(`/search/${encodeURIComponent(request.params.topic)}`, request.query),
        'titles',
        () => {
          const { params, query } = request;
          return catalog.ask(
            (replica, { timeoutMs }) =>
              replica.search({ params, query }, { ...onward(request), timeoutMs }),
            reads,
          );
        },
      ),
    info: (request, reply) =>
      read(request, reply, `/info/${request.params.item_id}`, request.params.item_id, () => {
        const { params } = request;
        const call = onward(request, { [keeperHeader]: instance });
        return catalog.ask(
          (replica, { timeoutMs }) => replica.info({ params }, { ...call, timeoutMs }),
          reads,
        );
      }),
    topics: (request, reply) =>
      read(request, reply, pageUrl('/topics', request.query), 'titles', () => {
        const { query } = request;
        return catalog.ask(
          (replica, { timeoutMs }) => replica.topics({ query }, { ...onward(request), timeoutMs }),
          reads,
        );
      }),
    async purchase(request, reply) {
      const { operation, isKeyed, isGone } = purchaseRequest(request, sample);
      const { answer, replayed } = await buying.buy(operation, isGone);
      // Under a key that was made here nobody can have asked before: it was this gateway, or an order
      // service, that asked again. Of a key of the caller's own nobody can tell, and `true` is so.
      if (replayed && isKeyed) reply.header('Idempotency-Replayed', 'true');
      return ready(answer);
    },
    async order(request, reply) {
      const { params } = request;
      const { timeoutMs: patience = patienceMs } = callerOf(request);
      const call = onward(request);
      const { body } = await orders.ask(
        (replica, { timeoutMs }) => replica.order({ params }, { ...call, timeoutMs }),
        { ...reads, timeoutMs: patience },
      );
      return representation(request, reply, ready(body));
    },
  };
}

export function internalHandlers(cache: Cache, lease: Lease): Handlers<typeof gatewayInternal> {
  return {
    invalidations({ body }) {
      const { instance, epoch, books, titles } = body;
      // Whatever the lease: to have forgotten too much does no harm.
      cache.forget({ books, titles });
      if (!lease.is(instance, epoch)) {
        throw new Failure('lease_unknown', 'this gateway has no such lease');
      }
      return undefined;
    },
  };
}
