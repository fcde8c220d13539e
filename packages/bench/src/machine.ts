import { closeSync, fdatasyncSync, openSync, writeSync } from 'node:fs';
import { cpus, loadavg, platform, release, totalmem } from 'node:os';
import { join } from 'node:path';
import { percentile } from './statistics.js';

/** What a reader must know to compare figures with those of another machine. */
export interface Machine {
  readonly cores: number;
  readonly processor: string;
  readonly memoryBytes: number;
  readonly system: string;
  readonly node: string;
  /** Of the minute before the start. */
  readonly loadAverage: number;
  /** The median of a small write with its `fdatasync`, in the folder of the data. */
  readonly syncMs: number;
}

const syncs = 100;
const rowBytes = 160;
/** Above this share of the cores somebody else's work is in the figures. */
const busyShare = 0.25;

/** @param folder where the shops will keep their files: disks differ */
export function lookAtMachine(folder: string): Machine {
  const processors = cpus();
  return {
    cores: processors.length,
    processor: processors[0]?.model.trim() ?? 'unknown',
    memoryBytes: totalmem(),
    system: `${platform()} ${release()}`,
    node: process.version,
    loadAverage: loadavg()[0] ?? 0,
    syncMs: measureSync(join(folder, 'sync-probe')),
  };
}

function measureSync(path: string): number {
  const file = openSync(path, 'w');
  const row = Buffer.alloc(rowBytes, 'x');
  const took = Array.from({ length: syncs }, () => {
    const started = performance.now();
    writeSync(file, row);
    fdatasyncSync(file);
    return performance.now() - started;
  });
  closeSync(file);
  return percentile(took, 0.5);
}

export function inWords(machine: Machine): string {
  const { cores, processor, memoryBytes, system, node, loadAverage, syncMs } = machine;
  return (
    `${cores} cores (${processor}), ${Math.round(memoryBytes / 1e9)} GB, ${system}, ` +
    `Node ${node}, load average ${loadAverage.toFixed(2)} at the start, ` +
    `a small fdatasync takes ${syncMs.toFixed(2)} ms`
  );
}

/** A sentence when others are at work on this machine; undefined when it is quiet. */
export function busyWarning({ cores, loadAverage }: Machine): string | undefined {
  if (loadAverage <= cores * busyShare) return undefined;
  return (
    `This machine is busy (load average ${loadAverage.toFixed(2)} on ${cores} cores): the figures ` +
    'are rough, and only the ratios may mean something.'
  );
}
