import type { Service } from '@bazar/shop';

type Paused = Pick<Service, 'pause' | 'resume'>;

export interface Shares {
  /** Lets all of them run again, all of the time. */
  end(): void;
}

const periodMs = 200;

/**
 * Lets processes run for a part of the time only, by SIGSTOP and SIGCONT, one after the other: as if
 * each had so much of a core and no more. What is left of the machine is for the rest, so that it
 * can be seen what another replica adds where there are fewer cores than processes.
 *
 * @param share of a core, for each; those of all together at most 1
 */
export function giveShares(processes: readonly Paused[], share: number): Shares {
  if (share <= 0 || share * processes.length > 1) throw new RangeError('There is only one core.');
  const runMs = periodMs * share;
  const timers = new Set<NodeJS.Timeout>();
  for (const one of processes) one.pause();

  function after(ms: number, run: () => void): void {
    const timer = setTimeout(() => {
      timers.delete(timer);
      run();
    }, ms);
    timers.add(timer);
  }

  function letRun(one: Paused, untilMs: number): void {
    one.resume();
    after(untilMs - performance.now(), () => one.pause());
  }

  const beganMs = performance.now();
  /** The times are those of a plan: a timer that is late makes no later one late. */
  function plan(period: number): void {
    const fromMs = beganMs + period * periodMs;
    for (const [place, one] of processes.entries()) {
      const mineMs = fromMs + (place * periodMs) / processes.length;
      after(mineMs - performance.now(), () => letRun(one, mineMs + runMs));
    }
    after(fromMs + periodMs - performance.now(), () => plan(period + 1));
  }
  plan(0);

  return {
    end() {
      for (const timer of timers) clearTimeout(timer);
      timers.clear();
      for (const one of processes) one.resume();
    },
  };
}
