import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Random } from '@bazar/simulation';
import { type Shop, StartError } from '../../src/index.js';
import { until } from '../crash/ask.js';
import { startAgain } from '../crash/killer.js';
import { type Edit, type Fate, type Moment, moments } from './fates.js';
import { createPerson, type Draft, type Person } from './person.js';
import { readTable } from './table.js';

export interface EditingOptions {
  readonly shop: Shop;
  readonly dataDir: string;
  readonly random: Random;
  /** How many edits to make. */
  readonly edits: number;
  /** Every line that a service has written until now. */
  readonly lines: readonly string[];
  /** How many purchases were answered until now. */
  readonly answered: () => number;
  /** Is told of books that can be bought. */
  readonly onBooks: (ids: Iterable<number>) => void;
}

export interface Editing {
  readonly edits: readonly Edit[];
  /** The texts that the shop has set aside. */
  readonly asides: readonly string[];
}

/**
 * Lets a person edit `catalog_data.csv` again and again, while the shop sells, when it was stopped
 * and when it was killed, and writes down what became of each edit. All services run when it is
 * done.
 */
export async function editAndRestart(options: EditingOptions): Promise<Editing> {
  const { dataDir, random, answered, onBooks } = options;
  const person = createPerson(dataDir, random.fork('person'));
  const edits: Edit[] = [];
  let lastId = 0;
  for (let number = 1; number <= options.edits; number += 1) {
    const goal = answered() + random.integer(30);
    await until(`${goal} purchases are answered`, () => answered() >= goal);
    await sleep(random.integer(10));
    lastId = Math.max(lastId, ...(readTable(person.read())?.keys() ?? []));
    // An id of an edit that was not adopted is not used again either.
    lastId += 1 + random.integer(3);
    const edit = await editOnce(options, person, number, lastId);
    edits.push(edit);
    if (edit.fate === 'adopted') onBooks(readTable(edit.text)?.keys() ?? []);
  }
  return { edits, asides: [...person.asides().values()] };
}

async function editOnce(
  { shop, dataDir, random, lines }: EditingOptions,
  person: Person,
  number: number,
  newId: number,
): Promise<Edit> {
  const catalog = shop.service('catalog');
  const moment = random.pick(moments);
  if (moment !== 'running') await end(shop, moment, random);
  const kept = person.asides();
  const lineCount = lines.length;
  const draft = person.draft(newId);
  const saved = person.save(draft);
  const aside = () =>
    [...person.asides()].find(([name, text]) => !kept.has(name) && text === draft.text)?.[0];

  let isInterrupted = false;
  if (moment === 'running') {
    const patience = random.integer(15);
    for (let wait = 0; wait < patience && aside() === undefined; wait += 1) await sleep(100);
    if (aside() === undefined) {
      const way = random.pick(['stopped', 'killed'] as const);
      await end(shop, way, random);
      isInterrupted = way === 'killed';
    }
  }
  const isInPlace = !catalog.running && person.read() === draft.text;
  const afterSale = catalog.running ? 0 : lastSaleIn(dataDir);
  if (!catalog.running && random.chance(0.3)) {
    isInterrupted = true;
    await killedStart(shop, random);
  }
  const refusal = await start(shop);
  if (refusal !== undefined) await repair(shop, person, draft, saved.replaced);
  const name = aside();
  const fate = fateOf({ refusal, aside: name, isInPlace, isRace: saved.isRace });
  const said = () => {
    const all = refusal === undefined ? lines.slice(lineCount) : [refusal];
    return all.filter((line) => isAbout(line, fate, name));
  };
  // A line may take a moment from one process to the other. Of these two nobody speaks.
  const isSilent = isInterrupted || fate === 'overtaken' || fate === 'lost';
  // The bound is only for a shop that is broken.
  for (let wait = 0; wait < 2000 && said().length === 0 && !isSilent; wait += 1) await sleep(25);
  return { ...draft, ...saved, number, moment, fate, isInterrupted, afterSale, said: said() };
}

async function end(shop: Shop, moment: Moment, random: Random): Promise<void> {
  const all = random.chance(0.2);
  const catalog = shop.service('catalog');
  if (moment === 'killed') await (all ? shop.kill() : catalog.kill());
  else await (all ? shop.stop() : catalog.stop());
}

/** Starts all that does not run; resolves to the sentence with which the catalog refuses. */
async function start(shop: Shop): Promise<string | undefined> {
  try {
    await startAgain(shop.service('catalog'));
  } catch (error) {
    if (error instanceof StartError) return error.message;
    throw error;
  }
  await startAgain(shop.service('order'));
  await startAgain(shop.service('gateway'));
  return undefined;
}

async function killedStart(shop: Shop, random: Random): Promise<void> {
  const catalog = shop.service('catalog');
  const started = catalog.start().catch(() => undefined);
  await sleep(random.integer(600));
  await catalog.kill();
  await started;
}

/** As the sentence of a refusal asks for; a file that was refused must be as it was written. */
async function repair(shop: Shop, person: Person, { text }: Draft, replaced: string) {
  if (person.read() !== text) throw new Error('a start that was refused has changed the file');
  person.restore(replaced);
  const refusal = await start(shop);
  if (refusal !== undefined) throw new Error(`The file as it was is refused as well: ${refusal}`);
}

interface Traces {
  readonly refusal: string | undefined;
  readonly aside: string | undefined;
  readonly isInPlace: boolean;
  readonly isRace: boolean;
}

function fateOf({ refusal, aside, isInPlace, isRace }: Traces): Fate {
  if (aside !== undefined) return 'set aside';
  if (refusal !== undefined) return 'refused';
  if (isInPlace) return 'adopted';
  return isRace ? 'overtaken' : 'lost';
}

function isAbout(line: string, fate: Fate, aside = ''): boolean {
  if (fate === 'set aside') return line.includes(aside);
  if (fate === 'refused') return line.includes('catalog_data.csv');
  return line.includes('catalog_data.csv was edited while the shop was stopped');
}

/** The number of the last sale in the journal of a catalog that does not run. */
function lastSaleIn(folder: string): number {
  const sales = readdirSync(folder)
    .filter((name) => /^catalog_journal-\d+\.log$/.test(name))
    .flatMap((name) => [
      ...readFileSync(join(folder, name), 'utf8').matchAll(/"kind":"sale",.*"sale":(\d+),.*\n/g),
    ]);
  return Math.max(0, ...sales.map(([, sale]) => Number(sale)));
}
