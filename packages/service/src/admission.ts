import type { IncomingMessage, ServerResponse } from 'node:http';
import { Failure } from '@bazar/contracts';
import type { After } from '@bazar/contracts/internal';
import { hasNoBody } from './bodies.js';
import { timeoutOf } from './caller.js';
import type { Handle } from './pipeline.js';

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
  enoughWaiting: 1024,
  /** Each takes memory, so there is an end to it. */
  maxWaiting: 20_000,
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
  readonly take: Handle;
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

interface Waiting {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly since: number;
}

/**
 * Bounds how many requests are worked on at a time (admission control). Work that is begun for
 * thousands at once costs each of them more, for what it holds outlives the young generation of the
 * garbage collector, and it is done as well for those who hang up before their turn. Whoever waits
 * here has cost no more than the parsing of the request.
 *
 * A request that has to be read to its end is let in at once: how long that takes is its client's
 * business, and nobody may keep others out by it. So are the batches of other services.
 */
export function createAdmission(options: AdmissionOptions): Admission {
  const { handle, refuse, isHeldUp, now, defer, after } = options;
  const queue = new Set<Waiting>();
  const begun = new WeakSet<ServerResponse>();
  let underWay = 0;
  let isDeferred = false;
  let isLooking = false;

  function begin(request: IncomingMessage, response: ServerResponse): void {
    underWay += 1;
    begun.add(response);
    response.on('close', onClose);
    handle(request, response);
  }

  function onClose(this: ServerResponse): void {
    answered(this);
  }

  function answered(response: ServerResponse): void {
    if (!begun.delete(response)) return;
    underWay -= 1;
    if (queue.size > 0) admitSoon();
  }

  /** Later, for an answer is given in the middle of other work, and the next may be given at once. */
  function admitSoon(): void {
    if (isDeferred) return;
    isDeferred = true;
    defer(admit);
  }

  function admit(): void {
    isDeferred = false;
    let left = isHeldUp() ? 0 : policy.maxPerTurn;
    for (const one of queue) {
      if (underWay >= policy.maxUnderWay) return;
      if (left === 0) {
        admitSoon();
        return;
      }
      left -= 1;
      letIn(one);
    }
  }

  function letIn(one: Waiting): void {
    queue.delete(one);
    const { request, response, since } = one;
    const { socket, headers } = request;
    if (socket.destroyed) return;
    const waitedMs = now() - since;
    // Whoever has ended its side and had to wait has most likely hung up.
    const isGone = socket.readableEnded && waitedMs > policy.lookMs;
    const isLate = waitedMs > policy.maxWaitMs;
    if (isGone || (isLate && headers.origin === undefined)) {
      refuse(crowded, request, response);
      return;
    }
    // A page on another origin could not read that refusal, but can read that no time was left.
    const timeoutMs = isLate ? 0 : timeoutOf(request);
    if (timeoutMs !== undefined) {
      headers['x-timeout-ms'] = String(Math.max(0, Math.floor(timeoutMs - waitedMs)));
    }
    begin(request, response);
  }

  /** Where nobody is let in any more, nobody hears otherwise that it was in vain. */
  function lookSoon(): void {
    if (isLooking) return;
    isLooking = true;
    after(policy.lookMs, look);
  }

  function look(): void {
    isLooking = false;
    const until = now() - policy.maxWaitMs;
    let left = policy.maxPerTurn;
    for (const one of queue) {
      if (one.since >= until) break;
      if (left === 0) {
        isLooking = true;
        defer(look);
        return;
      }
      left -= 1;
      letIn(one);
    }
    if (queue.size > 0) lookSoon();
  }

  return {
    take(request, response) {
      if (!isWhole(request)) {
        handle(request, response);
      } else if (queue.size === 0 && underWay < policy.maxUnderWay && !isHeldUp()) {
        begin(request, response);
      } else if (queue.size >= policy.maxWaiting) {
        refuse(crowded, request, response);
      } else {
        queue.add({ request, response, since: now() });
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
