import { isDeepStrictEqual } from 'node:util';
import type { Holdings } from './holdings.js';
import type { Testimony } from './testimony.js';

/** What is held against a shop: its clients' testimony, and what it says itself. */
export interface Evidence extends Holdings {
  readonly testimony: Testimony;
}

type Checker = (evidence: Evidence) => string[];

/** The promise, taken apart; each checker has one sentence for each breach. */
const checkers: readonly Checker[] = [
  function acknowledgedIsLogged({ testimony, log }) {
    const rows = new Map(log.map((row) => [row.orderId, row]));
    return [...testimony.told].flatMap(([key, answers]) =>
      answers.flatMap((told) => {
        const { sale: _sale, ...row } = rows.get(key) ?? { sale: 0 };
        if (told.result === 'sold_out') {
          return 'orderId' in row ? [`order ${key} is logged, but its buyer was refused`] : [];
        }
        if (!('orderId' in row)) return [`order ${key} is acknowledged, but not logged`];
        return isDeepStrictEqual(row, told.order) ? [] : [`order ${key} is logged as another`];
      }),
    );
  },
  function loggedIsAttempted({ testimony, log }) {
    return log
      .filter(({ orderId, itemId }) => testimony.attempted.get(orderId) !== itemId)
      .map(({ orderId, itemId }) => `order ${orderId} of book ${itemId} was asked for by nobody`);
  },
  function noneIsDouble({ log }) {
    const ids = new Set<string>();
    return log.flatMap(({ orderId }) => {
      if (ids.has(orderId)) return [`order ${orderId} is logged twice`];
      ids.add(orderId);
      return [];
    });
  },
  function salesAreNumbered({ log }) {
    const sales = log.map(({ sale }) => sale).sort((a, b) => a - b);
    const wrong = sales.findIndex((sale, index) => sale !== index + 1);
    return wrong === -1 ? [] : [`sale ${sales[wrong]} stands where ${wrong + 1} should`];
  },
  function copiesAreConserved({ testimony, log, left }) {
    const sold = new Map<number, number>();
    for (const { itemId } of log) sold.set(itemId, (sold.get(itemId) ?? 0) + 1);
    const books = new Set([...testimony.stocked.keys(), ...sold.keys(), ...left.keys()]);
    return [...books].flatMap((id) => {
      const [stocked, soldCopies] = [testimony.stocked.get(id) ?? 0, sold.get(id) ?? 0];
      const remaining = left.get(id) ?? 0;
      if (soldCopies > stocked) return [`book ${id} is oversold: ${soldCopies} of ${stocked}`];
      if (stocked === remaining + soldCopies) return [];
      return [`book ${id}: ${stocked} stocked, ${remaining} left, ${soldCopies} sold`];
    });
  },
  function keysHaveOneOutcome({ testimony }) {
    return [...testimony.told]
      .filter(([, [first, ...more]]) => more.some((told) => !isDeepStrictEqual(told, first)))
      .map(([key]) => `key ${key} got two different answers`);
  },
  ({ testimony }) => [...testimony.surprises],
];

/** Everything in the evidence that breaks the promise; nothing when it was kept. */
export function breaches(evidence: Evidence): string[] {
  return checkers.flatMap((check) => check(evidence));
}
