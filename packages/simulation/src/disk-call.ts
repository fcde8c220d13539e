import { never, type Process } from './process.js';
import type { Random } from './random.js';

/** One call of a process to its disk. */
export interface DiskCall {
  /** 1, 2, 3, … over all calls to the disk, in the order in which they began. */
  readonly number: number;
  /** The name of the process. */
  readonly process: string;
  readonly name: DiskCallName;
  /** The file or folder, absolute; for a rename and a link, the one that is there already. */
  readonly path: string;
  /** How many bytes are asked for, given or to be kept; 0 for a call that has no such number. */
  readonly bytes: number;
  readonly position: number;
  /** `begun` until it is answered, and for ever if its process dies first; `done`, or a code. */
  readonly state: string;
}

export type DiskCallName =
  | 'open'
  | 'read'
  | 'write'
  | 'datasync'
  | 'sync'
  | 'truncate'
  | 'size'
  | 'isInPlace'
  | 'tryLock'
  | 'close'
  | 'list'
  | 'exists'
  | 'rename'
  | 'link'
  | 'remove'
  | 'makeFolder'
  | 'syncFolder';

/** What is to fail, and how. */
export interface Fault {
  /** The number of a call, or every call for which it is true. */
  readonly at: number | ((call: DiskCall) => boolean);
  readonly error: 'EIO' | 'ENOSPC';
}

/** What a process asks for. */
export interface Asked {
  readonly process: Process;
  readonly name: DiskCallName;
  readonly path: string;
  readonly bytes?: number;
  readonly position?: number;
}

/** What comes of it. */
export interface Effect<Result> {
  readonly whole: () => Result;
  /** What has come of it when it is interrupted in its midst; nothing if absent. */
  readonly half?: (() => void) | undefined;
  /** What an injected error leaves behind; nothing if absent. */
  readonly failed?: (() => void) | undefined;
}

export interface DiskCalls {
  perform<Result>(asked: Asked, effect: Effect<Result>): Promise<Result>;
  fail(fault: Fault): () => void;
  watch(listener: (call: DiskCall) => void): () => void;
  readonly log: readonly DiskCall[];
}

export interface DiskCallOptions {
  readonly random: Random;
  readonly delayMs: readonly [shortest: number, longest: number] | undefined;
}

/** An error as those of node:fs, with a `code`. */
export function diskError(code: string, name: DiskCallName, path: string): Error {
  return Object.assign(new Error(`${code}: ${name} ${path}`), { code });
}

/** Lets calls take their time, fail, and be interrupted before, amid or after their effect. */
export function createDiskCalls({ random, delayMs }: DiskCallOptions): DiskCalls {
  const log: DiskCall[] = [];
  const faults = new Set<Fault>();
  const listeners = new Set<(call: DiskCall) => void>();

  function begin({ process, name, path, bytes = 0, position = 0 }: Asked) {
    const number = log.length + 1;
    const call = { number, process: process.name, name, path, bytes, position, state: 'begun' };
    log.push(call);
    return call;
  }

  /** The time of a call; it does not end for a process that is killed in it. */
  async function pass(call: DiskCall, process: Process): Promise<void> {
    for (const listener of [...listeners]) listener(call);
    if (delayMs !== undefined && process.sleep !== undefined) {
      const [shortest, longest] = delayMs;
      await process.sleep(shortest + random.next() * (longest - shortest));
    }
    if (!process.alive) await never();
  }

  async function take<Result>(call: DiskCall, asked: Asked, effect: Effect<Result>) {
    const { process, name, path } = asked;
    const fault = [...faults].find(({ at }) =>
      typeof at === 'number' ? at === call.number : at(call),
    );
    if (fault !== undefined) {
      effect.failed?.();
      await pass(call, process);
      throw diskError(fault.error, name, path);
    }
    const moment = random.pick(['before', 'amid', 'after']);
    if (moment === 'after') {
      const result = effect.whole();
      await pass(call, process);
      return result;
    }
    if (moment === 'amid') effect.half?.();
    await pass(call, process);
    // Another call of the process may have brought its end meanwhile.
    return process.alive ? effect.whole() : never<Result>();
  }

  return {
    async perform(asked, effect) {
      if (!asked.process.alive) return never();
      const call = begin(asked);
      try {
        const result = await take(call, asked, effect);
        call.state = 'done';
        return result;
      } catch (error) {
        call.state = error instanceof Error && 'code' in error ? String(error.code) : 'error';
        throw error;
      }
    },
    fail(fault) {
      faults.add(fault);
      return () => faults.delete(fault);
    },
    watch(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    log,
  };
}
