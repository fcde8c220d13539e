/** How long writers had to wait for a gateway that was stopped. */
export interface Delays {
  /** Notes that a gateway is stopped; the returned function, that it goes on. */
  pause(nowMs: number): (nowMs: number) => void;
  /** Notes a write that did not itself go through a stopped gateway. */
  note(write: { readonly book: number; readonly beganMs: number; readonly endedMs: number }): void;
  /** The longest of the writes that met a pause, in milliseconds. */
  sum(): { readonly pauses: number; readonly longestMs: number };
}

export function createDelays(): Delays {
  let pauses = 0;
  let longestMs = 0;
  let paused: { readonly sinceMs: number; untilMs: number } | undefined;
  return {
    pause(nowMs) {
      pauses += 1;
      const present = { sinceMs: nowMs, untilMs: Number.POSITIVE_INFINITY };
      paused = present;
      return (untilMs) => {
        present.untilMs = untilMs;
      };
    },
    note({ beganMs, endedMs }) {
      if (paused === undefined || endedMs < paused.sinceMs || beganMs > paused.untilMs) return;
      longestMs = Math.max(longestMs, endedMs - beganMs);
    },
    sum: () => ({ pauses, longestMs }),
  };
}
