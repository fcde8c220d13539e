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
   * Resolves to a link that is the caller's until it is given back.
   * @param isNew whether it must be one that nobody had before
   * @throws Failure `overloaded` or `unavailable`, with `nothingDone`
   */
  take(isNew: boolean): Promise<Link>;
  give(link: Link): void;
  /** Takes nobody in any more, waits for those inside, and ends all connections. */
  close(): Promise<void>;
  /** Ends all connections at once, whatever is under way on them. */
  destroy(): void;
}

interface Waiter {
  readonly isNew: boolean;
  readonly resolve: (link: Link) => void;
  readonly reject: (failure: Failure) => void;
}

export function createPool({ open, connections, maxWaiting, waitMs }: PoolOptions): Pool {
  const resting: Link[] = [];
  const taken = new Set<Link>();
  const waiting = new Set<Waiter>();
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

  function lend(isNew: boolean): Link | undefined {
    const link = find(isNew);
    if (link !== undefined) taken.add(link);
    return link;
  }

  function refuse(code: 'overloaded' | 'unavailable', detail: string): Failure {
    return new Failure(code, detail, { nothingDone: true });
  }

  function wait(isNew: boolean): Promise<Link> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        waiting.delete(waiter);
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
      waiting.add(waiter);
    });
  }

  return {
    async take(isNew) {
      if (isClosed) throw refuse('unavailable', 'the service is stopping');
      const link = waiting.size === 0 ? lend(isNew) : undefined;
      if (link !== undefined) return link;
      if (waiting.size >= maxWaiting) {
        throw refuse('overloaded', 'too many are waiting for the database');
      }
      return wait(isNew);
    },
    give(link) {
      taken.delete(link);
      if (link.isUsable() && !isClosed) resting.push(link);
      else link.destroy('not used any more');
      const [next] = waiting;
      const other = next === undefined ? undefined : lend(next.isNew);
      if (next !== undefined && other !== undefined) {
        waiting.delete(next);
        next.resolve(other);
      }
      if (taken.size === 0) onEmpty();
    },
    async close() {
      isClosed = true;
      for (const { reject } of waiting) reject(refuse('unavailable', 'the service is stopping'));
      waiting.clear();
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
