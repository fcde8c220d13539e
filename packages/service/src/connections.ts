/** What happens on a connection outside of Fastify: garbage, half-sent requests, the last minute. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { Failure, type FailureCode } from '@bazar/contracts';
import type { ConnectionError, FastifyInstance } from 'fastify';
import { exchangeOn, sentBytes } from './exchange.js';
import { OnePieceResponse } from './one-piece.js';
import type { Handle } from './pipeline.js';
import { problemAnswer, rawAnswer } from './problems.js';

/** How long a refused connection is read from, so that the reset does not overtake the answer. */
const lingerMs = 1_000;
/** While closing: how often connections are looked at, and what a body still arriving is given. */
const sweepMs = 100;
const arrivalMs = 2_000;
/** While closing: how long a client may read nothing of its answer. */
const unreadMs = 3_000;
const maxHeaderBytes = 16 * 1024;

/** The parser's error codes (llhttp, Node) that are not plain nonsense. */
const refusals: Readonly<Record<string, { code: FailureCode; detail: string }>> = {
  ERR_HTTP_REQUEST_TIMEOUT: {
    code: 'request_timeout',
    detail: 'The request was not complete in time.',
  },
  HPE_HEADER_OVERFLOW: { code: 'headers_too_large', detail: 'The headers are too large.' },
  HPE_CHUNK_EXTENSIONS_OVERFLOW: {
    code: 'body_too_large',
    detail: 'The chunk extensions of the body are too large.',
  },
};
const nonsense = {
  code: 'malformed_request',
  detail: 'This is not a valid HTTP/1.1 request.',
} as const;

/** Writes a last answer, then reads what is still arriving for a moment instead of resetting. */
function endWith(socket: Duplex, answer: string): void {
  // Of a CONNECT Node gives the socket away without a listener: a caller who resets the connection,
  // or closes it unread, would else end the process.
  socket.on('error', () => socket.destroy());
  socket.end(answer);
  socket.resume();
  setTimeout(() => socket.destroy(), lingerMs).unref();
}

/** Is told the status of an answer that belongs to no route. */
type Count = (status: number) => void;

/** Fastify's `clientErrorHandler`: a problem document for what never became a request. */
export function answerClientError(randomId: () => string, count: Count) {
  return (error: ConnectionError, socket: Socket): void => {
    // The same connection may fail again while it lingers; one answer is enough.
    if (socket.writableEnded) return;
    const exchange = exchangeOn(socket);
    // Behind a complete request the garbage is not about that request, and an answer now would be
    // taken for its answer: "400" for a purchase that is being made. No answer says what is true.
    const answerable = exchange === 'idle' || exchange === 'receiving';
    if (error.code === 'ECONNRESET' || !socket.writable || !answerable) {
      socket.destroy();
      return;
    }
    const { code, detail } = refusals[error.code] ?? nonsense;
    const failure = new Failure(code, detail);
    endWith(socket, rawAnswer(failure, randomId()));
    count(failure.status);
  };
}

type RequestId = (request: IncomingMessage) => string;

function refuseExpectation(requestId: RequestId, count: Count) {
  return (request: IncomingMessage, response: ServerResponse): void => {
    const detail = 'The only expectation that can be met is 100-continue.';
    const { status, headers, body } = problemAnswer(
      new Failure('expectation_failed', detail),
      requestId(request),
    );
    // Nobody knows whether the body will follow after all, so nothing else can on this connection.
    response.writeHead(status, { ...headers, connection: 'close' }).end(body);
    count(status);
  };
}

function refuseTunnel(requestId: RequestId, count: Count) {
  return (request: IncomingMessage, socket: Duplex): void => {
    // As with garbage: behind a request that is being answered no answer says what is true.
    if (!(socket instanceof Socket) || exchangeOn(socket) !== 'idle') {
      socket.on('error', () => {}).destroy();
      return;
    }
    const failure = new Failure('method_not_allowed', 'This is no proxy.');
    endWith(socket, rawAnswer(failure, requestId(request), { allow: 'GET, HEAD, POST' }));
    count(failure.status);
  };
}

/**
 * Ends the connections of a closing server. `server.close()` waits for every connection, closes
 * the idle ones only once and stops looking for half-sent requests; without this a mute or a slow
 * client would hold a stop until it is killed. Requests that have arrived are always answered, as
 * long as their client reads.
 */
function sweepWhileClosing(connections: ReadonlySet<Socket>): NodeJS.Timeout {
  const progress = new WeakMap<Socket, { readonly sent: number; readonly sweep: number }>();
  let sweeps = 0;

  function isUnread(socket: Socket): boolean {
    const sent = sentBytes(socket);
    const last = progress.get(socket);
    if (last?.sent === sent) return (sweeps - last.sweep) * sweepMs >= unreadMs;
    progress.set(socket, { sent, sweep: sweeps });
    return false;
  }

  return setInterval(() => {
    sweeps += 1;
    for (const socket of connections) {
      const exchange = exchangeOn(socket);
      const isOver =
        exchange === 'idle' ||
        (exchange === 'receiving' && sweeps * sweepMs >= arrivalMs) ||
        (exchange === 'sending' && isUnread(socket));
      if (isOver) socket.destroy();
    }
  }, sweepMs);
}

export interface ConnectionLimits {
  /** How long a whole request may take to arrive; its headers get no longer. */
  readonly requestTimeoutMs: number;
  readonly connectionsCheckingIntervalMs: number;
  readonly keepAliveTimeoutMs: number;
}

/**
 * Fastify's `serverFactory`: a server with the bounds that Node leaves open.
 * @param before what a request comes to first; it hands on to Fastify what it does not answer
 * @param count is told of what is answered before
 */
export function guardedServer(
  limits: ConnectionLimits,
  requestId: RequestId,
  before: (handle: Handle) => Handle,
  count: Count,
) {
  const { requestTimeoutMs, connectionsCheckingIntervalMs, keepAliveTimeoutMs } = limits;
  return (handle: Handle): Server => {
    const options = {
      requestTimeout: requestTimeoutMs,
      headersTimeout: requestTimeoutMs,
      connectionsCheckingInterval: connectionsCheckingIntervalMs,
      keepAliveTimeout: keepAliveTimeoutMs,
      maxHeaderSize: maxHeaderBytes,
      requireHostHeader: false,
      ServerResponse: OnePieceResponse,
    };
    const server = createServer(options, before(handle));
    // Their bytes are bounded; of more than 2,000 Node would drop some unseen, a second Host too.
    server.maxHeadersCount = 0;
    // A client may close its side behind its last request, as `nc -N` does, and still read the
    // answer; closing then would leave it with a book that it does not know of. Node closes the
    // connection behind the last answer.
    Object.assign(server, {
      httpAllowHalfOpen: true,
      // Node takes a connection for idle whose answer was given, though not sent yet. A closing
      // server calls this, and would cut the last answers short; the sweep does it instead.
      closeIdleConnections: () => {},
    });
    server.on('checkExpectation', refuseExpectation(requestId, count));
    server.on('connect', refuseTunnel(requestId, count));
    return server;
  };
}

/**
 * Of each request that a client has left unanswered Node makes an error, and has its stack written
 * out, which nobody reads: where thousands hang up at once it would do nothing else for seconds.
 *
 * @returns what has to be called once Node has heard that the connection is closed
 */
function cheapenAborts(socket: Socket): () => void {
  let { stackTraceLimit } = Error;
  socket.prependOnceListener('close', () => {
    ({ stackTraceLimit } = Error);
    Error.stackTraceLimit = 0;
  });
  return () => {
    Error.stackTraceLimit = stackTraceLimit;
  };
}

/**
 * Lets a closing app's server end in time, whatever its clients do.
 * @returns the connections that are open
 */
export function endConnections(app: FastifyInstance): Set<Socket> {
  const connections = new Set<Socket>();
  app.server.on('connection', (socket) => {
    connections.add(socket);
    const restore = cheapenAborts(socket);
    socket.once('close', () => {
      restore();
      connections.delete(socket);
    });
  });
  let sweeping: NodeJS.Timeout | undefined;
  app.addHook('preClose', (done) => {
    sweeping = sweepWhileClosing(connections);
    done();
  });
  // Hooks of this kind run once the server has closed.
  app.addHook('onClose', (_app, done) => {
    clearInterval(sweeping);
    done();
  });
  return connections;
}
