import { Failure } from '@bazar/contracts';
import type { Link } from './link.js';

export interface PoolOptions {
  readonly open: () => Link;
  /** The most connections at a time. */
  readonly connections: number;
  /** More that wait for one than this is overload. */
  readonly maxWaiting: number;
  /** Nobody waits longer for a connection. */
  readonly waitMs: number;
}

/** Connections that many share, one at a time. */
export interface Pool {
  /**
   * Resolves to a link that is the caller's until it is given back. Readers, of whom there may be
   * any number, leave two to those who write.
   * @param isNew whether it must be one that nobody had before
   * @throws Failure `overloaded` or `unavailable`, with `nothingDone`
   */
  take(use: Use, isNew: boolean): Promise<Link>;
  give(link: Link): void;
  /** Ends all connections that nobody has: they may be as dead as one that was just found so. */
  forget(): void;
  /** Takes nobody in any more, waits for those inside, and ends all connections. */
  close(): Promise<void>;
  /** Ends all connections at once, whatever is under way on them. */
  destroy(): void;
}

type Use = 'read' | 'write';

/** So many connections are for writing only. */
const forWriting = 2;

interface Waiter {
  readonly isNew: boolean;
  readonly resolve: (link: Link) => void;
  readonly reject: (failure: Failure) => void;
}

export function createPool({ open, connections, maxWaiting, waitMs }: PoolOptions): Pool {
  const resting: Link[] = [];
  const taken = new Set<Link>();
  /** Those of them that are read from. */
  const readers = new Set<Link>();
  const waiting = { read: new Set<Waiter>(), write: new Set<Waiter>() };
  let isClosed = false;
  let onEmpty = () => {};

  /** The link that rested last is the least likely to be dead. */
  function find(isNew: boolean): Link | undefined {
    for (let link = resting.pop(); link !== undefined; link = resting.pop()) {
      if (link.isUsable() && !isNew) return link;
      link.destroy('not used any more');
    }
    return taken.size < connections ? open() : undefined;
  }

  function lend(use: Use, isNew: boolean): Link | undefined {
    if (use === 'read' && readers.size >= Math.max(1, connections - forWriting)) return undefined;
    const link = find(isNew);
    if (link === undefined) return undefined;
    taken.add(link);
    if (use === 'read') readers.add(link);
    return link;
  }

  function refuse(code: 'overloaded' | 'unavailable', detail: string): Failure {
    return new Failure(code, detail, { nothingDone: true });
  }

  function wait(use: Use, isNew: boolean): Promise<Link> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        waiting[use].delete(waiter);
        reject(refuse('overloaded', 'the database has more work than it can take'));
      }, waitMs);
      const waiter: Waiter = {
        isNew,
        resolve(link) {
          clearTimeout(timer);
          resolve(link);
        },
        reject(failure) {
          clearTimeout(timer);
          reject(failure);
        },
      };
      waiting[use].add(waiter);
    });
  }

  /** Lends to the first who waits, if there is one. */
  function serve(use: Use): void {
    const [next] = waiting[use];
    const link = next === undefined ? undefined : lend(use, next.isNew);
    if (next === undefined || link === undefined) return;
    waiting[use].delete(next);
    next.resolve(link);
  }

  return {
    async take(use, isNew) {
      if (isClosed) throw refuse('unavailable', 'the service is stopping');
      const link = waiting[use].size === 0 ? lend(use, isNew) : undefined;
      if (link !== undefined) return link;
      if (waiting.read.size + waiting.write.size >= maxWaiting) {
        throw refuse('overloaded', 'too many are waiting for the database');
      }
      return wait(use, isNew);
    },
    give(link) {
      taken.delete(link);
      readers.delete(link);
      if (link.isUsable() && !isClosed) resting.push(link);
      else link.destroy('not used any more');
      serve('write');
      serve('read');
      if (taken.size === 0) onEmpty();
    },
    forget() {
      for (const link of resting.splice(0)) link.destroy('another one was lost');
    },
    async close() {
      isClosed = true;
      for (const waiters of Object.values(waiting)) {
        for (const { reject } of waiters) reject(refuse('unavailable', 'the service is stopping'));
        waiters.clear();
      }
      if (taken.size > 0) {
        await new Promise<void>((resolve) => {
          onEmpty = resolve;
        });
      }
      await Promise.all(resting.splice(0).map((link) => link.end()));
    },
    destroy() {
      isClosed = true;
      for (const link of [...taken, ...resting.splice(0)]) link.destroy('destroyed');
    },
  };
}
