import { Failure } from '@bazar/contracts';
import { decide } from '../decide.js';
import type { Operation, Outcome, Stock } from '../store.js';
import type { KnownOutcome } from './outcomes.js';
import type { OutcomeRecord } from './record.js';
import type { Shelf } from './shelf.js';

/** What must be known of a remembered outcome before it is read back. */
type Known = Pick<KnownOutcome, 'kind' | 'itemId'>;

/** What a repeat is answered from: less than the journal's record of a sale. */
export type Answer =
  | Exclude<OutcomeRecord, { kind: 'sale' }>
  | Omit<Extract<OutcomeRecord, { kind: 'sale' }>, 'quantity' | 'sold'>;

export interface StagingContext<K extends Known> {
  readonly shelf: Pick<Shelf, 'get' | 'nextId'>;
  readonly outcomes: {
    readonly lastSale: number;
    readonly find: (id: string) => K | undefined;
  };
  /** The time of the commit, in milliseconds since 1970. */
  readonly at: number;
  /** Reads a remembered outcome back. */
  readonly recall: (known: K) => Promise<Answer>;
}

/** A batch decided but not committed: nothing of it is visible to anyone yet. */
export interface StagedBatch {
  /** By index of the operation. */
  readonly results: readonly Outcome[];
  /** What the journal must hold before any of it counts. */
  readonly records: readonly OutcomeRecord[];
  /** The stocks that the records leave behind. */
  readonly stocks: ReadonlyMap<number, Stock>;
}

/**
 * Decides a batch in order, each operation on what the ones before it left. Every store does it by
 * this, whatever it keeps the stocks and outcomes in.
 */
export async function stageBatch<K extends Known>(
  operations: readonly Operation[],
  { shelf, outcomes, at, recall }: StagingContext<K>,
): Promise<StagedBatch> {
  const stocks = new Map<number, Stock>();
  const records = new Map<string, OutcomeRecord>();
  const results: Outcome[] = [];
  let nextId = shelf.nextId;
  let sale = outcomes.lastSale;

  function decideOne(operation: Operation): Outcome {
    if (operation.isLate) return late();
    const itemId = operation.kind === 'addition' ? nextId : operation.itemId;
    const decision = decide(operation, stocks.get(itemId) ?? shelf.get(itemId), nextId);
    if (decision.result === 'failed') return decision;
    if (decision.result === 'sold') sale += 1;
    if (decision.result === 'added') nextId += 1;
    if (decision.result !== 'sold_out') stocks.set(itemId, decision.next);
    const record = toRecord(operation, decision, itemId, at, sale);
    records.set(operation.id, record);
    return toOutcome(record, false);
  }

  for (const operation of operations) {
    const inBatch = records.get(operation.id);
    if (inBatch !== undefined) {
      results.push(answerAgain(operation, inBatch));
      continue;
    }
    const known = outcomes.find(operation.id);
    if (known === undefined) results.push(decideOne(operation));
    else results.push(await answerKnown(operation, known, recall));
  }
  return { results, stocks, records: [...records.values()] };
}

function toRecord(
  operation: Operation,
  decision: Exclude<ReturnType<typeof decide>, { result: 'failed' }>,
  item: number,
  at: number,
  sale: number,
): OutcomeRecord {
  const { id } = operation;
  if (decision.result === 'sold_out') return { kind: 'sold_out', id, at, item };
  const { next } = decision;
  if (operation.kind === 'sale') {
    const { title, price, quantity, sold } = next;
    return { kind: 'sale', id, at, item, sale, title, price, quantity, sold };
  }
  return { kind: operation.kind, id, at, request: requestText(operation), stock: next };
}

/** What was asked for, in one spelling whatever order its keys came in. */
function requestText(operation: Exclude<Operation, { kind: 'sale' }>): string {
  if (operation.kind === 'addition') {
    const { title, topic, quantity, price } = operation.book;
    return JSON.stringify({ title, topic, quantity, price });
  }
  const { price, quantity, quantity_delta } = operation.change;
  return JSON.stringify({ price, quantity, quantity_delta });
}

/** The last one: the sales of a batch have their time in common. */
let written = { at: Number.NaN, text: '' };

function timestampOf(at: number): string {
  if (written.at !== at) written = { at, text: new Date(at).toISOString() };
  return written.text;
}

function toOutcome(record: Answer, replayed: boolean): Outcome {
  if (record.kind === 'sold_out') return { result: 'sold_out', replayed };
  if (record.kind === 'sale') {
    const { sale, title, price } = record;
    return { result: 'sold', replayed, sale, title, price, timestamp: timestampOf(record.at) };
  }
  const { id, title, topic, quantity, price } = record.stock;
  const book = { id, title, topic, quantity, price };
  return { result: record.kind === 'change' ? 'changed' : 'added', replayed, book };
}

async function answerKnown<K extends Known>(
  operation: Operation,
  known: K,
  recall: StagingContext<K>['recall'],
): Promise<Outcome> {
  const { kind, itemId } = known;
  // What memory knows is enough to refuse, and to repeat a sold out, without a look at the disk.
  const isSale = operation.kind === 'sale';
  if (isSale !== (kind !== 'other')) return reused(operation);
  if (isSale && operation.itemId !== itemId) return reused(operation);
  if (kind === 'sold_out') return { result: 'sold_out', replayed: true };
  try {
    return answerAgain(operation, await recall(known));
  } catch (cause) {
    // One outcome that cannot be read must not take the others of its batch with it.
    const detail = `what became of ${operation.id} cannot be read`;
    return { result: 'failed', failure: new Failure('unavailable', detail, { cause }) };
  }
}

function answerAgain(operation: Operation, record: Answer): Outcome {
  return isSameRequest(operation, record) ? toOutcome(record, true) : reused(operation);
}

function isSameRequest(operation: Operation, record: Answer): boolean {
  if (operation.kind === 'sale') return 'item' in record && record.item === operation.itemId;
  if (record.kind !== operation.kind) return false;
  if (operation.kind === 'change' && record.stock.id !== operation.itemId) return false;
  return record.request === requestText(operation);
}

function late(): Outcome {
  const detail = 'no time was left';
  return {
    result: 'failed',
    failure: new Failure('deadline_exceeded', detail, { nothingDone: true }),
  };
}

function reused(operation: Operation): Outcome {
  const detail = `the key ${operation.id} was used for another request`;
  return { result: 'failed', failure: new Failure('key_reused', detail) };
}
