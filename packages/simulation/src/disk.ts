import { createDiskCalls, type DiskCall, type Fault } from './disk-call.js';
import { createEntries, type Entries } from './entries.js';
import { createInode, type Inode } from './inode.js';
import type { Process } from './process.js';
import { createProcessDisk, type ProcessDisk } from './process-disk.js';
import type { Random } from './random.js';

export interface SimulatedDisk {
  /** The disk for a process, until that is killed. */
  disk(process: Process): ProcessDisk;
  /**
   * Kills every process that was given the disk. Of what was not synced, every sector and every
   * name is then as it was or as it was to be, and a sector may be half of each.
   */
  powerLoss(): void;
  /** Reads from the platter again what counts as written, as a kernel short of memory would. */
  dropCaches(): void;
  /** Makes calls fail; the returned function ends that. */
  fail(fault: Fault): () => void;
  /**
   * Tells of every call at a moment when it is begun and not answered: before its effect, after
   * it, or in its midst. Whoever kills the process then has a call of which nobody knows the end.
   */
  watch(listener: (call: DiskCall) => void): () => void;
  /** All calls, in the order in which they began. */
  readonly calls: readonly DiskCall[];
  /** Sets the room on the disk in bytes; undefined for no bound. */
  resize(capacityBytes: number | undefined): void;
  /** Every file as a process would read it now, by its absolute path. */
  files(): Map<string, Buffer>;
}

export interface DiskOptions {
  readonly random: Random;
  /** Counted in whole sectors of files that have a name or are open. No bound if absent. */
  readonly capacityBytes?: number | undefined;
  readonly sectorBytes?: number;
  /** How probable it is that a write writes less than it was given, from 0 to 1. */
  readonly shortWrites?: number;
  /** How long a call takes, on the clock of its process; one without a clock does not wait. */
  readonly delayMs?: readonly [shortest: number, longest: number];
  readonly mutant?: DiskMutant;
}

/** Calls that claim success and do nothing: a checker that misses them checks nothing. */
export interface DiskMutant {
  readonly ignoreDatasync?: boolean;
  readonly ignoreFolderSync?: boolean;
}

export interface OpenFile {
  readonly inode: Inode;
  readonly process: Process;
  /** Several may share a lock. */
  lock: 'none' | 'shared' | 'own';
}

/** What the processes of one disk share. */
export interface Machine {
  readonly entries: Entries;
  readonly folders: Set<string>;
  readonly open: Map<object, OpenFile>;
  readonly mutant: DiskMutant;
  createInode(): Inode;
  /** How many bytes of a write there is room for. */
  fitting(inode: Inode, bytes: number, position: number): number;
  /** Whether a write is to write less than it could. */
  isShort(): boolean;
}

const defaultSectorBytes = 512;

/**
 * A disk with a page cache, and with the freedom that POSIX leaves it: only what was synced stays
 * (Pillai et al., "All File Systems Are Not Created Equal", 2014). A write fills the cache; a sync
 * of a file makes its bytes and its length durable, one of a folder the names in it. Folders
 * themselves are durable at once. Of a sector that is written again, the bytes that stay the same
 * are never lost, as disks promise that finish the sector at hand.
 */
export function createDisk(options: DiskOptions): SimulatedDisk {
  const { sectorBytes = defaultSectorBytes, shortWrites = 0, mutant = {}, delayMs } = options;
  const random = options.random.fork('disk');
  let { capacityBytes } = options;
  const processes = new Set<Process>();
  const entries = createEntries(random);
  const calls = createDiskCalls({ random, delayMs });
  const open: Machine['open'] = new Map();

  function living(): Set<Inode> {
    const found = new Set<Inode>();
    for (const [, inode] of entries.all()) found.add(inode);
    for (const { inode, process } of open.values()) if (process.alive) found.add(inode);
    return found;
  }

  function roomFor(inode: Inode): number {
    const allotted = (size: number) => Math.ceil(size / sectorBytes) * sectorBytes;
    if (capacityBytes === undefined) return Number.POSITIVE_INFINITY;
    let used = 0;
    for (const { size } of living()) used += allotted(size);
    return allotted(inode.size) + Math.max(0, capacityBytes - used);
  }

  const machine: Machine = {
    entries,
    folders: new Set(['/']),
    open,
    mutant,
    createInode: () => createInode(random, sectorBytes),
    fitting: (inode, bytes, position) => Math.max(0, Math.min(bytes, roomFor(inode) - position)),
    isShort: () => random.chance(shortWrites),
  };

  return {
    disk(process) {
      processes.add(process);
      for (const [descriptor, { process: owner }] of open) {
        if (!owner.alive) open.delete(descriptor);
      }
      return createProcessDisk(process, machine, calls, random);
    },
    powerLoss() {
      for (const process of processes) process.kill();
      processes.clear();
      open.clear();
      entries.losePower();
      for (const inode of living()) inode.losePower();
    },
    dropCaches() {
      for (const inode of living()) inode.dropCache();
    },
    fail: calls.fail,
    watch: calls.watch,
    calls: calls.log,
    resize(bytes) {
      capacityBytes = bytes;
    },
    files: () => new Map([...entries.all()].map(([path, inode]) => [path, inode.contents()])),
  };
}
