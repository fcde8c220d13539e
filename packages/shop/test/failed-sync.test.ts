import { randomUUID } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import { type Operation, openCsvStore as openCatalog } from '@bazar/catalog';
import { type LoggedOrder, openCsvStore as openOrderLog } from '@bazar/order';
import {
  createClock,
  createDisk,
  createRandom,
  type DiskCall,
  type Node,
  type Random,
  type SimulatedDisk,
} from '@bazar/simulation';
import type { Disk } from '@bazar/storage';
import t from 'tap';

// Every sync of a whole small story fails once, whatever it is of: a batch, a seal, a new segment, a
// snapshot, a folder. SEED=… repeats a run.
const seed = process.env['SEED'] ?? randomUUID();
/** A mutant that so many trials do not catch is taken for an honest build. */
const maxMutantTurns = 600;
/** About as many as a story has. */
const mutantSyncs = 64;

/** What a story runs in. */
interface Stage {
  readonly disk: Disk;
  readonly now: () => number;
  readonly after: (ms: number, run: () => void) => () => void;
  readonly sleep: (ms: number) => Promise<void>;
  readonly random: Random;
  readonly onBroken: (error: Error) => void;
}

/** One service from its start to its stop. */
interface Story {
  /**
   * Tells of each answer under the id that was asked for, and of those that may be forgotten.
   * @throws what the store throws
   */
  tell(
    stage: Stage,
    answered: (id: string, answer: unknown) => void,
    forgettable: (id: string) => void,
  ): Promise<void>;
  /** All that a new start knows of the ids, by id. @throws when the files are not whole */
  read(stage: Stage, ids: readonly string[]): Promise<Map<string, unknown>>;
}

const syncs: readonly DiskCall['name'][] = ['datasync', 'sync', 'syncFolder'];
const silence = () => {};
const idOf = (number: number) => `00000000-0000-4000-8000-${String(number).padStart(12, '0')}`;
const sale = (number: number, itemId: number): Operation => {
  return { id: idOf(number), kind: 'sale', itemId };
};

const batches: readonly (readonly Operation[])[] = [
  [sale(1, 2), sale(2, 1)],
  [sale(3, 2), sale(4, 2), { id: idOf(5), kind: 'change', itemId: 3, change: { price: 41.5 } }],
  [
    { id: idOf(6), kind: 'addition', book: { title: 'Late', topic: 'x', quantity: 1, price: 9 } },
    sale(7, 5),
    sale(8, 5),
  ],
  [sale(9, 1), sale(10, 1)],
];

const openBooks = ({ disk, now, after, random, onBroken }: Stage) =>
  openCatalog({
    disk,
    folder: '/catalog',
    now,
    after,
    newId: random.uuid,
    log: silence,
    onBroken,
    // So few that a segment ends, and is forgotten, within the story.
    retention: { outcomes: 4, ageMs: 0 },
  });

/** What was decided, without whether it had been before. */
function decided(answer: object | undefined): unknown {
  return { ...answer, replayed: undefined };
}

const catalog: Story = {
  async tell(stage, answered, forgettable) {
    const store = await openBooks(stage);
    for (const [number, batch] of batches.entries()) {
      if (number === 2) {
        const { lastSale } = await store.operations(0, 1);
        for (const { id } of batches.slice(0, number).flat()) forgettable(id);
        await store.operations(lastSale, 1);
      }
      const outcomes = await store.apply(batch);
      for (const [index, { id }] of batch.entries()) answered(id, decided(outcomes[index]));
      // A seal comes first, and then a snapshot.
      await stage.sleep(1000);
    }
    await store.close();
  },
  async read(stage, ids) {
    const store = await openBooks(stage);
    const { books } = await store.totals(-1, 100);
    const wrong = books.find(({ stocked, quantity, sold }) => stocked !== quantity + sold);
    if (wrong !== undefined) throw new Error(`book ${wrong.id} does not add up`);
    const known = new Map<string, unknown>();
    for (const operation of batches.flat().filter(({ id }) => ids.includes(id))) {
      const [outcome] = await store.apply([operation]);
      if (outcome?.result !== 'failed' && outcome?.replayed)
        known.set(operation.id, decided(outcome));
    }
    await store.close();
    return known;
  },
};

const openOrders = ({ disk, now: monotonic, onBroken }: Stage) =>
  openOrderLog({ disk, folder: '/order', monotonic, log: silence, onBroken });
const orderOf = (number: number): LoggedOrder => ({
  orderId: idOf(number),
  itemId: 2,
  title: 'RPCs for Noobs',
  price: 50,
  timestamp: '2025-05-17T10:30:00.000Z',
  sale: number,
});

const orders: Story = {
  async tell(stage, answered) {
    const store = await openOrders(stage);
    await store.adoptCatalog(idOf(0));
    answered('catalog', idOf(0));
    for (const numbers of [[1, 2], [3], [4, 5, 6]]) {
      const batch = numbers.map(orderOf);
      await store.append(batch);
      for (const order of batch) answered(order.orderId, order);
    }
    await store.close();
  },
  async read(stage, ids) {
    const store = await openOrders(stage);
    const known = new Map<string, unknown>([['catalog', await store.catalogId()]]);
    for (const id of ids) {
      const order = await store.find(id);
      if (order !== undefined) known.set(id, order);
    }
    await store.close();
    return known;
  },
};

interface Trial {
  /** The call that failed. */
  readonly failed: DiskCall | undefined;
  /** How often the process was told to stop. */
  readonly broken: number;
  /** What whoever asked, started or stopped it was told instead of an answer. */
  readonly errors: readonly unknown[];
  readonly answers: ReadonlyMap<string, unknown>;
  /** What was answered after the process was told to stop. */
  readonly late: readonly string[];
  /** What the next start does not know as it was answered. */
  readonly lost: readonly string[];
}

interface TrialOptions {
  readonly story: Story;
  /** Which sync fails, 1 being the first. */
  readonly one: number;
  /** Whether the process stops at once when it is told to, as ours do. */
  readonly stops: boolean;
  /** What stands between the store and its disk. */
  readonly wrap?: (disk: Disk) => Disk;
  /** Of several trials of the same sync, which one. */
  readonly turn?: number;
}

/** Fails one sync, cuts the power in the end, and starts again. */
async function failOne(options: TrialOptions): Promise<Trial> {
  const { story, one, stops, wrap = (disk) => disk, turn = 0 } = options;
  const random = createRandom(`${seed} ${one} ${turn}`);
  const clock = createClock({ random, startMs: Date.UTC(2025, 4, 17) });
  const disk = createDisk({ random });
  const endFault = failSync(disk, one);
  const answers = new Map<string, unknown>();
  const late: string[] = [];
  const errors: unknown[] = [];
  let broken = 0;
  function stageOn(node: Node, onBroken: Stage['onBroken']): Stage {
    const now = () => Math.floor(node.now());
    const { after, sleep } = node;
    return { disk: wrap(disk.disk(node)), now, after, sleep, random, onBroken };
  }
  const node = clock.node('first');
  const stage = stageOn(node, () => {
    broken += 1;
    if (stops) node.kill();
  });
  const answered = (id: string, answer: unknown) => {
    answers.set(id, answer);
    if (broken > 0) late.push(id);
  };
  let over = false;
  void story
    .tell(stage, answered, (id) => answers.delete(id))
    .catch((error: unknown) => errors.push(error))
    .then(() => {
      over = true;
    });
  await clock.run(() => over || !node.alive);
  disk.powerLoss();
  const failed = endFault();
  const next = stageOn(clock.node('next'), (error) => errors.push(error));
  const known = await clock.finish(story.read(next, [...answers.keys()]));
  const lost = [...answers].filter(([id, answer]) => !isDeepStrictEqual(known.get(id), answer));
  return { failed, broken, errors, answers, late, lost: lost.map(([id]) => id) };
}

/** Lets one sync fail; the returned function ends that, and tells which it was. */
function failSync(disk: SimulatedDisk, one: number): () => DiskCall | undefined {
  let count = 0;
  let failed: DiskCall | undefined;
  const end = disk.fail({
    at(call) {
      if (!syncs.includes(call.name)) return false;
      count += 1;
      if (count === one) failed = call;
      return count === one;
    },
    error: 'EIO',
  });
  return () => {
    end();
    return failed;
  };
}

/** The files to which batches are appended. */
const isLog = (path: string) => /catalog_journal|order_log\.csv$/.test(path);

for (const [name, story] of Object.entries({ catalog, orders })) {
  t.test(`when any sync of the ${name} fails, then the process stops, and no more`, async (t) => {
    const failures: Record<string, number> = {};
    const wrong: string[] = [];
    let answered = 0;
    for (let one = 1; ; one += 1) {
      const [stopped, lingering] = [
        await failOne({ story, one, stops: true }),
        await failOne({ story, one, stops: false }),
      ];
      const { failed } = stopped;
      if (failed === undefined) {
        t.same(stopped.errors, [], 'the whole story is told where nothing fails');
        answered = stopped.answers.size;
        break;
      }
      const what = `${failed.name} ${failed.path.replace(/\d+/, 'N')}`;
      failures[what] = (failures[what] ?? 0) + 1;
      for (const { broken, errors, late, lost } of [stopped, lingering]) {
        const where = `sync ${one} (${what})`;
        if (broken + errors.length === 0) wrong.push(`${where}: nobody was told`);
        if (lost.length > 0) wrong.push(`${where}: ${lost} lost`);
        if (isLog(failed.path) && late.length > 0)
          wrong.push(`${where}: ${late} answered after it`);
      }
      if (stopped.late.length > 0) wrong.push(`sync ${one}: the process went on`);
    }
    t.same(wrong, []);
    t.ok(answered > 0);
    t.comment(`SEED=${seed} ${JSON.stringify(failures)}`);
  });

  t.test(`when a failing sync of the ${name} is ignored, then it is caught`, async (t) => {
    const ignoring = (disk: Disk): Disk => ({
      ...disk,
      async open(path, mode) {
        const file = await disk.open(path, mode);
        return { ...file, datasync: () => file.datasync().catch(silence) };
      },
    });
    let lost = 0;
    for (let turn = 1; lost === 0 && turn <= maxMutantTurns; turn += 1) {
      // What is lost may also show as files that are not whole.
      const isLost = await failOne({
        story,
        one: turn % mutantSyncs,
        stops: true,
        wrap: ignoring,
        turn,
      }).then(
        (trial) => trial.lost.length > 0,
        () => true,
      );
      if (isLost) lost += 1;
    }
    t.equal(lost, 1, 'something that was answered is lost');
  });
}
