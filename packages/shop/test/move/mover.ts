import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { PostgresServer } from '@bazar/simulation/postgres';

const script = fileURLToPath(new URL('../../dist/move.js', import.meta.url));

/** A new database for each of the two that keep something. */
export interface Pair {
  readonly catalog: string;
  readonly order: string;
}

export async function newPair(server: PostgresServer): Promise<Pair> {
  return { catalog: await server.newDatabase(), order: await server.newDatabase() };
}

/** How a move ended. */
export interface Moved {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** Both streams, as a person sees them. */
  readonly output: string;
  /** The most memory that it had, in megabytes; 0 where nobody tells. */
  readonly mostMegabytes: number;
}

export interface Move {
  readonly child: ChildProcess;
  readonly ended: Promise<Moved>;
  output(): string;
}

export function environmentOf(folder: string, pair: Pair): NodeJS.ProcessEnv {
  return {
    DATA_DIR: folder,
    CATALOG_DATABASE_URL: pair.catalog,
    ORDER_DATABASE_URL: pair.order,
  };
}

/** Starts the program that people start. */
export function startMove(env: NodeJS.ProcessEnv): Move {
  const child = spawn('/usr/bin/env', ['-u', 'NODE_OPTIONS', process.execPath, script], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
  }
  let mostMegabytes = 0;
  const watch = setInterval(() => {
    mostMegabytes = Math.max(mostMegabytes, megabytesOf(child.pid));
  }, 100);
  const ended = new Promise<Moved>((resolve) => {
    child.once('close', (code, signal) => {
      clearInterval(watch);
      resolve({ code, signal, output, mostMegabytes });
    });
  });
  return { child, ended, output: () => output };
}

export function move(folder: string, pair: Pair): Promise<Moved> {
  return startMove(environmentOf(folder, pair)).ended;
}

/** Waits for a state of the move; resolves to false when it ended before. */
export async function reaches(
  { child }: Move,
  holds: () => boolean | Promise<boolean>,
): Promise<boolean> {
  while (child.exitCode === null && child.signalCode === null) {
    if (await holds()) return true;
    await sleep(5);
  }
  return false;
}

function megabytesOf(pid: number | undefined): number {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    return Math.round(Number(/^VmHWM:\s+(\d+) kB/m.exec(status)?.[1] ?? 0) / 1024);
  } catch {
    return 0;
  }
}
