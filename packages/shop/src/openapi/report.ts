import type { ServiceName } from '../service.js';
import { type Change, sentencesOf } from './changes.js';
import { pathOf } from './document.js';
import type { Verdict } from './schema-changes.js';

/** What is worst comes first. */
const headings = {
  breaks: 'breaks clients',
  'may surprise': 'may surprise clients',
  'is compatible': 'is compatible',
} as const satisfies Record<Verdict, string>;

export interface Report {
  readonly lines: readonly string[];
  /** Whether a client that worked with the documents of the commit may no longer. */
  readonly breaks: boolean;
}

/** Tells the changes since a commit. */
export function report(
  changes: ReadonlyMap<ServiceName, readonly Change[]>,
  reference: string,
): Report {
  const lines = [...changes].flatMap(([service, all]) => {
    const sentences = Object.entries(headings).flatMap(([verdict, heading]) =>
      sentencesOf(all.filter((one) => one.verdict === verdict)).map(
        (sentence) => `  ${heading}: ${sentence}`,
      ),
    );
    const nothing = sentences.length === 0 ? ': nothing has changed' : '';
    return [`${pathOf(service)} since ${reference}${nothing}`, ...sentences];
  });
  const breaks = [...changes.values()].flat().some(({ verdict }) => verdict === 'breaks');
  return { lines: [...lines, breaks ? 'Clients break.' : 'No client breaks.'], breaks };
}
