import { type Caller, createCaller } from '@bazar/client/caller';
import {
  type BookChange,
  catalogAdmin,
  catalog as catalogContract,
  Failure,
  gateway as gatewayContract,
  order as orderContract,
} from '@bazar/contracts';
import type { Clock, Node, Random } from '@bazar/simulation';
import { type Bought, type Changed, count, type Evidence } from './evidence.js';
import type { Lines } from './wire.js';

/** The report's books, which a new shop begins with. */
export const firstBooks: readonly {
  readonly id: number;
  readonly quantity: number;
  readonly price: number;
}[] = [
  { id: 1, quantity: 10, price: 30 },
  { id: 2, quantity: 2, price: 50 },
  { id: 3, quantity: 3, price: 40 },
  { id: 4, quantity: 6, price: 35 },
];

export const gateways = ['gateway-1', 'gateway-2'] as const;

/** A key with what was asked under it, of which nobody knows yet what became of it. */
export interface Open {
  readonly key: string;
  readonly itemId: number;
}

export interface OpenUpdate extends Open {
  readonly change: BookChange;
}

/** Those who deal with the shop from outside. They outlive all of it. */
export interface People {
  /** Asks once, and keeps what was answered as evidence. */
  buy(open: Open, patienceMs: number, through?: string): Promise<Bought>;
  update(open: OpenUpdate, patienceMs: number): Promise<Changed>;
  read(itemId: number): Promise<void>;
  /** Looks at a book through one of the gateways. */
  visit(itemId: number): Promise<void>;
  /** Asks the order service for an order that somebody was told of. */
  look(orderId: string): Promise<void>;
}

export function createPeople(
  clock: Clock,
  random: Random,
  lines: Lines,
  evidence: Evidence,
): People {
  const node = clock.node('people');
  const shops = gateways.map((name) => createCaller(gatewayContract, lines.transport(node, name)));
  const catalog = createCaller(catalogContract, lines.transport(node, 'catalog'));
  const admin = createCaller(catalogAdmin, lines.transport(node, 'catalog'));
  const orders = createCaller(orderContract, lines.transport(node, 'order'));

  return {
    async buy({ key, itemId }, patienceMs) {
      const books = evidence.attempted.get(key) ?? new Set();
      evidence.attempted.set(key, books.add(itemId));
      const from = clock.now();
      const bought = await askToBuy(random.pick(shops), key, itemId, patienceMs);
      evidence.attempts.push({ key, itemId, bought, from, to: clock.now() });
      count(evidence, bought.result);
      return bought;
    },
    async update({ key, itemId, change }, patienceMs) {
      const from = clock.now();
      const changed = await askToChange(admin, key, itemId, change, patienceMs);
      evidence.updates.push({ key, itemId, change, changed, from, to: clock.now() });
      count(evidence, changed.result);
      return changed;
    },
    async read(itemId) {
      const from = clock.now();
      try {
        const { body } = await catalog.info({ params: { item_id: itemId } }, { timeoutMs: 200 });
        evidence.reads.push({ book: body, from, to: clock.now() });
        count(evidence, 'reads');
      } catch (error) {
        if (!(error instanceof Failure)) throw error;
      }
    },
    async visit(itemId) {
      const from = clock.now();
      try {
        const shop = random.pick(shops);
        const { body } = await shop.info({ params: { item_id: itemId } }, { timeoutMs: 2000 });
        evidence.shopReads.push({ book: body, from, to: clock.now() });
        count(evidence, 'reads through a gateway');
      } catch (error) {
        if (!(error instanceof Failure)) throw error;
      }
    },
    async look(orderId) {
      const from = clock.now();
      try {
        await orders.order({ params: { order_id: orderId } }, { timeoutMs: 200 });
        count(evidence, 'orders seen');
      } catch (error) {
        if (!(error instanceof Failure)) throw error;
        if (error.code === 'order_not_found') {
          evidence.denials.push({ orderId, from, to: clock.now() });
        }
      }
    },
  };
}

async function askToBuy(
  shop: Caller<typeof gatewayContract>,
  key: string,
  itemId: number,
  timeoutMs: number,
): Promise<Bought> {
  try {
    const headers = { 'idempotency-key': key };
    const { body } = await shop.purchase({ params: { item_id: itemId }, headers }, { timeoutMs });
    return 'order' in body ? { result: 'sold', order: body.order } : { result: 'sold_out' };
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    const { code, message: detail } = error;
    return { result: error.status < 500 ? 'refused' : 'unknown', code, detail };
  }
}

async function askToChange(
  admin: Caller<typeof catalogAdmin>,
  key: string,
  itemId: number,
  change: BookChange,
  timeoutMs: number,
): Promise<Changed> {
  try {
    const headers = { 'idempotency-key': key };
    const input = { params: { item_id: itemId }, headers, body: change };
    const { body } = await admin.update(input, { timeoutMs });
    return { result: 'changed', book: body.book };
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    return { result: error.status < 500 ? 'refused' : 'unknown', code: error.code };
  }
}

/** What keeps people busy while the storm lasts. */
export interface Day {
  readonly node: Node;
  readonly random: Random;
  readonly people: People;
  /** Collects what is still unknown when somebody gives up. */
  readonly open: Open[];
  readonly openUpdates: OpenUpdate[];
}

const patienceMs = [30, 1200] as const;

function between(random: Random, [shortest, longest]: readonly [number, number]): number {
  return shortest + random.next() * (longest - shortest);
}

/** A buyer buys some books, each under a key of its own, and asks again under it. */
export async function spendDay({ node, random, people, open }: Day): Promise<void> {
  const purchases = 2 + random.integer(5);
  for (let turn = 0; turn < purchases; turn += 1) {
    await node.sleep(between(random, [0, 400]));
    const wish = { key: random.uuid(), itemId: random.pick([1, 1, 2, 2, 2, 3, 3, 4]) };
    const bought = await insist(wish, { node, random, people });
    if (bought.result === 'unknown') open.push(wish);
    if (bought.result === 'sold' && random.chance(0.3)) await people.look(wish.key);
    if (bought.result !== 'unknown' && random.chance(0.15)) {
      await people.buy({ ...wish, itemId: (wish.itemId % firstBooks.length) + 1 }, 500);
    }
    if (bought.result !== 'unknown' && random.chance(0.3)) await people.buy(wish, 500);
  }
}

async function insist(
  wish: Open,
  { node, random, people }: Pick<Day, 'node' | 'random' | 'people'>,
): Promise<Bought> {
  const attempts = random.pick([1, 1, 2, 4, 6]);
  for (let attempt = 1; ; attempt += 1) {
    const patience = between(random, patienceMs);
    // Some press the button twice.
    const again = random.chance(0.15) ? people.buy(wish, patience) : undefined;
    const bought = await people.buy(wish, patience);
    await again;
    if (bought.result !== 'unknown' || attempt === attempts) return bought;
    await node.sleep(between(random, [0, 300]));
  }
}

/** The keeper puts books on the shelf and changes prices, and asks again where unsure. */
export async function keepShelves({ node, random, people, openUpdates }: Day): Promise<void> {
  const updates = 1 + random.integer(6);
  for (let turn = 0; turn < updates; turn += 1) {
    await node.sleep(between(random, [0, 600]));
    const itemId = random.pick([1, 2, 2, 3, 4]);
    const change = random.chance(0.75)
      ? { quantity_delta: 1 + random.integer(3) }
      : { price: 10 + random.integer(50) };
    const wish = { key: random.uuid(), itemId, change };
    const attempts = 1 + random.integer(5);
    for (let attempt = 1; ; attempt += 1) {
      const { result } = await people.update(wish, between(random, patienceMs));
      if (result !== 'unknown') break;
      if (attempt === attempts) {
        openUpdates.push(wish);
        break;
      }
      await node.sleep(between(random, [0, 300]));
    }
  }
}

/** A reader looks at books, while others buy them. */
export async function browse({ node, random, people }: Day): Promise<void> {
  const looks = 10 + random.integer(30);
  for (let turn = 0; turn < looks; turn += 1) {
    await node.sleep(between(random, [0, 100]));
    await people.read(random.pick(firstBooks).id);
  }
}

/** Somebody who looks at books through the gateways, again and again. */
export async function stroll({ node, random, people }: Day): Promise<void> {
  const looks = 5 + random.integer(20);
  for (let turn = 0; turn < looks; turn += 1) {
    await node.sleep(between(random, [0, 60]));
    await people.visit(random.pick([1, 2, 2, 2, 3, 4]));
  }
}
