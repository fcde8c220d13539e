import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { stopParsing } from './exchange.js';
import { stopReading } from './reading.js';

/** Works on one request; the answer is given once the response closes. */
export type Handle = (request: IncomingMessage, response: ServerResponse) => void;

const policy = {
  /**
   * How many requests of one connection are worked on at a time. HTTP/1.1 allows any number on their
   * way (RFC 9112, section 9.3.2), and Node parses all that arrive: one client that sends many and
   * reads nothing would fill the queues that everybody else's requests stand in.
   */
  maxUnanswered: 64,
  /**
   * How many requests of all connections together are held back. What has arrived in one piece is
   * parsed in one piece, some two thousand requests of it, whoever is told to wait afterwards.
   */
  maxHeld: 20_000,
};

export interface PipelineOptions {
  /** Whether the next answer is the last one of its connection. */
  readonly isClosing: () => boolean;
  /** Reads on from a connection that holds nothing any more, unless somebody else does not want that. */
  readonly readOn: (socket: Socket) => void;
  /** Runs something once all that has arrived by now was read. */
  readonly defer?: (run: () => void) => unknown;
}

/**
 * Hands on the requests of each connection, at most 64 of them until the first is answered. What
 * was parsed beyond that is held back, and nothing more is read from that connection meanwhile: TCP
 * then tells its client to wait, which no status could. Who is held back waits a turn of the event
 * loop, for the others have a right to theirs. A connection that would hold too much is ended; of
 * what it was still holding nothing has been begun.
 *
 * While closing, a request waits for the one before it. Behind an answer that closes its connection
 * nothing may be begun (RFC 9112, section 9.6): nobody would hear what came of it.
 */
export function boundPipelines(handle: Handle, options: PipelineOptions): Pipelines {
  const { isClosing, readOn, defer = setImmediate } = options;
  const pipelines = new WeakMap<Socket, Pipeline>();
  const shared: Shared = { handle, isClosing, readOn, defer, held: 0 };
  return {
    take(request, response) {
      const { socket } = request;
      let pipeline = pipelines.get(socket);
      if (pipeline === undefined) {
        pipeline = openPipeline(socket, shared);
        pipelines.set(socket, pipeline);
      }
      pipeline.take(request, response);
    },
    unanswered: (socket) => pipelines.get(socket)?.unanswered() ?? 0,
    isHolding: (socket) => pipelines.get(socket)?.isHolding() ?? false,
  };
}

/** The requests of all connections. */
export interface Pipelines {
  readonly take: Handle;
  /** How many of a connection were handed on or are held back, and are not answered yet. */
  unanswered(socket: Socket): number;
  /** Whether some of a connection are held back, so that it is not to be read from. */
  isHolding(socket: Socket): boolean;
}

interface Pipeline {
  readonly take: Handle;
  unanswered(): number;
  isHolding(): boolean;
}

interface Shared {
  readonly handle: Handle;
  readonly isClosing: () => boolean;
  readonly readOn: (socket: Socket) => void;
  readonly defer: (run: () => void) => unknown;
  /** How many requests are held back, of all connections. */
  held: number;
}

function openPipeline(socket: Socket, shared: Shared): Pipeline {
  const held: (readonly [IncomingMessage, ServerResponse])[] = [];
  /** In the order of their requests, in which they nearly always close. */
  const begun: ServerResponse[] = [];
  let isDeferred = false;

  const hasRoom = () => begun.length < (shared.isClosing() ? 1 : policy.maxUnanswered);
  /** Nobody would hear the answers of a connection that is gone, or was told its last one. */
  const isOver = () => socket.destroyed || socket.writableEnded;

  function begin(request: IncomingMessage, response: ServerResponse): void {
    begun.push(response);
    response.on('close', onAnswered);
    shared.handle(request, response);
  }

  function onAnswered(this: ServerResponse): void {
    const place = begun.indexOf(this);
    if (place >= 0) begun.splice(place, 1);
    if (held.length === 0 || isDeferred) return;
    isDeferred = true;
    shared.defer(goOn);
  }

  function goOn(): void {
    isDeferred = false;
    while (held.length > 0 && hasRoom() && !isOver()) {
      shared.held -= 1;
      const next = held.shift();
      if (next !== undefined) begin(...next);
    }
    if (held.length === 0) shared.readOn(socket);
  }

  socket.once('close', () => {
    shared.held -= held.length;
    held.length = 0;
    // Node tells only the answer that was being sent; whoever feeds one behind it, as from a file,
    // would wait for ever. Of a copy, for each that closes leaves the list.
    for (const response of [...begun]) {
      if (response.socket === null && !response.writableFinished) response.emit('close');
    }
  });

  return {
    take(request, response) {
      if (isOver()) {
        stopParsing(socket);
        return;
      }
      if (held.length === 0 && hasRoom()) {
        begin(request, response);
        return;
      }
      if (shared.held >= policy.maxHeld) {
        socket.destroy();
        stopParsing(socket);
        return;
      }
      shared.held += 1;
      held.push([request, response]);
      // A request is held only behind others, whose bodies have therefore all arrived.
      stopReading(socket);
    },
    unanswered: () => begun.length + held.length,
    isHolding: () => held.length > 0,
  };
}
