import { Failure } from '@bazar/contracts';
import type { Random } from '@bazar/simulation';
import { type Files, type Life, type State, startLife } from './life.js';

/** What a keeper decides, not the buyers: all of a stock but what was sold of it. */
export type Shelf = ReadonlyMap<number, string>;

/** A shop that has sold for a while and is closed, or was killed. */
export interface Past {
  readonly ending: (typeof endings)[number];
  readonly files: Files;
  /** Copies that somebody made of the files in between, from the oldest on. */
  readonly copies: readonly Files[];
  /** The stock and the log, as an undamaged start has them. */
  readonly truth: State;
  /** The orders that buyers were told of. */
  readonly acknowledged: ReadonlySet<string>;
  /** The shelf after each thing that the keeper did, the first being that of a new shop. */
  readonly shelves: readonly Shelf[];
}

const endings = ['stop', 'kill', 'amid'] as const;

export function shelfOf({ stocks }: State): Shelf {
  return new Map(
    stocks.map(({ id, title, topic, price, stocked }) => [
      id,
      JSON.stringify({ title, topic, price, stocked }),
    ]),
  );
}

/** Lives a random life on a disk of its own. */
export async function makePast(random: Random): Promise<Past> {
  const acknowledged = new Set<string>();
  const shelves: Shelf[] = [];
  const copies: Files[] = [];
  let files: Files = new Map();
  let truth: State = { stocks: [], log: [] };
  const lives = 1 + random.integer(4);
  const ending = random.pick(endings);
  for (let turn = 1; turn <= lives; turn += 1) {
    const life = await startLife({ files, random: random.fork(`life ${turn}`) });
    if (turn === 1) shelves.push(shelfOf(await life.state()));
    const acts = 3 + random.integer(12);
    for (let act = 0; act < acts; act += 1) {
      await anyAct(life, { random, acknowledged, shelves, copies });
    }
    await endLife(life, random, turn === lives ? ending : random.pick(endings));
    files = life.files();
  }
  const life = await startLife({ files, random: random.fork('truth') });
  truth = await life.state();
  life.kill();
  shelves.push(shelfOf(truth));
  return { ending, files, copies, truth, acknowledged, shelves };
}

interface Telling {
  readonly random: Random;
  readonly acknowledged: Set<string>;
  readonly shelves: Shelf[];
  readonly copies: Files[];
}

async function anyAct(life: Life, telling: Telling): Promise<void> {
  const { random, shelves, copies } = telling;
  const { catalog, clock } = life;
  const itemId = 1 + random.integer(5);
  switch (random.pick(['buy', 'buy', 'buy', 'buy', 'keep', 'add', 'wait', 'copy'] as const)) {
    case 'buy':
      await buy(life, telling, 1 + random.integer(4));
      return;
    case 'keep': {
      const change = { price: random.integer(9999) / 100, quantity_delta: random.integer(6) };
      await clock.finish(catalog.change(random.uuid(), itemId, change)).catch(ignoreFailure);
      break;
    }
    case 'add': {
      const book = { title: `Book ${random.integer(99)}`, topic: 'new', quantity: 2, price: 7.5 };
      await clock.finish(catalog.add(random.uuid(), book));
      break;
    }
    case 'wait':
      await clock.finish(clock.sleep(random.pick([50, 150, 700, 2000])));
      return;
    case 'copy':
      copies.push(life.files());
      return;
  }
  shelves.push(shelfOf(await life.state()));
}

function ignoreFailure(error: unknown): void {
  if (!(error instanceof Failure)) throw error;
}

/** Some buyers at once; each who gets a copy has an acknowledged order. */
async function buy({ purchases, clock }: Life, telling: Telling, buyers: number): Promise<void> {
  const { random, acknowledged } = telling;
  const asked = Array.from({ length: buyers }, () => {
    const operation = {
      order_id: random.uuid(),
      item_id: 1 + random.integer(5),
      request_id: 'buyer',
    };
    return purchases.purchase(operation);
  });
  for (const outcome of await clock.finish(Promise.all(asked))) {
    if (outcome.result === 'sold') acknowledged.add(outcome.order_id);
  }
}

/** A kill may leave sales that the order service never heard of, and a snapshot half done. */
async function endLife(
  life: Life,
  random: Random,
  ending: (typeof endings)[number],
): Promise<void> {
  if (ending === 'stop') {
    await life.stop();
    return;
  }
  const { catalog, clock } = life;
  if (random.chance(0.5)) {
    const operation = {
      operation_id: random.uuid(),
      kind: 'sale',
      item_id: 1 + random.integer(4),
      quantity_delta: -1,
      request_id: 'buyer',
    } as const;
    await clock.finish(catalog.sell([operation]));
  }
  if (ending === 'amid') {
    life.killAt(1 + random.integer(25));
    await clock.run(undefined, { maxEvents: 200 }).catch(() => undefined);
  }
  life.kill();
}
