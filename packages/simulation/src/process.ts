/** A process from its start to its end. What it asked for when it was killed is never answered. */
export interface Process {
  readonly name: string;
  readonly alive: boolean;
  /** Ends it as kill -9 does: nothing of it runs any more. A restart is another process. */
  kill(): void;
  /** Waits on its own clock; absent for a process whose calls are answered at once. */
  sleep?(ms: number): Promise<void>;
}

/** A process without a clock, for a simulation of files alone. */
export function createProcess(name: string): Process {
  let alive = true;
  return {
    name,
    get alive() {
      return alive;
    },
    kill() {
      alive = false;
    },
  };
}

/** What the dead wait for. */
export function never<Result>(): Promise<Result> {
  return new Promise(() => undefined);
}
