import { type Static, Type } from '@sinclair/typebox';
import { kinds } from './requests.js';
import { giveTask } from './task.js';

/** What a crowd is asked to do. */
export const Visit = Type.Object({
  url: Type.String(),
  kind: Type.Union(kinds.map((kind) => Type.Literal(kind))),
  /** The catalog has the ids 1 to this. */
  books: Type.Integer({ minimum: 1 }),
  /**
   * An open loop: so many come a second, at random times, whatever becomes of those before them.
   * Without it the loop is closed: each connection asks again as soon as it has its answer.
   */
  perSecond: Type.Optional(Type.Number({ exclusiveMinimum: 0 })),
  /** At most so many at a time. */
  connections: Type.Integer({ minimum: 1, maximum: 10_000 }),
  seconds: Type.Number({ exclusiveMinimum: 0, maximum: 120 }),
  /** Whoever has waited for so long hangs up. */
  patienceMs: Type.Integer({ minimum: 1 }),
});
export type Visit = Static<typeof Visit>;

/** What became of all who came. */
export const Visited = Type.Object({
  came: Type.Integer(),
  /** Answered with 200 before their patience was over. */
  served: Type.Integer(),
  /** Of those, per second from when the first came until the last did. */
  servedPerSecond: Type.Number(),
  /** Turned away: 503, with the time after which to come again. */
  shed: Type.Integer(),
  /** Hung up. */
  gaveUp: Type.Integer(),
  /** Found the crowd's own connections all in use, and asked nothing. */
  kept: Type.Integer(),
  /** Any other answer, or a connection that broke. */
  failed: Type.Integer(),
  /** How many milliseconds it took to open the connections, before anybody came. */
  openingMs: Type.Number(),
  /** By how many milliseconds the crowd was late to send them, the 99th percentile. */
  lateMs: Type.Number(),
  /** Up to the answer of those who were served, in milliseconds from when they came. */
  waits: Type.Object({ p50: Type.Number(), p99: Type.Number(), max: Type.Number() }),
});
export type Visited = Static<typeof Visited>;

/** Sends the crowd at `crowdUrl` to a shop, and tells what became of it. */
export function visit(crowdUrl: string, plan: Visit): Promise<Visited> {
  return giveTask(crowdUrl, plan, Visited);
}

/** Whether a refused purchase was told that it has bought nothing; else nobody knows. */
export function saysNothingCame(answer: string): boolean {
  return /bought nothing|Nothing came/.test(answer);
}
