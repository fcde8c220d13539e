import { type Latencies, latenciesOf } from './statistics.js';

/** One request from its first asking to its answer; milliseconds from the start of the story. */
export interface Event {
  readonly kind: 'purchase' | 'read';
  readonly beganMs: number;
  readonly endedMs: number;
  readonly attempts: number;
  /** Of the answer; 0 when there was none. */
  readonly status: number;
}

export interface Bucket extends Latencies {
  readonly fromMs: number;
}

/** What was answered in each stretch of time, from 0 on; silent stretches are there as well. */
export function bucketsOf(events: readonly Event[], bucketMs: number): Bucket[] {
  const waits: number[][] = [];
  for (const { beganMs, endedMs } of events) {
    const place = Math.floor(endedMs / bucketMs);
    while (waits.length <= place) waits.push([]);
    waits[place]?.push(endedMs - beganMs);
  }
  return waits.map((values, place) => ({ fromMs: place * bucketMs, ...latenciesOf(values) }));
}

/** How customers saw that somebody was killed; milliseconds. */
export interface Mask {
  /** The 99th percentile of their waits before. */
  readonly usualMs: number;
  /** The longest wait that ended or began between the kill and the end of the time away. */
  readonly longestMs: number;
  /** The longest time in it without any answer. */
  readonly silenceMs: number;
  /**
   * From the kill to the end of the last unusual wait, of those that follow each other from the kill
   * on; 0 when there was none.
   */
  readonly maskMs: number;
}

/** A wait is unusual when it is both: so much longer than the usual one, and longer than this. */
const unusual = { times: 2, leastMs: 10 } as const;
/** Whoever did not meet the dead one at once may meet it a little later. */
const togetherMs = 100;

/**
 * How long it took until those that were left served all as before. Later hiccups of the machine are
 * not counted: only waits that follow on each other from the kill on.
 */
export function maskOf(
  events: readonly Event[],
  { killedMs, untilMs }: { readonly killedMs: number; readonly untilMs: number },
): Mask {
  const waitOf = ({ beganMs, endedMs }: Event) => endedMs - beganMs;
  const before = events.filter(({ endedMs }) => endedMs <= killedMs);
  const during = events
    .filter(({ beganMs, endedMs }) => endedMs > killedMs && beganMs < untilMs)
    .toSorted((a, b) => a.beganMs - b.beganMs);
  const usualMs = latenciesOf(before.map(waitOf)).p99;
  const limitMs = Math.max(unusual.leastMs, unusual.times * usualMs);
  let maskedMs = killedMs;
  for (const event of during) {
    if (waitOf(event) <= limitMs || event.beganMs > maskedMs + togetherMs) continue;
    maskedMs = Math.max(maskedMs, event.endedMs);
  }
  const ends = during.map(({ endedMs }) => endedMs).toSorted((a, b) => a - b);
  const silences = ends.map((endedMs, index) => endedMs - (ends[index - 1] ?? killedMs));
  return {
    usualMs,
    longestMs: Math.max(0, ...during.map(waitOf)),
    silenceMs: Math.max(0, ...silences),
    maskMs: maskedMs - killedMs,
  };
}
