import { setTimeout as sleep } from 'node:timers/promises';
import type { Random } from '@bazar/simulation';
import { type Line, openLine } from '@bazar/simulation/line';

/** A line between services, or from one to the database, by the names of those at its ends. */
export interface Wire {
  /** One of them; or all that have only one address for who is called. */
  readonly callers: readonly string[];
  readonly called: string;
  readonly line: Line;
}

/** The lines over which services call each other. */
export interface Wires {
  readonly all: readonly Wire[];
  /**
   * @param url of who is called, asked at each connection
   * @returns the address that leads there
   */
  lay(callers: readonly string[], called: string, url: () => string): Promise<string>;
  close(): Promise<void>;
}

export function createWires(): Wires {
  const all: Wire[] = [];
  return {
    all,
    async lay(callers, called, url) {
      const line = await openLine(() => Number(new URL(url()).port));
      all.push({ callers, called, line });
      return `http://127.0.0.1:${line.port}`;
    },
    async close() {
      await Promise.all(all.map(({ line }) => line.close()));
    },
  };
}

const longestMs = 3000;

/**
 * Cuts off one line, or one of the services or the database from all others, and mends it after a
 * while. The lines fall silent, or break and are refused.
 */
export async function partition(all: readonly Wire[], random: Random): Promise<void> {
  const names = [...new Set(all.flatMap(({ callers, called }) => [...callers, called]))];
  const lonely = random.pick(names);
  const ofLonely = all.filter(({ callers, called }) => {
    return called === lonely || (callers.length === 1 && callers[0] === lonely);
  });
  const chosen = random.chance(0.5) ? ofLonely : [random.pick(all)];
  const isSilent = random.chance(0.5);
  for (const { line } of chosen) {
    if (isSilent) line.silence();
    else line.cut({ refuse: true });
  }
  await sleep(random.integer(longestMs));
  for (const { line } of chosen) line.open();
}
