import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { type Admission, createAdmission } from './admission.js';
import { after } from './after.js';
import { type Backpressure, createBackpressure } from './backpressure.js';
import { exchangeOn, hasHungUp } from './exchange.js';
import type { FailureLog } from './failure-log.js';
import { boundPipelines, type Handle, type Pipelines } from './pipeline.js';
import { keepStopped, readOn, stopReading } from './reading.js';
import { refuseAndLeave, refuseAtOnce, type Shed, turnAway } from './shedding.js';
import { type Shortcut, takeShortcut } from './shortcut.js';

export interface EntranceOptions {
  readonly shortcut: Shortcut;
  readonly shed: Shed;
  /** Paths that neither wait nor are turned away. */
  readonly urgent: readonly string[];
  readonly requestId: (request: IncomingMessage) => string;
  readonly logFailure: FailureLog;
  /** Is told the status of an answer that belongs to no route. */
  readonly count: (status: number) => void;
  /** Is told of an answer to a request for a route that did not come to it. */
  readonly countEarly: (method: string, route: string, status: number) => void;
  /** For how long connections are kept, as they are told. */
  readonly keepAliveTimeoutMs: number;
  /** Milliseconds on a clock that only goes forward. */
  readonly now: () => number;
}

/** Of so many that have rested, one shows whether its client was still there. */
const sampleEvery = 64;

/** What every request comes to before Fastify. */
export interface Entrance
  extends Pick<Backpressure<Socket>, 'resting'>,
    Pick<Admission, 'answered' | 'underWay' | 'waiting'> {
  /** What a server calls with its requests, so that those which are let in come to Fastify. */
  before(fastify: Handle): Handle;
  /** To be called at each new connection. */
  accepted(socket: Socket): void;
  /** Whether a connection waits for its turn to be read, or has just got it. */
  isWaiting(socket: Socket): boolean;
  /** How many requests of a connection are being worked on or held back. */
  unanswered(socket: Socket): number;
  /**
   * Takes a connection, to be ended, on which nothing is under way and whose turn to be read has not
   * come for longer than clients are seen to wait.
   */
  takeOverdue(): Socket | undefined;
  /** From now on whatever arrives is let in; calls back once what had been sent before was read. */
  end(done: () => void): void;
}

/**
 * Four steps: a connection may have to rest before it is read on (backpressure), what is at hand or
 * refused is answered here (shortcut, shedding), of one connection not too much is worked on at a
 * time (pipelines), nor of all together (admission).
 */
export function createEntrance(options: EntranceOptions): Entrance {
  const { requestId, logFailure, count, countEarly, keepAliveTimeoutMs, now } = options;
  const urgent = new Set(options.urgent);
  let isClosing = false;
  let rested = 0;
  const isRead = takeShortcut({
    // A closing service tells every caller that this was the last answer on its connection.
    shortcut: (url) => (isClosing ? undefined : options.shortcut(url)),
    requestId,
    count: (route, status) => countEarly('GET', route, status),
    keepAliveTimeoutMs,
  });
  const isTurnedAway = turnAway({
    // What has arrived at a closing service is answered.
    shed: (method, url) => (isClosing ? undefined : options.shed(method, url)),
    requestId,
    onRefusal({ failure, route }, method, reqId) {
      countEarly(method, route, failure.status);
      logFailure(failure, `${method} ${route}`, { reqId, method, url: route });
    },
  });
  /** Set as soon as there is a Fastify to let in to. */
  let fastify: Handle = () => undefined;
  const pressure: Backpressure<Socket> = createBackpressure<Socket>({
    now,
    defer: setImmediate,
    after,
    isBackedUp: () => admission.isBackedUp(),
    stopReading,
    readOn: readOnIfWanted,
  });
  const admission = createAdmission({
    handle: (request, response) => fastify(request, response),
    refuse(failure, request, response) {
      const { method = '', socket } = request;
      // Behind others that it has sent, their answers are still to come.
      const isLast = socket.readableEnded && pipelines.unanswered(socket) === 1;
      const reqId = isLast
        ? refuseAndLeave(failure, request, requestId)
        : refuseAtOnce(failure, request, response, requestId);
      count(failure.status);
      logFailure(failure, method, { reqId, method });
    },
    isHeldUp: pressure.isAccepting,
    now,
    defer: setImmediate,
    after,
  });
  const pipelines: Pipelines = boundPipelines(
    (request, response) => {
      if (response.socket === null && isEarly(request, response)) return;
      if (isUrgent(request)) fastify(request, response);
      else admit(request, response);
    },
    { isClosing: () => isClosing, readOn: readOnIfWanted },
  );

  /** Whether a connection rests, or holds requests back. */
  const isKept = (socket: Socket) => pressure.isResting(socket) || pipelines.isHolding(socket);

  function readOnIfWanted(socket: Socket): boolean {
    if (isKept(socket)) return false;
    readOn(socket);
    return true;
  }

  /** Whether nobody waits for an answer on a connection, nor for the end of one. */
  const isFree = (socket: Socket) =>
    !socket.destroyed && pipelines.unanswered(socket) === 0 && exchangeOn(socket) === 'idle';

  function admit(request: IncomingMessage, response: ServerResponse): void {
    const { socket } = request;
    const rest = pressure.restOf(socket);
    if (rest === undefined) {
      admission.take(request, response, 0);
      return;
    }
    // Whether its client has hung up meanwhile is read in the turn after.
    setImmediate(setImmediate, () => {
      pressure.observe(rest, hasHungUp(socket, rest.ms));
      if (!isEarly(request, response)) admission.take(request, response, rest.ms);
    });
  }

  function isUrgent({ url = '' }: IncomingMessage): boolean {
    const end = url.indexOf('?');
    return urgent.has(end < 0 ? url : url.slice(0, end));
  }

  /** Answers what is at hand or refused, without Fastify. */
  function isEarly(request: IncomingMessage, response: ServerResponse): boolean {
    // To refuse what is at hand would cost as much as to answer it.
    return isRead(request, response) || isTurnedAway(request, response);
  }

  function enter(request: IncomingMessage, response: ServerResponse): void {
    const { socket } = request;
    const mayRest = !isClosing && !isUrgent(request);
    if (mayRest) pressure.arrived();
    const isToRest = mayRest && pressure.isHigh();
    // A response without a socket stands behind others of its connection, and waits with them.
    if (response.socket !== null && !isSampled(socket) && isEarly(request, response)) {
      if (isToRest) pressure.rest(socket);
      return;
    }
    if (isToRest) response.once('close', () => pressure.rest(socket));
    pipelines.take(request, response);
  }

  /** Whether it is answered a little later, when it has shown whether its client has hung up. */
  function isSampled(socket: Socket): boolean {
    if (pressure.restOf(socket) === undefined) return false;
    rested += 1;
    return rested % sampleEvery === 0;
  }

  return {
    accepted(socket) {
      keepStopped(socket, () => isKept(socket));
      pressure.accepted();
    },
    isWaiting: (socket) => isKept(socket) || pressure.restOf(socket) !== undefined,
    unanswered: pipelines.unanswered,
    takeOverdue: () => pressure.takeOverdue(isFree),
    resting: pressure.resting,
    answered: admission.answered,
    underWay: admission.underWay,
    waiting: admission.waiting,
    before(handle) {
      fastify = handle;
      return enter;
    },
    end(done) {
      isClosing = true;
      // A connection that looks idle is closed, even if what it has sent waits to be read.
      pressure.end(done);
    },
  };
}
