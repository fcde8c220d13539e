import { Failure } from '@bazar/contracts';
import type { Random } from '@bazar/simulation';
import type { CatalogStore, Operation, Outcome } from '../src/store.js';

export interface Load {
  readonly stores: readonly Pick<CatalogStore, 'apply'>[];
  readonly random: Random;
  /** How many callers each store has, who ask one batch after the other. */
  readonly callers: number;
  readonly batches: number;
  /** Called before each batch. */
  readonly onBatch?: () => void;
}

/** What the callers were told: outcomes by id, and how often they were told that it failed. */
export interface Told {
  readonly outcomes: Map<string, Outcome>;
  readonly operations: Map<string, Operation>;
  /** One sentence for each answer that contradicts an earlier one. */
  readonly contradictions: string[];
  failures: number;
  unknown: number;
}

/** Batches of sales, changes, additions and repeats of what others asked for, on few books. */
export async function putLoad(load: Load): Promise<Told> {
  const told: Told = {
    outcomes: new Map(),
    operations: new Map(),
    contradictions: [],
    failures: 0,
    unknown: 0,
  };
  await Promise.all(
    load.stores.flatMap((store, index) =>
      Array.from({ length: load.callers }, (_, caller) =>
        call(load, store, load.random.fork(`${index} ${caller}`), told),
      ),
    ),
  );
  return told;
}

async function call(load: Load, store: Load['stores'][number], random: Random, told: Told) {
  for (let batch = 0; batch < load.batches; batch += 1) {
    load.onBatch?.();
    const operations = Array.from({ length: 1 + random.integer(12) }, () =>
      drawOperation(random, told),
    );
    try {
      const outcomes = await store.apply(operations);
      for (const [index, operation] of operations.entries()) {
        note(told, operation, outcomes[index]);
      }
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      told.failures += 1;
      if (!error.nothingDone) told.unknown += 1;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }
}

function drawOperation(random: Random, told: Told): Operation {
  if (told.operations.size > 0 && random.chance(0.15)) {
    return random.pick([...told.operations.values()].slice(-50));
  }
  const id = random.uuid();
  const operation = drawNew(random, id);
  told.operations.set(id, operation);
  return operation;
}

function drawNew(random: Random, id: string): Operation {
  const kind = random.integer(20);
  if (kind === 0) {
    const book = {
      title: `Book ${id}`,
      topic: random.pick(['x', 'X', 'y']),
      quantity: 3,
      price: 1,
    };
    return { id, kind: 'addition', book };
  }
  const itemId = 1 + random.integer(6);
  if (kind > 3) return { id, kind: 'sale', itemId };
  const change = random.chance(0.5)
    ? { quantity_delta: random.integer(60) - 10 }
    : { quantity: random.integer(50), price: random.integer(10_000) / 100 };
  return { id, kind: 'change', itemId, change };
}

/** What a repeat must tell again; a failure is decided anew each time. */
function textOf(outcome: Outcome): string | undefined {
  if (outcome.result === 'failed') return undefined;
  return JSON.stringify({ ...outcome, replayed: true });
}

function note(told: Told, { id }: Operation, outcome: Outcome | undefined): void {
  const text = outcome && textOf(outcome);
  if (outcome === undefined || text === undefined) return;
  const before = told.outcomes.get(id);
  if (before === undefined) told.outcomes.set(id, outcome);
  else if (textOf(before) !== text) {
    told.contradictions.push(`${id}: ${textOf(before)}, and then ${text}`);
  }
}

/** Asks for everything again, and says where the answer is not the one that was given. */
export async function differences(store: CatalogStore, told: Told): Promise<string[]> {
  const asked = [...told.outcomes].flatMap(([id, outcome]) => {
    const operation = told.operations.get(id);
    return operation === undefined ? [] : [{ operation, outcome }];
  });
  const found: string[] = [];
  for (let from = 0; from < asked.length; from += 500) {
    const page = asked.slice(from, from + 500);
    const again = await store.apply(page.map(({ operation }) => operation));
    for (const [index, { operation, outcome }] of page.entries()) {
      const other = again[index];
      if (other === undefined || textOf(other) !== textOf(outcome)) {
        found.push(`${operation.id}: ${textOf(outcome)}, but now ${JSON.stringify(other)}`);
      }
    }
  }
  return found;
}

/**
 * Follows numbers as recovery does: always asks for those above the last one seen.
 * @param read the numbers above one, as they are visible now
 * @returns the numbers that it stepped over, for it never asks for them again
 */
export async function follow(
  read: (after: number) => Promise<readonly number[]>,
  isOver: () => boolean,
): Promise<number[]> {
  const missed: number[] = [];
  for (let last = 0, isLast = false; ; ) {
    const numbers = await read(last);
    for (const number of numbers) {
      for (let lost = last + 1; lost < number; lost += 1) missed.push(lost);
      last = number;
    }
    if (isLast && numbers.length === 0) return missed;
    isLast = isOver();
  }
}
