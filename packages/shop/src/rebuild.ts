import { inspect } from 'node:util';
import type { Build, BuildResult } from './build.js';
import { type Shop, startOrder } from './launch.js';
import { type ServiceName, StartError } from './service.js';

export interface RebuildOptions {
  readonly shop: Shop;
  readonly build: Build;
  readonly say: (sentence: string) => void;
}

/** What the services were made of when they were last started. */
type Hashes = Extract<BuildResult, { ok: true }>['hashes'];

/** Keeps a running shop up to date with its sources. */
export interface Rebuild {
  /** Something changed: builds, and restarts what that concerns. Never rejects. */
  changed(): Promise<void>;
  /** Begins no further restart; resolves when none is under way. */
  close(): Promise<void>;
}

/**
 * At every change it builds, then restarts the services that are made of something else now, and
 * those that do not run. One build at a time; whatever changes meanwhile leads to one more.
 *
 * @param running what the services that run now were made of
 */
export function createRebuild({ shop, build, say }: RebuildOptions, running: Hashes): Rebuild {
  const startedWith: Record<ServiceName, string> = { ...running };
  let busy = false;
  let again = false;
  let closed = false;
  let restarting: Promise<void> = Promise.resolve();

  async function restart(name: ServiceName, hash: string): Promise<void> {
    try {
      await shop.service(name).restart();
      startedWith[name] = hash;
      say(`The ${name} was restarted.`);
    } catch (error) {
      say(error instanceof StartError ? error.message : inspect(error));
      say(`The ${name} starts again at the next change.`);
    }
  }

  async function rebuild(): Promise<void> {
    const result = await build();
    if (!result.ok) {
      say(`${result.output.trimEnd()}\nThe build failed; the shop goes on as it was.`);
      return;
    }
    for (const name of startOrder) {
      if (closed) return;
      const hash = result.hashes[name];
      if (shop.service(name).running && startedWith[name] === hash) continue;
      restarting = restart(name, hash);
      await restarting;
    }
  }

  return {
    async changed() {
      again = true;
      if (busy) return;
      busy = true;
      while (again && !closed) {
        again = false;
        await rebuild();
      }
      busy = false;
    },
    close() {
      closed = true;
      return restarting;
    },
  };
}
