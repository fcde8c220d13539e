import { createEventQueue } from './event-queue.js';
import type { Process } from './process.js';
import type { Random } from './random.js';

/** What the services are given in place of the time of this machine. */
export interface Timers {
  /** In milliseconds; it never goes back, and stands still while something runs. */
  now(): number;
  /** Runs once, `ms` milliseconds from now; the returned function takes the order back. */
  after(ms: number, run: () => void): () => void;
  /** Runs soon, but not now: for `createBatcher`. */
  defer(run: () => void): void;
  sleep(ms: number): Promise<void>;
}

/** A process with a clock of its own. */
export interface Node extends Process, Timers {
  sleep(ms: number): Promise<void>;
  /** Stops it as SIGSTOP does: time goes on, and all that is due for it waits. */
  pause(): void;
  resume(): void;
}

export interface NodeOptions {
  /** How much faster than the world its clock runs: 0.01 is 1 % fast, -0.01 is 1 % slow. */
  readonly drift?: number;
}

export interface RunLimits {
  /** More events than this are a runaway. */
  readonly maxEvents?: number;
}

/** The time of the simulated world. */
export interface Clock extends Timers {
  /** Starts a process; to restart one that was killed, start another of the same name. */
  node(name: string, options?: NodeOptions): Node;
  /**
   * Lets time pass, one event at a time: after each, every promise that can settle has settled.
   * @param until asked before each event whether this is enough; without it, the run ends when
   *   nothing is due any more
   * @throws SimulationError when nothing is due although `until` does not hold, or on a runaway;
   *   and whatever an event throws
   */
  run(until?: () => boolean, limits?: RunLimits): Promise<void>;
  /** Lets time pass until a promise is settled, and gives what it gives. @throws as `run` */
  finish<Result>(story: Promise<Result>, limits?: RunLimits): Promise<Result>;
}

/** The simulation cannot go on; the message names the seed that brings it here again. */
export class SimulationError extends Error {
  override name = 'SimulationError';
}

export interface ClockOptions {
  /** Decides which of several events at the same time comes first. */
  readonly random: Random;
  /** What `now` begins with; milliseconds since 1970. */
  readonly startMs?: number;
}

interface Event {
  readonly due: number;
  readonly tie: number;
  readonly run: () => void;
  readonly life: Life | undefined;
  cancelled: boolean;
}

/** What a node is to the clock. */
interface Life {
  alive: boolean;
  paused: boolean;
  /** What fell due while it was paused. */
  held: Event[];
}

const policy = { maxEvents: 1_000_000 };

/**
 * Time as a queue of events, the way deterministic simulation works since FoundationDB (Zhou et
 * al., 2021): nothing waits in earnest, and the seed alone decides what happens when. It holds as
 * long as all that the story waits for are promises and this clock: real input, output and timers
 * would bring the order of this machine back in.
 */
export function createClock({ random, startMs = 0 }: ClockOptions): Clock {
  const queue = createEventQueue<Event>();
  const { seed } = random;
  let time = startMs;
  let events = 0;
  let running = false;

  function schedule(ms: number, run: () => void, life: Life | undefined): () => void {
    const event: Event = {
      due: time + Math.max(0, ms),
      tie: random.next(),
      run,
      life,
      cancelled: false,
    };
    queue.push(event);
    return () => {
      event.cancelled = true;
    };
  }

  function take(): Event | undefined {
    for (;;) {
      const event = queue.pop();
      if (event === undefined) return undefined;
      if (event.cancelled || event.life?.alive === false) continue;
      if (event.life?.paused !== true) return event;
      event.life.held.push(event);
    }
  }

  function stuck(what: string): SimulationError {
    const passed = time - startMs;
    return new SimulationError(`${what} (seed ${seed}, ${events} events, ${passed} ms)`);
  }

  async function run(until?: () => boolean, limits: RunLimits = {}): Promise<void> {
    if (running) throw stuck('the clock runs already');
    running = true;
    const last = events + (limits.maxEvents ?? policy.maxEvents);
    try {
      for (;;) {
        await settled();
        if (until?.() === true) return;
        const event = take();
        if (event === undefined && until === undefined) return;
        if (event === undefined) throw stuck('nothing is due, but something is awaited');
        if (events === last) throw stuck('this does not end');
        events += 1;
        // What a paused node was held back from is late.
        time = Math.max(time, event.due);
        event.run();
      }
    } finally {
      running = false;
    }
  }

  function resume(life: Life): void {
    life.paused = false;
    for (const event of life.held) queue.push(event);
    life.held = [];
  }

  return {
    now: () => time,
    ...createTimers(1, (ms, run) => schedule(ms, run, undefined)),
    node(name, { drift = 0 } = {}) {
      if (!(drift > -1)) throw new RangeError(`drift must be above -1, not ${drift}`);
      const life: Life = { alive: true, paused: false, held: [] };
      const born = time;
      const rate = 1 + drift;
      return {
        name,
        get alive() {
          return life.alive;
        },
        kill() {
          life.alive = false;
          life.held = [];
        },
        pause() {
          life.paused = true;
        },
        resume: () => resume(life),
        now: () => born + (time - born) * rate,
        ...createTimers(rate, (ms, run) => schedule(ms, run, life)),
      };
    },
    run,
    async finish(story, limits) {
      let done = false;
      const end = () => {
        done = true;
      };
      story.then(end, end);
      await run(() => done, limits);
      return story;
    },
  };
}

/** @param rate how fast the owner's clock runs: 1 second of it is 1/rate seconds of the world */
function createTimers(rate: number, schedule: (ms: number, run: () => void) => () => void) {
  const after = (ms: number, run: () => void) => schedule(ms / rate, run);
  return {
    after,
    defer(run: () => void) {
      after(0, run);
    },
    sleep: (ms: number) => new Promise<void>((resolve) => after(ms, resolve)),
  };
}

/** An immediate runs only after all promise reactions, and those that they bring about. */
function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
