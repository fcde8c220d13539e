import type { Adoption } from './account.js';
import type { Draft, Saved } from './person.js';
import { readTable } from './table.js';

/** When a person saves: beside a shop that was stopped, was killed, or sells. */
export const moments = ['stopped', 'killed', 'running'] as const;
export type Moment = (typeof moments)[number];

/** What became of an edit; `overtaken` is one of which nobody can say who was first. */
export type Fate = 'adopted' | 'refused' | 'set aside' | 'overtaken' | 'lost';

/** An edit, how it was made, and what the shop did with it. */
export interface Edit extends Draft, Saved {
  readonly number: number;
  readonly moment: Moment;
  readonly fate: Fate;
  /** A kill came after it, perhaps before the shop could say anything. */
  readonly isInterrupted: boolean;
  /** All sales up to this number were made before the start that judged it. */
  readonly afterSale: number;
  /** The sentences in which the shop said what became of it. */
  readonly said: readonly string[];
}

/** Those of the edits that count. */
export function adoptionsOf(edits: readonly Edit[]): Adoption[] {
  return edits.flatMap(({ number, fate, afterSale, replaced, text }) => {
    const [shown, wanted] = [replaced, text].map(readTable);
    if (fate !== 'adopted' || shown === undefined || wanted === undefined) return [];
    return [{ number, afterSale, shown, wanted }];
  });
}

/**
 * What is wrong with the fates of edits: each is adopted once, refused with a sentence that names
 * the file, or set aside with one that names where it is kept, exactly as it was written.
 *
 * @param asides the texts of all edits that are kept beside the file in the end
 */
export function complaintsAbout(edits: readonly Edit[], asides: readonly string[]): string[] {
  const kept = edits.filter(({ fate }) => fate === 'set aside').map(({ text }) => text);
  const differs = [...kept].sort().join('\n\n') !== [...asides].sort().join('\n\n');
  return [
    ...edits.flatMap((edit) => {
      const complaint = complaintAbout(edit);
      return complaint === undefined ? [] : [`edit ${edit.number} (${edit.moment}): ${complaint}`];
    }),
    ...(differs ? ['what is kept beside the file is not what was set aside'] : []),
  ];
}

function complaintAbout({ fate, text, said, isInterrupted }: Edit): string | undefined {
  const isTable = readTable(text) !== undefined;
  const words = said.length;
  if (fate === 'lost') return 'it is lost';
  if (fate === 'overtaken') return undefined;
  if (fate === 'adopted' && !isTable) return 'it was adopted, though it is no table';
  if (fate === 'refused' && isTable) return `it was refused, though it is a table: ${said[0]}`;
  if (words > 1) return `it was ${fate} ${words} times`;
  return words === 0 && !isInterrupted ? `it was ${fate} without a word` : undefined;
}
