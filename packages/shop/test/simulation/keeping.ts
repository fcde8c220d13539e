import { Failure } from '@bazar/contracts';
import type { Clock, Node, Random } from '@bazar/simulation';
import { StorageBroken, StorageFull } from '@bazar/storage';
import type { Life } from './services.js';

/** A service that is started again whenever it ends, as an init system would. */
export interface Kept<Opened extends Life> {
  readonly name: string;
  /** The process that is there now, dead ones included. */
  readonly node: Node;
  /** What it opened, once it is open. */
  readonly life: Opened | undefined;
  /** Ends it as kill -9 does; it is back some time later. */
  crash(): void;
  /** Ends it as SIGTERM does. Where that does not come to its end, nothing follows. */
  stop(): Promise<void>;
  /** Resolves when it is open. */
  ready(): Promise<void>;
}

export interface KeepOptions<Opened extends Life> {
  readonly name: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly open: (node: Node) => Promise<Opened>;
  /** By how much its clock is fast or slow at most: 0.01, that is 1 %, unless told. */
  readonly drift?: number;
  /** Is told when a start failed for another reason than a disk that is full or failing. */
  readonly onRefused: (name: string, error: unknown) => void;
}

const policy = { restartMs: [1, 1500], retryMs: 200 } as const;

/** Starts a service, and starts it again after each of its deaths. */
export function keepRunning<Opened extends Life>(options: KeepOptions<Opened>): Kept<Opened> {
  const { name, clock, random, open, onRefused, drift = 0.01 } = options;
  let node = clock.node(name);
  let life: Opened | undefined;
  let restarting = false;

  function restart(ms: number): void {
    node.kill();
    life = undefined;
    if (restarting) return;
    restarting = true;
    clock.after(ms, () => {
      restarting = false;
      start();
    });
  }

  function start(): void {
    node = clock.node(name, { drift: (random.next() * 2 - 1) * drift });
    const mine = node;
    open(mine).then(
      (opened) => {
        if (mine.alive) life = opened;
      },
      (error: unknown) => {
        if (!mine.alive) return;
        if (!isPassing(error)) onRefused(name, error);
        restart(policy.retryMs);
      },
    );
  }

  function crash(): void {
    const [shortest, longest] = policy.restartMs;
    restart(shortest + random.next() * (longest - shortest));
  }

  start();
  return {
    name,
    get node() {
      return node;
    },
    get life() {
      return life;
    },
    crash,
    async stop() {
      const mine = node;
      const opened = life;
      // A second signal would not begin it anew.
      life = undefined;
      await opened?.close().catch((error: unknown) => {
        if (mine.alive && !isPassing(error)) onRefused(name, error);
      });
      if (mine === node) crash();
    },
    async ready() {
      while (life === undefined || !node.alive) await clock.sleep(20);
    },
  };
}

/** A full disk gets room again, and after a failed sync the next start finds out what is there. */
export function isPassing(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  if (error instanceof StorageFull || error instanceof StorageBroken) return true;
  if (error instanceof Failure && error.code === 'storage_full') return true;
  if ('code' in error && (error.code === 'EIO' || error.code === 'ENOSPC')) return true;
  return isPassing(error.cause);
}
