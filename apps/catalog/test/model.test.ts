import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Book, BookChange, NewBook } from '@bazar/contracts';
import { readMeasure } from '@bazar/simulation';
import { startPostgres } from '@bazar/simulation/postgres';
import fc from 'fast-check';
import t, { type Test } from 'tap';
import type { PostgresStore } from '../src/store/postgres.js';
import type { CatalogStore, Operation, Outcome, Stock } from '../src/store.js';
import { idOf } from './ids.js';
import { lawBreaches, readLedger } from './law.js';
import { createMachine, type Machine } from './machine.js';
import { createPlace } from './postgres-place.js';

// `SEED=… npx tap test/model.test.ts` replays a failure; `RUNS=10000` looks for rarer ones.
const seed = Number(process.env['SEED'] ?? Date.now() % 2 ** 31);
const numRuns = readMeasure('RUNS', process.env['RUNS'], 300);

/** The catalog in the simplest words, with nothing that could be lost. */
interface Model {
  readonly stocks: Map<number, Stock>;
  /** By operation id: what was asked, and what came of it. */
  readonly remembered: Map<string, { readonly asked: string; readonly answer: Answer }>;
  readonly sales: { readonly operationId: string; readonly itemId: number }[];
}

/** An outcome without what the model cannot know: the time of a sale. */
type Answer =
  | { readonly result: 'sold'; sale: number; title: string; price: number }
  | { readonly result: 'sold_out' }
  | { readonly result: 'changed' | 'added'; readonly book: Book }
  | { readonly result: 'failed'; readonly code: string };

function newModel(): Model {
  const books: Book[] = [
    ['How to get a good grade in DOS in 40 minutes a day', 'distributed', 10, 30] as const,
    ['RPCs for Noobs', 'distributed', 2, 50] as const,
    ['Xen and the Art of Surviving Undergraduate School', 'undergrad', 3, 40] as const,
    ['Cooking for the Impatient Undergrad', 'undergrad', 6, 35] as const,
  ].map(([title, topic, quantity, price], index) => ({
    id: index + 1,
    title,
    topic,
    quantity,
    price,
  }));
  const stocks = books.map((book) => ({ ...book, stocked: book.quantity, sold: 0 }));
  return { stocks: new Map(stocks.map((s) => [s.id, s])), remembered: new Map(), sales: [] };
}

function bookOf({ id, title, topic, quantity, price }: Stock): Book {
  return { id, title, topic, quantity, price };
}

function askedOf(operation: Operation): string {
  if (operation.kind === 'sale') return `sale ${operation.itemId}`;
  if (operation.kind === 'addition') return `addition ${JSON.stringify(operation.book)}`;
  const { price, quantity, quantity_delta } = operation.change;
  return `change ${operation.itemId} ${[price, quantity, quantity_delta]}`;
}

function answer(model: Model, operation: Operation): Answer & { replayed?: boolean } {
  const asked = askedOf(operation);
  const known = model.remembered.get(operation.id);
  if (known !== undefined) {
    if (known.asked !== asked) return { result: 'failed', code: 'key_reused' };
    return { ...known.answer, replayed: true };
  }
  const fresh = decideFreshly(model, operation);
  if (fresh.result === 'failed') return fresh;
  model.remembered.set(operation.id, { asked, answer: fresh });
  return { ...fresh, replayed: false };
}

function decideFreshly({ stocks, sales }: Model, operation: Operation): Answer {
  if (operation.kind === 'addition') {
    const id = Math.max(...stocks.keys()) + 1;
    const stock = { id, ...operation.book, stocked: operation.book.quantity, sold: 0 };
    stocks.set(id, stock);
    return { result: 'added', book: bookOf(stock) };
  }
  const stock = stocks.get(operation.itemId);
  if (stock === undefined) return { result: 'failed', code: 'book_not_found' };
  if (operation.kind === 'sale') {
    if (stock.quantity < 1) return { result: 'sold_out' };
    stocks.set(stock.id, { ...stock, quantity: stock.quantity - 1, sold: stock.sold + 1 });
    sales.push({ operationId: operation.id, itemId: stock.id });
    return { result: 'sold', sale: sales.length, title: stock.title, price: stock.price };
  }
  const { price, quantity, quantity_delta } = operation.change;
  let next = quantity ?? stock.quantity;
  if (quantity_delta !== undefined) next += quantity_delta;
  if (next < 0) return { result: 'failed', code: 'stock_below_zero' };
  const changed = { ...stock, quantity: next, stocked: next + stock.sold };
  if (price !== undefined) changed.price = price;
  stocks.set(stock.id, changed);
  return { result: 'changed', book: bookOf(changed) };
}

/** The shop under test, and the store that it has for the moment. */
interface Real {
  readonly open: () => Promise<CatalogStore>;
  readonly kill: () => Promise<void>;
  store: CatalogStore;
}

/** One that keeps files, on a machine. */
interface RealFiles extends Real {
  readonly machine: Machine;
}

function toAnswer(outcome: Outcome | undefined): unknown {
  if (outcome === undefined) return undefined;
  if (outcome.result === 'failed') return { result: 'failed', code: outcome.failure.code };
  if (outcome.result !== 'sold') return outcome;
  const { timestamp: _, ...known } = outcome;
  return known;
}

function equal(found: unknown, wanted: unknown, what: string): void {
  const texts = [found, wanted].map((value) => JSON.stringify(value, sorted));
  if (texts[0] !== texts[1]) throw new Error(`${what}: ${texts[0]} instead of ${texts[1]}`);
}

/** JSON with the keys of each object in one order. */
function sorted(_key: string, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** Everything that can be asked is as the model says, and the law holds. */
async function check({ stocks, sales }: Model, { store }: Real): Promise<void> {
  const ledger = await readLedger(store, 4);
  const expected = [...stocks.values()].sort((a, b) => a.id - b.id);
  equal(ledger.stocks, expected, 'the totals');
  equal(
    ledger.feed,
    sales.map((sale, index) => ({ sale: index + 1, ...sale })),
    'the feed',
  );
  equal(lawBreaches(ledger), [], 'the law');
  const byTopic = new Map<string, Stock[]>();
  for (const stock of expected) {
    const topic = stock.topic.toLowerCase();
    byTopic.set(topic, [...(byTopic.get(topic) ?? []), stock]);
  }
  const topics = [...byTopic].sort(([a], [b]) => (a < b ? -1 : 1));
  equal(
    await store.topics('', 99),
    topics.map(([, books]) => ({ topic: books[0]?.topic, titles: books.length })),
    'the topics',
  );
  for (const [topic, books] of topics) {
    const titles = books.map(({ id, title }) => ({ id, title }));
    equal(await store.search(topic.toUpperCase(), -1, 99), titles, `the topic ${topic}`);
  }
}

type Step<R extends Real = Real> = fc.AsyncCommand<Model, R>;

function command<R extends Real>(
  name: string,
  run: (model: Model, real: R) => Promise<void>,
): Step<R> {
  return {
    check: () => true,
    toString: () => name,
    async run(model, real) {
      await run(model, real);
      await check(model, real);
    },
  };
}

function apply(operations: readonly Operation[]): Step {
  return command(`apply(${JSON.stringify(operations)})`, async (model, { store }: Real) => {
    const expected = operations.map((operation) => answer(model, operation));
    const outcomes = await store.apply(operations);
    equal(outcomes.map(toAnswer), expected, 'the outcomes');
  });
}

/** Two requests at the same time: each batch is decided as a whole, in the order of arrival. */
function applyBoth(first: readonly Operation[], second: readonly Operation[]): Step {
  return command(`both(${JSON.stringify([first, second])})`, async (model, { store }: Real) => {
    const expected = [first, second].map((batch) => batch.map((each) => answer(model, each)));
    const outcomes = await Promise.all([store.apply(first), store.apply(second)]);
    equal(
      outcomes.map((batch) => batch.map(toAnswer)),
      expected,
      'the outcomes',
    );
  });
}

const wait = (ms: number) =>
  command(`wait(${ms})`, (_model, { machine }: RealFiles) => machine.advance(ms));

const restart = command('restart', async ({ stocks }, real: RealFiles) => {
  await real.store.close();
  const rows = [...stocks.values()].sort((a, b) => a.id - b.id).map(rowOf);
  equal(await readRows(real.machine), rows, 'the file after a stop');
  real.store = await real.open();
});

const crash = command('crash', async (_model, real: Real) => {
  await real.kill();
  real.store = await real.open();
});

type Row = [id: string, title: string, topic: string, quantity: string, price: string];

const rowOf = ({ id, title, topic, quantity, price }: Book): Row => [
  String(id),
  title,
  topic,
  String(quantity),
  String(price),
];

/** The cells of the file; no text of the model needs quotes. */
async function readRows({ folder }: Machine): Promise<string[][]> {
  const [, ...lines] = (await readFile(join(folder, 'catalog_data.csv'), 'utf8')).split(/\r?\n/);
  return lines.filter((line) => line !== '').map((line) => line.split(','));
}

interface Wish {
  readonly row: number;
  readonly delta: number;
  readonly price: number | undefined;
  readonly topic: string | undefined;
  readonly removes: boolean;
  readonly adds: boolean;
}

/** A person edits whatever the file shows, which after a crash is not the newest stock. */
function edit(wish: Wish, ending: 'stop' | 'kill'): Step<RealFiles> {
  return command(
    `edit(${JSON.stringify(wish)}, ${ending})`,
    async ({ stocks }, real: RealFiles) => {
      await (ending === 'stop' ? real.store.close() : real.kill());
      const rows = await readRows(real.machine);
      const row = rows[wish.row % Math.max(1, rows.length)];
      const stock = stocks.get(Number(row?.[0]));
      if (row !== undefined && stock !== undefined) {
        const wanted = wish.removes ? 0 : Math.max(0, Number(row[3]) + wish.delta);
        const added = wish.removes ? -stock.quantity : wanted - Number(row[3]);
        const quantity = Math.max(0, stock.quantity + added);
        const price = wish.price ?? Number(row[4]);
        const topic = wish.topic ?? String(row[2]);
        if (wish.removes) rows.splice(rows.indexOf(row), 1);
        else
          rows.splice(rows.indexOf(row), 1, [stock.id, row[1], topic, wanted, price].map(String));
        stocks.set(stock.id, {
          ...stock,
          // What the person did not touch stays as it is now, whatever the file showed.
          ...(!wish.removes && price !== Number(row[4]) && { price }),
          ...(!wish.removes && topic !== row[2] && { topic }),
          quantity,
          stocked: quantity + stock.sold,
        });
      }
      if (wish.adds) {
        const id = Math.max(...stocks.keys()) + 3;
        const book = { id, title: 'By hand', topic: 'Hand', quantity: 2, price: 7.5 };
        rows.push(rowOf(book));
        stocks.set(id, { ...book, stocked: 2, sold: 0 });
      }
      const text = ['id,title,topic,quantity,price', ...rows.map((cells) => cells.join(','))];
      await writeFile(join(real.machine.folder, 'catalog_data.csv'), text.join('\r\n'));
      real.store = await real.open();
    },
  );
}

const cents = fc.integer({ min: 0, max: 10_000 }).map((each) => each / 100);
const id = fc.integer({ min: 1, max: 40 }).map(idOf);
const itemId = fc.integer({ min: 1, max: 8 });
const topic = fc.constantFrom('distributed', 'Undergrad', 'NEW', 'ΝΈΑ');

const change: fc.Arbitrary<BookChange> = fc.oneof(
  cents.map((price) => ({ price })),
  fc.integer({ min: 0, max: 5 }).map((quantity) => ({ quantity })),
  fc.record({ quantity_delta: fc.integer({ min: -4, max: 4 }), price: cents }),
);
const newBook: fc.Arbitrary<NewBook> = fc.record({
  title: fc.constantFrom('One', 'Two 📚', 'Trois'),
  topic,
  quantity: fc.integer({ min: 0, max: 3 }),
  price: cents,
});
const operation: fc.Arbitrary<Operation> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ id, kind: fc.constant('sale' as const), itemId }) },
  { weight: 2, arbitrary: fc.record({ id, kind: fc.constant('change' as const), itemId, change }) },
  {
    weight: 1,
    arbitrary: fc.record({ id, kind: fc.constant('addition' as const), book: newBook }),
  },
);
const batch = fc.array(operation, { minLength: 1, maxLength: 6 });
const wish = fc.record({
  row: fc.nat(9),
  delta: fc.integer({ min: -3, max: 5 }),
  price: fc.option(cents, { nil: undefined }),
  topic: fc.option(topic, { nil: undefined }),
  removes: fc.boolean(),
  adds: fc.boolean(),
});
/** What can happen to any shop. */
const steps = fc.commands([batch.map(apply), batch.map(apply), fc.constant(crash)], {
  maxCommands: 20,
});
const stepsOnFiles = fc.commands<Model, RealFiles, false>(
  [
    batch.map(apply),
    batch.map(apply),
    fc.tuple(batch, batch).map(([first, second]) => applyBoth(first, second)),
    fc.constantFrom(50, 150, 600, 2000).map(wait),
    fc.constant(restart),
    fc.constant(crash),
    fc
      .tuple(wish, fc.constantFrom('stop' as const, 'kill' as const))
      .map(([w, end]) => edit(w, end)),
  ],
  { maxCommands: 20 },
);

/** Runs steps on shop after shop; the details of the first that differs from its model. */
function compare<R extends Real>(
  steps: fc.Arbitrary<Iterable<Step<R>>>,
  { runs, isSound }: { readonly runs: number; readonly isSound: boolean },
  newReal: () => Promise<R>,
) {
  const property = fc.asyncProperty(steps, async (commands) => {
    const real = await newReal();
    try {
      await fc.asyncModelRun(() => ({ model: newModel(), real }), commands);
    } finally {
      await real.kill();
    }
  });
  // What is broken on purpose need not be shrunk to its smallest form.
  return fc.check(property, { seed, numRuns: runs, endOnFailure: !isSound });
}

interface Setup {
  readonly runs: number;
  /** What is put between the store and those who ask it. */
  readonly wrap?: (store: CatalogStore) => CatalogStore;
  readonly prepare?: (machine: Machine) => void;
}

async function differences(t: Test, { runs, wrap, prepare }: Setup) {
  const folder = t.testdir();
  let shops = 0;
  const isSound = wrap === undefined && prepare === undefined;
  return compare(stepsOnFiles, { runs, isSound }, async (): Promise<RealFiles> => {
    shops += 1;
    const place = join(folder, String(shops));
    await mkdir(place);
    const machine = createMachine(place);
    prepare?.(machine);
    const open = async () => {
      const store = await machine.open();
      return wrap === undefined ? store : wrap(store);
    };
    return { machine, open, kill: machine.kill, store: await open() };
  });
}

/** Two replicas as one store: they decide in turn, and the other one is asked what came of it. */
function inTurn(first: CatalogStore, second: CatalogStore): CatalogStore {
  let [decider, reader] = [first, second];
  return {
    apply(operations) {
      [decider, reader] = [reader, decider];
      return decider.apply(operations);
    },
    book: (id) => reader.book(id),
    search: (topic, after, limit) => reader.search(topic, after, limit),
    topics: (after, limit) => reader.topics(after, limit),
    operations: (after, limit) => reader.operations(after, limit),
    totals: (after, limit) => reader.totals(after, limit),
    async close() {
      await Promise.all([first.close(), second.close()]);
    },
  };
}

/** A shop on a new database; killed, it loses both of its replicas. */
async function openReplicas(newDatabase: () => Promise<string>): Promise<Real> {
  const place = createPlace(newDatabase);
  let replicas: PostgresStore[] = [];
  async function open(): Promise<CatalogStore> {
    const [first, second] = [await place.open(), await place.open()];
    replicas = [first, second];
    return inTurn(first, second);
  }
  return {
    open,
    store: await open(),
    async kill() {
      for (const replica of replicas) replica.destroy();
    },
  };
}

t.test('when anything is asked in any order, then the store does as its model', async (t) => {
  t.comment(`SEED=${seed} RUNS=${numRuns}`);
  const details = await differences(t, { runs: numRuns });
  t.notOk(details.failed, fc.defaultReportMessage(details) ?? `${numRuns} runs`);
});

t.test('when two replicas are asked in turn, then they do as the model', async (t) => {
  const server = await startPostgres();
  t.teardown(() => server.remove());
  // Each has a database made for it, which takes its time.
  const runs = Math.ceil(numRuns / 20);
  const details = await compare(steps, { runs, isSound: true }, () =>
    openReplicas(server.newDatabase),
  );
  t.notOk(details.failed, fc.defaultReportMessage(details) ?? `${runs} runs`);
});

t.test('when a store is broken on purpose, then the model tells', async (t) => {
  const faults: Record<string, Omit<Setup, 'runs'>> = {
    'a batch that is decided in another order': {
      wrap: (store) => ({
        ...store,
        async apply(operations) {
          const [first, ...others] = operations;
          if (first === undefined || others.length === 0) return store.apply(operations);
          const [outcome, ...outcomes] = await store.apply([...others, first]);
          return outcome === undefined ? [] : [outcome, ...outcomes];
        },
      }),
    },
    'a journal that is not written': {
      prepare(machine) {
        machine.fault = ({ name, file }) =>
          name === 'write' && file.endsWith('.log') && machine.calls.length > 30
            ? 'skipped'
            : undefined;
      },
    },
    'a rename that is not done': {
      prepare(machine) {
        machine.fault = ({ name }) =>
          name === 'rename' && machine.calls.length > 30 ? 'skipped' : undefined;
      },
    },
    'sold-out answers that are forgotten': {
      wrap: (store) => ({
        ...store,
        apply: async (operations) =>
          (await store.apply(operations)).map((outcome) =>
            outcome.result === 'sold_out' ? { ...outcome, replayed: false } : outcome,
          ),
      }),
    },
  };
  for (const [name, fault] of Object.entries(faults)) {
    const { failed, errorInstance } = await differences(t, { runs: 3000, ...fault });
    t.ok(failed, `${name}: ${errorInstance}`);
  }
});

t.test('when the law is broken, then its checker says how', async (t) => {
  const machine = createMachine(t.testdir());
  const store = await machine.open();
  const sales = [1, 2, 3].map((n): Operation => ({ id: idOf(n), kind: 'sale', itemId: 2 }));
  await store.apply(sales);
  const ledger = await readLedger(store);
  await store.close();
  t.same(lawBreaches(ledger), []);
  const [first, second, ...others] = ledger.stocks;
  if (first === undefined || second === undefined) throw new TypeError('there are four books');
  const withStock = (stock: Stock) => ({ ...ledger, stocks: [first, stock, ...others] });
  const [sale1, sale2] = ledger.feed;
  if (sale1 === undefined || sale2 === undefined) throw new TypeError('there are two sales');
  const broken = [
    [withStock({ ...second, quantity: 1 }), /book 2: 2 stocked, 1 left, 2 sold/],
    [withStock({ ...second, quantity: -1, stocked: 1 }), /book 2: a stock of -1/],
    [withStock({ ...second, quantity: 1, sold: 1 }), /book 2: 1 sold, 2 sales/],
    [{ ...ledger, stocks: [first, ...others] }, /book 2: sold, but not there/],
    [{ ...ledger, feed: [sale1] }, /sale 2 is the last of 1/],
    [{ ...ledger, feed: [sale2, sale1] }, /sale 2 stands where 1 should/],
    [{ ...ledger, feed: [sale1, { ...sale1, sale: 2 }] }, /one id has two sales/],
  ] as const;
  for (const [wrong, reason] of broken) t.match(lawBreaches(wrong).join(), reason);
});
