import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';

/** Clock ticks a second in /proc, on every Linux that Node runs on. */
const ticksPerSecond = 100;
const [parentField, userTicksField, systemTicksField] = [1, 11, 12];
/** Those of the children that have ended. */
const [endedUserTicksField, endedSystemTicksField] = [13, 14];

/**
 * The memory that a process holds, in bytes. To read a file takes microseconds; to start `ps`, which is
 * all there is where there is no /proc, some ten milliseconds, which in the middle of a measurement are
 * taken from whoever is measured.
 */
export function residentBytes(pid: number): number {
  const status = textOf(`/proc/${pid}/status`);
  const kilobytes =
    status === undefined
      ? execFileSync('ps', ['-o', 'rss=', '-p', String(pid)], { encoding: 'utf8' })
      : /^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1];
  return Number(kilobytes ?? 0) * 1024;
}

/** The processor time that a process has used, in milliseconds; undefined where there is no /proc. */
export function cpuMs(pid: number): number | undefined {
  const fields = statOf(pid);
  if (fields === undefined) return undefined;
  return millisecondsIn(fields, [userTicksField, systemTicksField]);
}

/** The same of a process and of all that it has started, as PostgreSQL does for each connection. */
export function treeCpuMs(pid: number): number | undefined {
  const fields = statOf(pid);
  if (fields === undefined) return undefined;
  const ended = [endedUserTicksField, endedSystemTicksField];
  const own = millisecondsIn(fields, [userTicksField, systemTicksField, ...ended]);
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((name) => statOf(Number(name)))
    .filter((child) => Number(child?.[parentField]) === pid)
    .reduce(
      (sum, child = []) => sum + millisecondsIn(child, [userTicksField, systemTicksField]),
      own,
    );
}

/** What /proc says of a process, from its state on; undefined when there is no such process. */
function statOf(pid: number): string[] | undefined {
  const text = textOf(`/proc/${pid}/stat`);
  // The name in parentheses may contain anything, also spaces: what follows it is counted.
  return text?.slice(text.lastIndexOf(')') + 2).split(' ');
}

function textOf(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}

function millisecondsIn(fields: readonly string[], of: readonly number[]): number {
  const ticks = of.reduce((sum, field) => sum + Number(fields[field]), 0);
  return (ticks / ticksPerSecond) * 1000;
}
