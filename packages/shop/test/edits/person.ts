import {
  closeSync,
  existsSync,
  fstatSync,
  ftruncateSync,
  linkSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import type { Random } from '@bazar/simulation';
import { change, garbage, readTable, type Table, type Wish, wishes, writeTable } from './table.js';

export const saves = ['whole', 'whole', 'whole', 'whole', 'half', 'garbage'] as const;
export const ways = ['rename', 'in place'] as const;

/** What a person wrote. */
export interface Draft {
  readonly wish: Wish;
  readonly save: (typeof saves)[number];
  readonly way: (typeof ways)[number];
  /** Whether it was made from a copy that was opened earlier. */
  readonly isFromCopy: boolean;
  readonly text: string;
}

export interface Saved {
  /** What stood there until then. */
  readonly replaced: string;
  /** The shop was just about to replace the file itself: nobody can say who was first. */
  readonly isRace: boolean;
}

export interface Person {
  /** Edits the file, or a copy of it that was opened earlier. */
  draft(newId: number): Draft;
  save(draft: Draft): Saved;
  /** Puts back the file as it was, as one does after a start was refused. */
  restore(text: string): void;
  /** The file as it is. */
  read(): string;
  /** The names and texts of all edits that the shop has set aside. */
  asides(): Map<string, string>;
}

/** Somebody with an editor and the shop's folder. */
export function createPerson(folder: string, random: Random): Person {
  const data = join(folder, 'catalog_data.csv');
  const swap = `${data}.swp`;
  const kept = join(folder, 'catalog_data.before');
  const read = () => readFileSync(data, 'utf8');
  /** Copies opened earlier. */
  const opened: Table[] = [];

  function isReplacing(): boolean {
    return existsSync(`${data}.next`) || existsSync(`${data}.replaced`);
  }

  /** Between two of these calls nobody waits, so that hardly anything can come between. */
  function saveByRename(text: string): Saved {
    writeFileSync(swap, text);
    rmSync(kept, { force: true });
    const wasReplacing = isReplacing();
    linkSync(data, kept);
    renameSync(swap, data);
    const isRace = wasReplacing || isReplacing();
    return { replaced: readFileSync(kept, 'utf8'), isRace };
  }

  function saveInPlace(text: string): Saved {
    const wasReplacing = isReplacing();
    const file = openSync(data, 'r+');
    const replaced = readFileSync(file, 'utf8');
    ftruncateSync(file);
    writeSync(file, text, 0);
    const isElsewhere = fstatSync(file).ino !== statSync(data).ino;
    closeSync(file);
    return { replaced, isRace: wasReplacing || isElsewhere || isReplacing() };
  }

  return {
    draft(newId) {
      const before = read();
      const now = readTable(before) ?? new Map();
      const isFromCopy = opened.length > 0 && random.chance(0.25);
      const base = isFromCopy ? random.pick(opened.slice(-5)) : now;
      opened.push(now);
      for (;;) {
        const [wish, save, way] = [random.pick(wishes), random.pick(saves), random.pick(ways)];
        const whole = writeTable(change(random, base, wish, newId));
        const texts = {
          whole: () => whole,
          half: () => whole.slice(0, random.integer(whole.length)),
          garbage: () => garbage(random, whole),
        };
        const text = texts[save]();
        // Who changes nothing has made no edit that anybody could notice.
        if (text !== before) return { wish, save, way, isFromCopy, text };
      }
    },
    save: ({ way, text }) => (way === 'rename' ? saveByRename(text) : saveInPlace(text)),
    restore(text) {
      writeFileSync(swap, text);
      renameSync(swap, data);
    },
    read,
    asides: () =>
      new Map(
        readdirSync(folder)
          .filter((name) => /^catalog_data\.edited-.*\.csv$/.test(name))
          .map((name) => [name, readFileSync(join(folder, name), 'utf8')]),
      ),
  };
}
