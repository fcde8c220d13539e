import type { Socket } from 'node:net';
import { openPassage, type Passage, type PassageOptions } from './passage.js';

/** What was done for want of room: to the quietest connection, or to a new one. */
export type Full = 'ended' | 'refused';

export interface CrowdOptions extends Pick<PassageOptions, 'quietMs' | 'leftMs' | 'lingerMs'> {
  /** Called for every connection that was ended, or refused, for want of room. */
  readonly onFull?: (what: Full) => void;
  /** As many as a gateway takes unless told. */
  readonly maxConnections?: number;
  /** How long a connection is quiet behind an answer before it may make room for another. */
  readonly leastQuietMs?: number;
}

export interface CrowdFigures {
  readonly connections: number;
  /** Those among them that are ending: they get what is left for them, and are asked no more. */
  readonly ending: number;
  /** For want of room, so far. */
  readonly full: Readonly<Record<Full, number>>;
}

/** All clients' connections of the front, of which there are only so many. */
export interface Crowd {
  /** Whether another may come, for whom the quietest has made room where there was none. */
  makeRoom(): boolean;
  add(near: Socket): void;
  join(near: Socket, far: Socket): void;
  /**
   * Retires those on which nothing has moved behind an answer for so long.
   * @returns how many they were, of at most so many
   */
  retireQuiet(forMs: number, most?: number): number;
  destroy(): void;
  figures(): CrowdFigures;
}

const policy = {
  maxConnections: 10_000,
  /** Shorter is the pause of somebody who is about to ask again. */
  leastQuietMs: 1000,
  /** Those that are ending take nobody's place, unless they are more than this part of the most. */
  endingShare: 0.1,
};

export function gatherCrowd({ onFull, ...options }: CrowdOptions): Crowd {
  const { maxConnections, leastQuietMs, endingShare } = { ...policy, ...options };
  const maxOpen = Math.ceil(maxConnections * (1 + endingShare));
  const open = new Set<Socket>();
  const ending = new Set<Socket>();
  /** On which the last word was the gateway's, and since when nothing moves: the quietest first. */
  const quiet = new Map<Passage, number>();
  const full = { ended: 0, refused: 0 };

  function tellFull(what: Full): void {
    full[what] += 1;
    onFull?.(what);
  }

  function retireQuiet(forMs: number, most = Number.POSITIVE_INFINITY): number {
    const since = performance.now() - forMs;
    let count = 0;
    for (const [passage, at] of quiet) {
      if (at > since || count === most) break;
      passage.retire();
      count += 1;
    }
    return count;
  }

  return {
    makeRoom() {
      const isSpare = open.size < maxOpen;
      if (isSpare && open.size - ending.size < maxConnections) return true;
      const isMade = isSpare && retireQuiet(leastQuietMs, 1) > 0;
      tellFull(isMade ? 'ended' : 'refused');
      return isMade;
    },
    add(near) {
      open.add(near);
      near.once('close', () => open.delete(near));
    },
    join(near, far) {
      const forget = () => quiet.delete(passage);
      const remember = () => {
        forget();
        if (!ending.has(near)) quiet.set(passage, performance.now());
      };
      const onEnding = () => {
        forget();
        ending.add(near);
      };
      const told = { onAsked: forget, onAnswered: remember, onEnding };
      const passage = openPassage(near, far, { ...options, ...told });
      remember();
      near.once('close', () => {
        forget();
        ending.delete(near);
      });
    },
    retireQuiet,
    destroy() {
      for (const near of open) near.destroy();
    },
    figures: () => ({ connections: open.size, ending: ending.size, full: { ...full } }),
  };
}
