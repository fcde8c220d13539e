import { type Static, Type } from '@sinclair/typebox';
import { kinds } from './requests.js';
import { giveTask } from './task.js';

/** What the load generator is asked to do. */
export const Load = Type.Object({
  /** Front doors, which the connections are spread over. */
  urls: Type.Array(Type.String(), { minItems: 1, maxItems: 16 }),
  kind: Type.Union(kinds.map((kind) => Type.Literal(kind))),
  /** The catalog has the ids 1 to this. */
  books: Type.Integer({ minimum: 1 }),
  connections: Type.Integer({ minimum: 1, maximum: 4096 }),
  /** How long answers count. */
  seconds: Type.Number({ exclusiveMinimum: 0, maximum: 60 }),
  /** How long before that they do not yet. */
  warmupSeconds: Type.Number({ minimum: 0, maximum: 60 }),
});
export type Load = Static<typeof Load>;

const LatenciesShape = Type.Object({
  count: Type.Integer(),
  p50: Type.Number(),
  p90: Type.Number(),
  p99: Type.Number(),
  max: Type.Number(),
});

/** What the load generator saw. Latencies are in milliseconds. */
export const Seen = Type.Object({
  /** Answers a second, of those that counted. */
  perSecond: Type.Number(),
  all: LatenciesShape,
  reads: LatenciesShape,
  purchases: LatenciesShape,
  /** All answers, those of the warm-up and those after the end included. */
  answered: Type.Integer(),
  /** The answers to purchases among them that were a 200. */
  acknowledged: Type.Integer(),
  errors: Type.Integer(),
  non2xx: Type.Integer(),
  /** The share of a core that the generator itself used: near 1 it measures itself. */
  generatorCores: Type.Number(),
});
export type Seen = Static<typeof Seen>;

/** Has the load generator at `generatorUrl` put a load on a shop, and tells what it saw. */
export function applyLoad(generatorUrl: string, load: Load): Promise<Seen> {
  return giveTask(generatorUrl, load, Seen);
}
