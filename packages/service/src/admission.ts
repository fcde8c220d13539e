import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { Failure } from '@bazar/contracts';
import type { After } from '@bazar/contracts/internal';
import { hasNoBody } from './bodies.js';
import { timeoutOf } from './caller.js';
import { hasHungUp } from './exchange.js';
import type { Handle } from './pipeline.js';
import { createWaitingLine } from './waiting-line.js';

export interface AdmissionOptions {
  /** Works on a request that was let in. */
  readonly handle: Handle;
  /** Answers one that was not. */
  readonly refuse: (failure: Failure, request: IncomingMessage, response: ServerResponse) => void;
  /** Whether something else comes before those who wait. */
  readonly isHeldUp: () => boolean;
  /** Milliseconds on a clock that only goes forward. */
  readonly now: () => number;
  /** Runs something once all that has arrived by now was read. */
  readonly defer: (run: () => void) => unknown;
  readonly after: After;
}

const policy = {
  /** Two full batches of purchases: while one is made, the other is brought and answered. */
  maxUnderWay: 2048,
  /** How many are let in in one turn of the event loop. */
  maxPerTurn: 256,
  /** When so many wait, no more need to be read. */
  enoughWaiting: 512,
  /** Each takes memory, so there is an end to it. */
  maxWaiting: 20_000,
  /** Whoever has waited for longer gives way to those who are still in time. */
  freshMs: 1500,
  /** Whoever has waited for longer is told that it was in vain. */
  maxWaitMs: 5000,
  lookMs: 250,
};

const crowded = new Failure(
  'overloaded',
  'too many requests are waiting. Nothing came of this request; it may be repeated',
  { nothingDone: true },
);

/** Lets so many requests in that there is always work, and no more. */
export interface Admission {
  /** @param restedMs for how long its connection has rested; the request has waited for no longer */
  take(request: IncomingMessage, response: ServerResponse, restedMs: number): void;
  /** To be told when the answer to a request is there, whether or not its client reads it. */
  answered(response: ServerResponse): void;
  /** How many are worked on. */
  underWay(): number;
  /** How many wait to be let in. */
  waiting(): number;
  /** Whether enough wait, so that no more need to be read. */
  isBackedUp(): boolean;
}

/** Whether there is no body that anybody reads. */
function isWhole({ method, headers }: IncomingMessage): boolean {
  return method === 'GET' || method === 'HEAD' || hasNoBody(headers);
}

/** Whether a response counts as one that is worked on: kept on it, for a set of them costs more. */
const isUnderWay: unique symbol = Symbol('isUnderWay');
type Counted = ServerResponse & { [isUnderWay]?: boolean };

interface Waiting {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly restedMs: number;
}

/**
 * Bounds how many requests are worked on at a time (admission control). Work that is begun for
 * thousands at once costs each of them more, for what it holds outlives the young generation of the
 * garbage collector, and it is done as well for those who hang up before their turn. Whoever waits
 * here has cost no more than the parsing of the request. It is let in in its turn, as long as there
 * is hope that it is in time (`createWaitingLine`).
 *
 * A request that has to be read to its end is let in at once: how long that takes is its client's
 * business, and nobody may keep others out by it. So are the batches of other services.
 */
export function createAdmission(options: AdmissionOptions): Admission {
  const { handle, refuse, isHeldUp, now, defer, after } = options;
  const queue = createWaitingLine<Waiting>({ now, freshMs: () => policy.freshMs });
  let underWay = 0;
  let isDeferred = false;
  let isLooking = false;

  function begin(request: IncomingMessage, response: Counted): void {
    underWay += 1;
    response[isUnderWay] = true;
    response.on('close', onClose);
    handle(request, response);
  }

  function onClose(this: ServerResponse): void {
    answered(this);
  }

  function answered(response: Counted): void {
    if (response[isUnderWay] !== true) return;
    response[isUnderWay] = false;
    underWay -= 1;
    if (queue.size > 0) admitSoon();
  }

  /** Whether a request is let in as soon as it comes. */
  function isNext(socket: Socket, restedMs: number): boolean {
    const isFree = queue.size === 0 && underWay < policy.maxUnderWay && !isHeldUp();
    return isFree && !hasHungUp(socket, restedMs);
  }

  /** Later, for an answer is given in the middle of other work, and the next may be given at once. */
  function admitSoon(): void {
    if (isDeferred) return;
    isDeferred = true;
    defer(admit);
  }

  function admit(): void {
    isDeferred = false;
    const { maxUnderWay, maxPerTurn } = policy;
    if (!isHeldUp()) queue.take(maxUnderWay - underWay, maxPerTurn, letIn);
    if (queue.size > 0 && underWay < maxUnderWay) admitSoon();
  }

  /** @returns whether it was begun */
  function letIn({ request, response, restedMs }: Waiting, waitedMs: number): boolean {
    const { socket, headers } = request;
    if (socket.destroyed) return false;
    const isLate = waitedMs > policy.maxWaitMs;
    // When a request was sent whose connection rested is not known; but who has hung up waits no more.
    if (hasHungUp(socket, restedMs + waitedMs) || (isLate && headers.origin === undefined)) {
      refuse(crowded, request, response);
      return false;
    }
    // A page on another origin could not read that refusal, but can read that no time was left.
    const timeoutMs = isLate ? 0 : timeoutOf(request);
    if (timeoutMs !== undefined) {
      headers['x-timeout-ms'] = String(Math.max(0, Math.floor(timeoutMs - waitedMs)));
    }
    begin(request, response);
    return true;
  }

  /** Where nobody is let in any more, nobody hears otherwise that it was in vain. */
  function lookSoon(): void {
    if (isLooking) return;
    isLooking = true;
    after(policy.lookMs, look);
  }

  function look(): void {
    isLooking = false;
    const told = queue.takeOlder(policy.maxWaitMs, policy.maxPerTurn, letIn);
    if (told === policy.maxPerTurn) {
      isLooking = true;
      defer(look);
    } else if (queue.size > 0) lookSoon();
  }

  return {
    take(request, response, restedMs) {
      if (!isWhole(request)) {
        handle(request, response);
      } else if (isNext(request.socket, restedMs)) {
        begin(request, response);
      } else if (queue.size >= policy.maxWaiting) {
        refuse(crowded, request, response);
      } else {
        queue.add({ request, response, restedMs });
        lookSoon();
        if (underWay < policy.maxUnderWay) admitSoon();
      }
    },
    answered,
    underWay: () => underWay,
    waiting: () => queue.size,
    isBackedUp: () => queue.size >= policy.enoughWaiting,
  };
}
