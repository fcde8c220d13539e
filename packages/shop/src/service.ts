import { type ChildProcess, spawn } from 'node:child_process';
import { settlesWithin } from './deadline.js';
import { eachLine } from './lines.js';

export type ServiceName = 'gateway' | 'catalog' | 'order';

/** How a process ended: with a code of its own, or by a signal. */
export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** One service of a shop: a process that can be ended, stopped in time, and started again. */
export interface Service<Name extends string = ServiceName> {
  readonly name: Name;
  /** Where it listens, for callers on this machine. Throws before the first start. */
  readonly url: string;
  readonly running: boolean;
  /** The process id of the present run, or of the last one. Throws before the first start. */
  readonly pid: number;
  /** How the present run (or the last one) ends. Throws before the first start. */
  readonly exited: Promise<Exit>;
  /**
   * Starts the process and waits until it listens.
   *
   * @throws StartError with the sentence that the process left on stderr
   */
  start(): Promise<void>;
  /** Ends the process without asking it; resolves when it is gone. */
  kill(signal?: NodeJS.Signals): Promise<Exit>;
  /** Stops the process in the middle of whatever it does (SIGSTOP), sockets and files left open. */
  pause(): void;
  /** Lets a paused process go on. */
  resume(): void;
  /**
   * Has the process log at `debug`, and the next time at its configured level again (SIGUSR2). What
   * is asked for before it listens, it is told once it does; so is each process that follows.
   */
  switchLog(): void;
  /**
   * Asks the process to stop (SIGTERM), and kills it when the deadline passes.
   *
   * @returns its exit code, or null when it had to be killed
   */
  stop(): Promise<number | null>;
  /** Stops the process if it runs, and starts it on the same port with the same files. */
  restart(): Promise<void>;
}

export interface ServiceOptions<Name extends string = ServiceName> {
  readonly name: Name;
  /** The script to run: a path. */
  readonly main: string;
  /** Options of Node's own. */
  readonly nodeOptions?: readonly string[];
  /** 0 asks for any free port; the one found is kept for later starts. */
  readonly port: number;
  /** Asked at each start, since the other services' addresses are known only then. */
  readonly env: () => NodeJS.ProcessEnv;
  readonly startDeadlineMs: number;
  readonly stopDeadlineMs: number;
  /** Gets every line that the process writes. */
  readonly onLine: (line: string) => void;
  /** Called when the process ends although nobody asked it to. */
  readonly onDeath: (exit: Exit) => void;
}

/** A service that did not start; the message is a sentence for the person who started it. */
export class StartError extends Error {
  override readonly name = 'StartError';
}

interface Run {
  readonly child: ChildProcess;
  readonly pid: number;
  readonly exited: Promise<Exit>;
  alive: boolean;
  /** True from when the process has said where it listens; by then it knows all its signals. */
  listens: boolean;
  /** True once the end of the process is what somebody asked for. */
  toldToEnd: boolean;
}

const maxHeldLines = 100;

/** Makes a service that is not started yet. */
export function createService<Name extends string>(options: ServiceOptions<Name>): Service<Name> {
  const { name, main, nodeOptions = [], onDeath, startDeadlineMs, stopDeadlineMs } = options;
  let port = options.port;
  let url: string | undefined;
  let run: Run | undefined;
  let isLogSwitched = false;

  async function start(): Promise<void> {
    if (run?.alive) throw new Error(`The ${name} is running already.`);
    const env = { ...options.env(), PORT: String(port) };
    const output = createOutput(options.onLine);
    const started = startProcess([...nodeOptions, main], env, output);
    run = started;
    const listening = listeningUrl(started.child);
    const first = Promise.race([listening, started.exited]);
    if (!(await settlesWithin(first, startDeadlineMs))) {
      started.toldToEnd = true;
      started.child.kill('SIGKILL');
      throw new StartError(`The ${name} did not listen within ${startDeadlineMs} ms.`);
    }
    const outcome = await first;
    if (typeof outcome !== 'string') throw notStarted(name, outcome, output.held());
    url = outcome;
    port = Number(new URL(outcome).port);
    output.release();
    started.listens = true;
    // It began at the configured level, whatever the process before it was switched to.
    if (isLogSwitched) passSwitchOn(started);
    started.exited.then((exit) => {
      if (!started.toldToEnd) onDeath(exit);
    });
  }

  async function stop(): Promise<number | null> {
    if (run === undefined) return null;
    if (run.alive) {
      run.toldToEnd = true;
      run.child.kill('SIGTERM');
      // A paused process would see the signal only after somebody lets it go on.
      run.child.kill('SIGCONT');
      if (!(await settlesWithin(run.exited, stopDeadlineMs))) run.child.kill('SIGKILL');
    }
    return (await run.exited).code;
  }

  function started(): Run {
    if (run === undefined) throw new Error(`The ${name} was never started.`);
    return run;
  }

  return {
    name,
    get url() {
      if (url === undefined) throw new Error(`The ${name} was never started.`);
      return url;
    },
    get running() {
      return run?.alive ?? false;
    },
    get pid() {
      return started().pid;
    },
    get exited() {
      return started().exited;
    },
    start,
    kill(signal = 'SIGKILL') {
      const current = started();
      current.toldToEnd = true;
      current.child.kill(signal);
      return current.exited;
    },
    pause() {
      started().child.kill('SIGSTOP');
    },
    resume() {
      started().child.kill('SIGCONT');
    },
    switchLog() {
      isLogSwitched = !isLogSwitched;
      if (run !== undefined) passSwitchOn(run);
    },
    stop,
    async restart() {
      await stop();
      await start();
    },
  };
}

function startProcess(script: readonly string[], env: NodeJS.ProcessEnv, output: Output): Run {
  // A test runner puts itself into every child through NODE_OPTIONS, also when it is left out of
  // `env` here, and services would start and run slowly: `env -u` takes it out for good.
  const child = spawn('/usr/bin/env', ['-u', 'NODE_OPTIONS', process.execPath, ...script], {
    env,
    // The channel tells the child when this process is gone, however that happened.
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    // In a session of its own: a Ctrl-C in the terminal is for the launcher only. Reaching the
    // children too, it would come twice and cost them the time to finish what they do.
    detached: true,
  });
  if (child.pid === undefined) {
    child.on('error', () => {});
    throw new StartError(`No process could be started for ${script.at(-1)}.`);
  }
  if (child.stdout !== null) eachLine(child.stdout, output.line);
  if (child.stderr !== null) eachLine(child.stderr, output.errorLine);
  const run: Run = {
    child,
    pid: child.pid,
    alive: true,
    listens: false,
    toldToEnd: false,
    exited: new Promise((resolve) => {
      // 'close' rather than 'exit': only then has everything been read that the process wrote.
      child.once('close', (code, signal) => {
        run.alive = false;
        resolve({ code, signal });
      });
    }),
  };
  // A signal to a process that has just ended is no error here.
  child.on('error', () => {});
  return run;
}

/**
 * A process dies of SIGUSR2 before it has its handler, and again in its last moments, when Node has
 * taken the handler away: a stop would then look like a death.
 */
function passSwitchOn({ child, listens, toldToEnd }: Run): void {
  if (listens && !toldToEnd) child.kill('SIGUSR2');
}

interface Output {
  readonly line: (line: string) => void;
  readonly errorLine: (line: string) => void;
  /** What was written to stderr until now. */
  readonly held: () => string;
  /** From now on stderr is handed on like stdout, beginning with what was held back. */
  readonly release: () => void;
}

/** Holds back stderr while a service starts: if that fails, it says why, and is said only once. */
function createOutput(onLine: (line: string) => void): Output {
  let held: string[] | undefined = [];
  return {
    line: onLine,
    errorLine(line) {
      if (held === undefined) onLine(line);
      else if (held.length < maxHeldLines) held.push(line);
    },
    held: () => held?.join('\n').trim() ?? '',
    release() {
      for (const line of held ?? []) onLine(line);
      held = undefined;
    },
  };
}

/** Resolves with the address that the child reports once it listens; else never. */
function listeningUrl(child: ChildProcess): Promise<string> {
  return new Promise((resolve) => {
    child.on('message', (message: unknown) => {
      if (typeof message !== 'object' || message === null) return;
      if (!('kind' in message) || message.kind !== 'listening') return;
      if ('url' in message && typeof message.url === 'string') resolve(reachable(message.url));
    });
  });
}

/** A service that listens on every interface is reached over loopback; nobody can call 0.0.0.0. */
function reachable(address: string): string {
  const url = new URL(address);
  if (url.hostname === '0.0.0.0') url.hostname = '127.0.0.1';
  if (url.hostname === '[::]') url.hostname = '[::1]';
  return url.origin;
}

function notStarted(name: string, exit: Exit, stderr: string): StartError {
  // A sentence that says which service it is about needs no introduction.
  if (stderr.includes(name)) return new StartError(stderr);
  return new StartError(`The ${name} did not start: ${stderr || `it ended with ${ending(exit)}.`}`);
}

/** An exit in words, for a sentence: `code 1`, `SIGKILL`. */
export function ending({ code, signal }: Exit): string {
  return signal ?? `code ${code}`;
}
