import type { CatalogStore } from '@bazar/catalog';
import {
  createCatalog,
  feedBody,
  openCsvStore as openCatalogStore,
  totalsBody,
} from '@bazar/catalog';
import { createCaller, type ResponseCheck, type Transport } from '@bazar/client/caller';
import { checkResponses } from '@bazar/client/check';
import { BookChange, type Contract, catalog as catalogContract, Failure } from '@bazar/contracts';
import {
  catalogInternal,
  gatewayInternal,
  keeperHeader,
  orderInternal,
} from '@bazar/contracts/internal';
import {
  createBuying,
  giveBackThrough,
  type Kept,
  purchaseThrough,
  renewThrough,
} from '@bazar/gateway';
import {
  callsThrough,
  createPurchases,
  createRecovery,
  type OrderStore,
  openCsvStore as openOrderStore,
  type Recovery,
} from '@bazar/order';
import { readyAnswer } from '@bazar/service';
import { createReplicas, type Replicas, watchAddresses } from '@bazar/service/replicas';
import type { Clock, Node, Random, SimulatedDisk } from '@bazar/simulation';
import type { Static, TSchema } from '@sinclair/typebox';
import { Value } from '@sinclair/typebox/value';
import type { Build } from './build.js';
import type { Lines } from './wire.js';

/** What the processes of the shop live in. */
export interface World {
  readonly clock: Clock;
  readonly random: Random;
  readonly lines: Lines;
  readonly catalogDisk: SimulatedDisk;
  readonly orderDisk: SimulatedDisk;
  readonly build: Build;
  /** How long the catalog remembers outcomes. */
  readonly ageMs: number;
  /** Is told how a read through a gateway was answered. */
  readonly onRead: (status: string) => void;
  /** A process stops by itself, as it must when its disk broke. */
  readonly stopAtOnce: (node: Node, error: Error) => void;
}

/** What a service has opened. */
export interface Life {
  /** As a SIGTERM asks for: no new requests, answers to the old ones, all files closed. */
  close(): Promise<void>;
}

export interface Catalog extends Life {
  readonly store: CatalogStore;
}

export interface Orders extends Life {
  readonly store: OrderStore;
  readonly recovery: Recovery;
}

const catalogCheck = checkResponses(catalogInternal);
const orderCheck = checkResponses(orderInternal);

const publicCheck = checkResponses(catalogContract);

const silence = () => undefined;

/** The calls of a node to the one replica of a service, by its own clock. */
export function replicaOf<const C extends Contract>(
  contract: C,
  check: ResponseCheck,
  transport: Transport,
  { now }: Node,
): Replicas<C> {
  const connect = () => Object.assign(transport, { close: async () => undefined });
  // One for each replica, for whoever listens to it is kept: shared, it kept the worlds of all stories.
  const addresses = watchAddresses(['http://127.0.0.1'], { log: silence });
  return createReplicas(contract, { addresses, connect, check, log: silence, now });
}

/** Longer than messages take in the worst weather. */
const readTimeoutMs = 1500;
/** Few, so that segments end and are forgotten within a short story. */
const outcomesRemembered = 32;

/** The main of the catalog service. @throws as its store does */
export async function startCatalog(node: Node, world: World): Promise<Catalog> {
  const { clock, random, lines, build, ageMs, stopAtOnce } = world;
  const opened = await openCatalogStore({
    disk: build.catalogDisk(world.catalogDisk.disk(node)),
    folder: '/catalog',
    now: () => Math.floor(clock.now()),
    after: node.after,
    newId: () => random.uuid(),
    log: silence,
    onBroken: (error) => stopAtOnce(node, error),
    retention: { outcomes: outcomesRemembered, ageMs },
  });
  const store = build.catalogStore(opened, node);
  const leases = build.leases({
    async invalidate(url, body, timeoutMs) {
      const { hostname } = new URL(url);
      const caller = createCaller(gatewayInternal, lines.transport(node, hostname));
      await caller.invalidations({ body }, { timeoutMs });
    },
    after: node.after,
    monotonic: node.now,
    newId: () => random.uuid(),
    log: silence,
    defer: node.defer,
  });
  const { after, defer, now } = node;
  const catalog = createCatalog({ store, leases, after, defer, now });
  const deafen = lines.listen(node, {
    'GET /info': ({ argument, headers }) => catalog.info(Number(argument), headers[keeperHeader]),
    'POST /update': async ({ argument, headers, body }) => ({
      message: 'Updated successfully',
      book: (
        await catalog.change(
          headers['idempotency-key'] ?? '',
          Number(argument),
          read(BookChange, body),
        )
      ).book,
    }),
    'POST /leases': async ({ argument, body }) => {
      if (argument === 'end') {
        return catalog.endLease(read(catalogInternal.endLease.schema.body, body));
      }
      return { epoch: await catalog.lease(read(catalogInternal.leases.schema.body, body)) };
    },
    'POST /updates': async ({ body }) => {
      const { updates } = read(catalogInternal.updates.schema.body, body);
      return { outcomes: await catalog.sell(updates) };
    },
    'GET /operations': async ({ query }) =>
      feedBody(
        await catalog.operations(
          number(query, 'after'),
          number(query, 'limit'),
          number(query, 'wait_ms'),
        ),
      ),
    'GET /totals': async ({ query }) =>
      totalsBody(await catalog.totals(number(query, 'after', -1), number(query, 'limit'))),
  });
  return {
    store,
    async close() {
      catalog.hurry();
      await deafen();
      await catalog.close();
    },
  };
}

/** The main of the order service. @throws as its store does */
export async function startOrders(node: Node, world: World): Promise<Orders> {
  const { lines, build, stopAtOnce } = world;
  const opened = await openOrderStore({
    disk: build.orderDisk(world.orderDisk.disk(node)),
    folder: '/order',
    monotonic: node.now,
    log: silence,
    onBroken: (error) => stopAtOnce(node, error),
  });
  const store = build.orderStore(opened);
  const catalog = lines.transport(node, 'catalog');
  const catalogs = replicaOf(catalogInternal, catalogCheck, catalog, node);
  const { sell, readFeed } = build.calls(callsThrough(catalogs));
  const assertOpen = () => recovery.assertOpen();
  const made = createPurchases({ store, sell, assertOpen, now: node.now, defer: node.defer });
  const purchases = build.purchases(made, store);
  const recovery = createRecovery({
    store,
    readFeed,
    recover: purchases.recover,
    isInFlight: purchases.isInFlight,
    after: node.after,
    log: silence,
    onContradiction: (error) => stopAtOnce(node, error),
  });
  recovery.start();
  const deafen = lines.listen(node, {
    'POST /purchases': async ({ body }) => {
      const operations = read(orderInternal.purchases.schema.body, body).purchases;
      return { outcomes: await Promise.all(operations.map(purchases.purchase)) };
    },
    'GET /orders': async ({ argument }) => {
      const found = await opened.find(argument);
      if (found === undefined) throw new Failure('order_not_found', argument);
      const { orderId: order_id, itemId: item_id, title, price, timestamp } = found;
      return { order_id, item_id, title, price, timestamp };
    },
  });
  return {
    store,
    recovery,
    async close() {
      await deafen();
      await recovery.stop();
      await purchases.close();
      await store.close();
    },
  };
}

/** The main of the gateway. */
export async function startGateway(node: Node, world: World): Promise<Life> {
  const { lines, build, random, onRead } = world;
  const orders = replicaOf(orderInternal, orderCheck, lines.transport(node, 'order'), node);
  const purchase = build.purchase(purchaseThrough(orders));
  const buying = createBuying({ purchase, after: node.after, now: node.now, defer: node.defer });
  const catalog = createCaller(catalogContract, lines.transport(node, 'catalog'), {
    check: publicCheck,
  });
  const leases = replicaOf(catalogInternal, catalogCheck, lines.transport(node, 'catalog'), node);
  const cache = build.cache({ isLive: () => lease.isLive() });
  const lease = build.lease({
    renew: renewThrough(leases),
    giveBack: giveBackThrough(leases),
    onNewEpoch: cache.forgetAll,
    after: node.after,
    monotonic: node.now,
    wall: node.now,
    newId: () => random.uuid(),
    log: silence,
  });
  async function info(id: number): Promise<Kept> {
    const { text } = await catalog.info(
      { params: { item_id: id } },
      { timeoutMs: readTimeoutMs, headers: { [keeperHeader]: lease.instance } },
    );
    return { ...readyAnswer('', [], text), body: text, etag: '', link: undefined };
  }
  lease.start(`http://${node.name}`);
  const deafen = lines.listen(node, {
    'GET /info': async ({ argument }) => {
      const { kept, status } = await cache.read(`/info/${argument}`, Number(argument), () =>
        info(Number(argument)),
      );
      onRead(status);
      return JSON.parse(kept.body);
    },
    'POST /invalidations': async ({ body }) => {
      const changes = read(gatewayInternal.invalidations.schema.body, body);
      cache.forget(changes);
      if (!lease.is(changes.instance, changes.epoch)) throw new Failure('lease_unknown', 'no');
    },
    'POST /purchase': async ({ argument, headers }) => {
      const { answer } = await buying.buy({
        order_id: headers['idempotency-key'] ?? '',
        item_id: Number(argument),
        request_id: headers['x-request-id'] ?? 'simulated',
        timeout_ms: Number(headers['x-timeout-ms']),
      });
      return answer;
    },
  });
  return {
    async close() {
      await lease.stop();
      await deafen();
      await buying.close();
    },
  };
}

/** Validates as Fastify would. */
function read<Schema extends TSchema>(schema: Schema, body: unknown): Static<Schema> {
  if (Value.Check(schema, body)) return body;
  throw new Failure('malformed_request', 'the body is not that of the contract');
}

function number(query: URLSearchParams, name: string, absent = 0): number {
  return Number(query.get(name) ?? absent);
}
