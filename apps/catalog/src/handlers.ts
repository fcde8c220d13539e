import { randomUUID } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import {
  type Body,
  canonicalId,
  type catalogAdmin,
  type catalog as catalogContract,
  defaultLimit,
  Failure,
} from '@bazar/contracts';
import { type catalogInternal, keeperHeader } from '@bazar/contracts/internal';
import {
  type Handlers,
  inTimeOf,
  nextLink,
  ready,
  representation,
  timeoutOf,
} from '@bazar/service';
import type { Catalog } from './catalog.js';
import type { Feed, Totals } from './store.js';

/** A person's file may have a book 0, which comes after no other. */
const beforeAll = -1;

export function publicHandlers(catalog: Catalog): Handlers<typeof catalogContract> {
  return {
    async search(request, reply) {
      const { topic } = request.params;
      const { after = beforeAll, limit = defaultLimit } = request.query;
      // One more than the page tells whether there is a next one.
      const books = await catalog.search(topic, after, limit + 1);
      const page = books.slice(0, limit);
      const last = page.at(-1);
      if (books.length > limit && last !== undefined) {
        reply.header(
          'Link',
          nextLink(`/search/${encodeURIComponent(topic)}`, { after: last.id, limit }),
        );
      }
      return representation(request, reply, ready(page));
    },
    async info(request, reply) {
      const keeper = keeperOf(request.raw);
      const book = await catalog.info(request.params.item_id, keeper);
      return representation(request, reply, ready(book));
    },
    async topics(request, reply) {
      const { after = '', limit = defaultLimit } = request.query;
      const topics = await catalog.topics(after, limit + 1);
      const page = topics.slice(0, limit);
      const last = page.at(-1);
      if (topics.length > limit && last !== undefined) {
        reply.header('Link', nextLink('/topics', { after: last.topic, limit }));
      }
      return representation(request, reply, ready(page));
    },
  };
}

/** The gateway that asks, if it is one. */
function keeperOf({ headers }: IncomingMessage): string | undefined {
  const keeper = headers[keeperHeader];
  return typeof keeper === 'string' ? keeper : undefined;
}

interface Changing {
  readonly raw: IncomingMessage;
  readonly headers: { readonly 'idempotency-key'?: string };
}

/**
 * Makes a change in its caller's time, under the caller's key or one that is made here.
 * @throws Failure; one of 500 and above names the key under which to ask again
 */
async function changeInTime<T>(
  { raw, headers: { 'idempotency-key': given } }: Changing,
  make: (key: string, timeoutMs: number | undefined) => Promise<T>,
): Promise<T> {
  const key = given === undefined ? randomUUID() : canonicalId(given);
  const timeoutMs = timeoutOf(raw);
  try {
    if (timeoutMs === undefined) return await make(key, undefined);
    return await inTimeOf(timeoutMs, () => make(key, timeoutMs));
  } catch (error) {
    throw error instanceof Failure ? changeFailure(error, key) : error;
  }
}

/** A change that failed, with what is known of it and the key that makes its repetition safe. */
function changeFailure(failure: Failure, key: string): Failure {
  const { code, message, status, nothingDone, retryAfterSeconds } = failure;
  if (status < 500) return failure;
  const known = nothingDone
    ? `This request changed nothing; it may be repeated with Idempotency-Key: ${key}`
    : 'Whether the change was made is not known; the same request with ' +
      `Idempotency-Key: ${key} tells, and changes nothing twice`;
  return new Failure(code, `${message}. ${known}`, {
    cause: failure,
    nothingDone,
    ...(retryAfterSeconds !== undefined && { retryAfterSeconds }),
  });
}

export function adminHandlers(catalog: Catalog): Handlers<typeof catalogAdmin> {
  return {
    async addBook(request, reply) {
      const { book, replayed } = await changeInTime(request, (key, timeoutMs) =>
        catalog.add(key, request.body, timeoutMs),
      );
      if (replayed) reply.header('Idempotency-Replayed', 'true');
      request.log.info({ item_id: book.id, ...request.body, replayed }, 'a book was added');
      return { message: 'Book added', book };
    },
    async update(request, reply) {
      const { item_id } = request.params;
      const { book, replayed } = await changeInTime(request, (key, timeoutMs) =>
        catalog.change(key, item_id, request.body, timeoutMs),
      );
      if (replayed) reply.header('Idempotency-Replayed', 'true');
      request.log.info({ item_id, ...request.body, replayed }, 'a book was changed');
      return { message: 'Updated successfully', book };
    },
  };
}

export function internalHandlers(catalog: Catalog): Handlers<typeof catalogInternal> {
  return {
    updates: async (request) => ready({ outcomes: await catalog.sell(request.body.updates) }),
    async operations(request) {
      const { after = 0, limit = defaultLimit, wait_ms: waitMs = 0 } = request.query;
      return feedBody(await catalog.operations(after, limit, waitMs));
    },
    async totals(request) {
      const { after = beforeAll, limit = defaultLimit } = request.query;
      return totalsBody(await catalog.totals(after, limit));
    },
    leases: async (request) => ({ epoch: await catalog.lease(request.body) }),
    async endLease({ body }) {
      await catalog.endLease(body);
      return undefined;
    },
  };
}

/** The feed as it travels. */
export function feedBody({
  catalogId,
  firstSale,
  lastSale,
  operations,
}: Feed): Body<(typeof catalogInternal)['operations']> {
  return {
    catalog_id: catalogId,
    first_sale: firstSale,
    last_sale: lastSale,
    operations: operations.map(({ sale, operationId, itemId }) => ({
      sale,
      operation_id: operationId,
      item_id: itemId,
    })),
  };
}

/** The running totals as they travel. */
export function totalsBody({ sale, books }: Totals): Body<(typeof catalogInternal)['totals']> {
  return {
    sale,
    books: books.map(({ id, stocked, quantity, sold }) => ({
      item_id: id,
      stocked,
      remaining: quantity,
      sold,
    })),
  };
}
