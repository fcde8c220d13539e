import { basename } from 'node:path';
import { type Disk, type DiskFile, nodeDisk } from '@bazar/storage';
import { type CsvStoreOptions, openCsvStore } from '../src/store/csv.js';
import type { CatalogStore } from '../src/store.js';

/** A call that changes, or is to secure, what is on the disk. */
export interface Call {
  readonly name: string;
  /** Of the file or folder, without its path. */
  readonly file: string;
}

/**
 * What becomes of a call: it fails with this code, a write perhaps only after its first half; or it
 * is said to have been done, and was not.
 */
export type Fault = { readonly code: string; readonly torn?: boolean } | 'skipped';

/**
 * A machine with one folder, on which one process after the other runs a catalog store. Its clock
 * stands still unless advanced, its disk fails when told, and its process can be killed: what was
 * written stays, what was held goes. Nothing is really synced, as no test here cuts the power.
 */
export interface Machine {
  readonly folder: string;
  /** Starts a process on the folder. */
  open(options?: Partial<CsvStoreOptions>): Promise<CatalogStore>;
  /** Ends the process between two calls of the disk, as kill -9 does. */
  kill(): Promise<void>;
  /** Lets time pass, and waits until all that it set off has come to rest. */
  advance(ms: number): Promise<void>;
  /** Waits until nothing is under way. */
  rest(): Promise<void>;
  /** What happens to the calls from now on. */
  fault: (call: Call) => Fault | undefined;
  /** What happens to those that change nothing, but need a descriptor. */
  lookFault: (call: Call) => Fault | undefined;
  /** The calls of all processes. */
  readonly calls: Call[];
  readonly log: string[];
  /** Why the process should have stopped, each time that it was told. */
  readonly broken: Error[];
}

/** Does the work of a disk, and fails where the process is dead or the machine says so. */
interface Gate {
  /** For a call that changes nothing, and needs a descriptor. */
  look(name: string, path: string): Promise<void>;
  read<Result>(run: () => Promise<Result>): Promise<Result>;
  change<Result>(
    name: string,
    path: string,
    skipped: Result,
    run: () => Promise<Result>,
    tear?: () => Promise<unknown>,
  ): Promise<Result>;
  hold(close: () => Promise<void>): void;
  letGo(close: () => Promise<void>): Promise<void>;
}

const noSync = async () => {};

function gatedFile(file: DiskFile, path: string, { read, change, letGo }: Gate): DiskFile {
  return {
    read: (buffer, position) => read(() => file.read(buffer, position)),
    size: () => read(() => file.size()),
    isInPlace: () => read(() => file.isInPlace()),
    tryLock: () => read(() => file.tryLock()),
    write(bytes, position) {
      const write = () => file.write(bytes, position);
      const tear = () => file.write(bytes.subarray(0, bytes.length >>> 1), position);
      return change('write', path, bytes.length, write, tear);
    },
    datasync: () => change('datasync', path, undefined, noSync),
    sync: () => change('sync', path, undefined, noSync),
    truncate: (length) => change('truncate', path, undefined, () => file.truncate(length)),
    close: () => letGo(file.close),
  };
}

function gatedDisk(gate: Gate): Disk {
  const { look, read, change, hold } = gate;
  return {
    async list(path) {
      await look('list', path);
      return read(() => nodeDisk.list(path));
    },
    exists: (path) => read(() => nodeDisk.exists(path)),
    makeFolder: (path) => read(() => nodeDisk.makeFolder(path)),
    async open(path, mode) {
      if (mode === 'read') await look('open', path);
      else await change('open', path, undefined, noSync);
      const file = await read(() => nodeDisk.open(path, mode));
      hold(file.close);
      return gatedFile(file, path, gate);
    },
    rename: (from, to) => change('rename', from, undefined, () => nodeDisk.rename(from, to)),
    link: (path, name) => change('link', path, undefined, () => nodeDisk.link(path, name)),
    remove: (path) => change('remove', path, undefined, () => nodeDisk.remove(path)),
    syncFolder: (path) => change('syncFolder', path, undefined, noSync),
  };
}

function createClock(start: number) {
  let time = start;
  let timers: { readonly due: number; readonly run: () => void }[] = [];
  return {
    now: () => time,
    after(ms: number, run: () => void): () => void {
      const timer = { due: time + ms, run };
      if (ms > 0) timers.push(timer);
      else setImmediate(run);
      return () => {
        timers = timers.filter((other) => other !== timer);
      };
    },
    dropTimers() {
      timers = [];
    },
    /** Lets time pass up to the next timer, and runs it; false when none is due by then. */
    step(until: number): boolean {
      const [next] = timers.filter(({ due }) => due <= until).sort((a, b) => a.due - b.due);
      time = next?.due ?? until;
      timers = timers.filter((timer) => timer !== next);
      next?.run();
      return next !== undefined;
    },
  };
}

export function createMachine(folder: string): Machine {
  const clock = createClock(Date.UTC(2025, 4, 17, 10, 30));
  /** What the process has open: how to close it. */
  const held = new Set<() => Promise<void>>();
  let process = { alive: true };
  let pending = 0;
  let ids = 0;

  async function work<Result>(run: () => Promise<Result>): Promise<Result> {
    pending += 1;
    try {
      return await run();
    } finally {
      pending -= 1;
    }
  }

  function gateOf(owner: { readonly alive: boolean }): Gate {
    const gate: Gate = {
      async look(name, path) {
        const fault = machine.lookFault({ name, file: basename(path) });
        if (typeof fault === 'object') throw failure(fault.code, name);
      },
      read: (run) =>
        work(async () => {
          if (!owner.alive) throw failure('EIO', 'the process is dead');
          return run();
        }),
      change: (name, path, skipped, run, tear) =>
        gate.read(async () => {
          const call = { name, file: basename(path) };
          machine.calls.push(call);
          const fault = machine.fault(call);
          if (fault === undefined) return run();
          if (fault === 'skipped') return skipped;
          if (fault.torn) await tear?.();
          throw failure(fault.code, name);
        }),
      hold: (close) => void held.add(close),
      letGo: async (close) => {
        if (held.delete(close)) await work(close);
      },
    };
    return gate;
  }

  function newId(): string {
    ids += 1;
    return `00000000-0000-4000-8000-${String(ids).padStart(12, '0')}`;
  }

  /** A continuation takes a few turns from one call of the disk to the next. */
  async function rest(): Promise<void> {
    for (let quiet = 0; quiet < 4; ) {
      await new Promise((resolve) => setImmediate(resolve));
      quiet = pending === 0 ? quiet + 1 : 0;
    }
  }

  const machine: Machine = {
    folder,
    open(options = {}) {
      process = { alive: true };
      return openCsvStore({
        disk: gatedDisk(gateOf(process)),
        folder,
        now: clock.now,
        after: clock.after,
        newId,
        log: (_level, sentence) => machine.log.push(sentence),
        onBroken: (error) => machine.broken.push(error),
        ...options,
      });
    },
    async kill() {
      process.alive = false;
      clock.dropTimers();
      await rest();
      for (const close of [...held]) {
        held.delete(close);
        await close();
      }
      clock.dropTimers();
    },
    async advance(ms) {
      const until = clock.now() + ms;
      while (clock.step(until)) await rest();
    },
    rest,
    fault: () => undefined,
    lookFault: () => undefined,
    calls: [],
    log: [],
    broken: [],
  };
  return machine;
}

function failure(code: string, what: string): Error {
  return Object.assign(new Error(`${code}: ${what}`), { code });
}
