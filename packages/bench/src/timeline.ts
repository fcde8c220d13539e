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
