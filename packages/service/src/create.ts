import { randomUUID } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { Failure, health, isMoney, moneyFormat, requestIdPattern } from '@bazar/contracts';
import fastify, {
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyReply,
  LogController,
  type onRequestHookHandler,
} from 'fastify';
import { countAnswers } from './answer-count.js';
import { hasNoBody, parseBodies } from './bodies.js';
import { limitConnections } from './connection-limit.js';
import {
  answerClientError,
  type ConnectionLimits,
  endConnections,
  guardedServer,
} from './connections.js';
import { addDocs } from './docs.js';
import { createEntrance, type Entrance } from './entrance.js';
import { createFailureLog, type FailureLog } from './failure-log.js';
import { addHealth, type Dependencies } from './health.js';
import { createLogger } from './logger.js';
import { malformed } from './malformed.js';
import { createMetrics, type Metrics } from './metrics.js';
import { endStill, setNoTimers, watchMovement } from './movement.js';
import type { Handle } from './pipeline.js';
import { answerErrors } from './problems.js';
import { rememberRoutes } from './routes.js';
import { addScrape } from './scrape.js';
import { securityHeaders } from './security-headers.js';
import type { Shed } from './shedding.js';
import type { Shortcut } from './shortcut.js';
import { wrongTarget } from './target.js';

export interface ServiceOptions {
  /** As it stands in the log and in the title of the API document. */
  readonly name: string;
  readonly version?: string;
  /** What `readConfig` read from `listenFields`; the tokens are for the caller's own mounts. */
  readonly config: {
    readonly LOG_LEVEL: string;
    readonly SERVICE_TOKEN?: string;
    readonly ADMIN_TOKEN?: string;
  };
  /** A logger that writes already; one to the standard output unless told. */
  readonly logger?: FastifyBaseLogger;
  /** Where log lines go instead of the standard output. */
  readonly logStream?: { write(line: string): void };
  /** The largest body; 64 KiB unless told. A mount may allow its routes more. */
  readonly bodyLimitBytes?: number;
  /** What the service depends on; asked by `GET /health/ready`, however many ask that. */
  readonly ready?: () => Dependencies | Promise<Dependencies>;
  /** How long a whole request may take to arrive; its headers get no longer. 10 s unless told. */
  readonly requestTimeoutMs?: number;
  /**
   * How often connections are checked for half-sent requests, and for those on which nothing moves;
   * every 2 s unless told. Each limit may be exceeded by twice as much.
   */
  readonly connectionsCheckingIntervalMs?: number;
  /** How long a connection may stay idle: 72 s unless told, longer than any client of ours. */
  readonly keepAliveTimeoutMs?: number;
  /** How many connections are open at most; 10,000 unless told. */
  readonly maxConnections?: number;
  /** Addresses, or ranges of them, of proxies that are believed whom they speak for. */
  readonly trustProxy?: readonly string[];
  /** What `GET /metrics` tells besides the answers; those of the process unless told. */
  readonly metrics?: Metrics;
  /** Answers that are at hand, for plain reads. */
  readonly shortcut?: Shortcut;
  /** Who is turned away while there is too much to do; nobody unless told. */
  readonly shed?: Shed;
  /**
   * The paths of other services' calls that do not wait for their turn while there is too much to
   * do; those of the health and of the figures never do.
   */
  readonly urgent?: readonly string[];
  /** Repeats of a failure are counted for so long before they are logged; 10 s unless told. */
  readonly failureRepeatsMs?: number;
  /** Makes the id of a request that came without one. */
  readonly randomId?: () => string;
  /** Milliseconds on a clock that only goes forward. */
  readonly now?: () => number;
}

const maxParamLength = 500;
/** A connection on which nothing moves in the middle of a request is given up after so long. */
const quietMs = 60_000;
/** An idle one is kept for so much longer than is announced: a last request may be on its way. */
const graceMs = 1000;

/** Headers of every answer, and what Node no longer refuses once we ask to do it ourselves. */
const everyAnswer: onRequestHookHandler = (request, reply, done) => {
  const { raw, is404 } = request;
  const { headers } = raw;
  reply.header('x-request-id', request.id);
  reply.header('cache-control', 'no-store');
  reply.headers(securityHeaders);
  // Fastify looks at the type first. That of a body which nobody takes must not be found wrong.
  if (headers['content-type'] !== undefined && (is404 || hasNoBody(headers))) {
    delete headers['content-type'];
  }
  done(wrongTarget(raw));
};

/** A foreign id is written into logs and headers, so it must have our alphabet and length. */
function requestIds(randomId: () => string) {
  return (raw: IncomingMessage): string => {
    const given = raw.headers['x-request-id'];
    return typeof given === 'string' && requestIdPattern.test(given) ? given : randomId();
  };
}

/** How long connections are waited for. */
function patienceOf(options: ServiceOptions): ConnectionLimits {
  const { requestTimeoutMs = 10_000, connectionsCheckingIntervalMs = 2_000 } = options;
  const { keepAliveTimeoutMs = 72_000 } = options;
  return { requestTimeoutMs, connectionsCheckingIntervalMs, keepAliveTimeoutMs };
}

/** What an app is made with besides its options. */
interface Around {
  readonly randomId: () => string;
  readonly requestId: (request: IncomingMessage) => string;
  readonly patience: ConnectionLimits;
  readonly logger: FastifyBaseLogger;
  readonly logFailure: FailureLog;
  readonly before: (queue: Handle) => Handle;
  /** Is told the status of what is answered outside of any route. */
  readonly count: (status: number) => void;
}

/** Fastify itself, with every default that coerces, trusts or logs too much turned off. */
function bareApp(
  options: ServiceOptions,
  { randomId, requestId, patience, logger, logFailure, before, count }: Around,
): FastifyInstance {
  const answerError = answerErrors(logFailure);
  const app = fastify({
    loggerInstance: logger,
    logController: new LogController({ disableRequestLogging: true }),
    genReqId: requestId,
    bodyLimit: options.bodyLimitBytes ?? 64 * 1024,
    serverFactory: guardedServer(patience, requestId, before, count),
    ...(options.trustProxy !== undefined && { trustProxy: [...options.trustProxy] }),
    routerOptions: { maxParamLength },
    // What still arrives on an open connection while closing is answered, not turned away.
    return503OnClosing: false,
    ajv: {
      customOptions: {
        coerceTypes: false,
        removeAdditional: false,
        useDefaults: false,
        allErrors: false,
        // Errors carry their schema, whose description then explains a pattern to the caller.
        verbose: true,
        formats: { [moneyFormat]: { type: 'number', validate: isMoney } },
      },
    },
    schemaErrorFormatter: malformed,
    frameworkErrors(error, request, reply) {
      answerError(error, request, reply);
      count(reply.statusCode);
    },
    clientErrorHandler: answerClientError(randomId, count),
  });
  app.setErrorHandler(answerError);
  return app;
}

/** A path without a route, or with routes for other methods only: RFC 9110, section 15.5.6. */
function unmatched(methods: readonly string[], reply: FastifyReply): Failure {
  if (methods.length === 0)
    return new Failure('route_not_found', 'There is no route to this path.');
  const allow = methods.join(', ');
  reply.header('allow', allow);
  return new Failure('method_not_allowed', `This path takes ${allow}.`);
}

/** Shows how many requests there are. */
function showRequests(metrics: Metrics, entrance: Pick<Entrance, 'underWay' | 'waiting'>): void {
  metrics.gauge(
    {
      name: 'bazar_requests',
      help: 'Requests without a body that are worked on, and those that wait until fewer are.',
      labels: ['state'],
    },
    () => [
      { labels: { state: 'under way' }, value: entrance.underWay() },
      { labels: { state: 'waiting' }, value: entrance.waiting() },
    ],
  );
}

/** Bounds how many connections there are and how long nothing moves on them, and shows how many. */
function boundConnections(
  app: FastifyInstance,
  entrance: Pick<Entrance, 'resting' | 'isWaiting' | 'unanswered' | 'takeOverdue'>,
  metrics: Metrics,
  limits: ConnectionLimits & { readonly maxConnections: number; readonly now: () => number },
): void {
  const { maxConnections, now, keepAliveTimeoutMs, connectionsCheckingIntervalMs } = limits;
  const connections = endConnections(app);
  const movement = watchMovement(connections, now);
  setNoTimers(app.server);
  const limit = limitConnections(app.server, connections, movement, {
    maxConnections,
    isWaiting: entrance.isWaiting,
    unanswered: entrance.unanswered,
    takeOverdue: entrance.takeOverdue,
    now,
    warn: (fields, sentence) => app.log.warn(fields, sentence),
  });
  const looking = setInterval(() => {
    const seen = movement.look();
    endStill(seen, { idleMs: keepAliveTimeoutMs + graceMs, quietMs, now });
    limit.saw(seen);
  }, connectionsCheckingIntervalMs).unref();
  app.addHook('onClose', (_app, done) => {
    clearInterval(looking);
    done();
  });
  metrics.gauge(
    {
      name: 'bazar_connections',
      help: 'Connections that are open; and those of them that are not read from for the moment.',
      labels: ['state'],
    },
    () => [
      { labels: { state: 'open' }, value: connections.size },
      { labels: { state: 'resting' }, value: entrance.resting() },
    ],
  );
  metrics.counter(
    {
      name: 'bazar_connections_refused_total',
      help: 'Connections that were closed at once for want of room.',
    },
    limit.refused,
  );
  metrics.counter(
    {
      name: 'bazar_connections_ended_total',
      help: 'Connections that were ended to make room for others.',
    },
    limit.ended,
  );
}

/**
 * A Fastify app with all that the services do identically: ids, problem documents, limits, health,
 * metrics and the API document. It knows no route of its own besides; `mount` adds those.
 */
export function createService(options: ServiceOptions): FastifyInstance {
  const { name, version = '0.0.0', randomId = randomUUID, ready = () => ({}) } = options;
  const { shortcut = () => undefined, shed = () => undefined, metrics = createMetrics() } = options;
  const { logger = createLogger(name, options.config.LOG_LEVEL, options.logStream) } = options;
  const { maxConnections = 10_000, now = () => performance.now() } = options;
  const logFailure = createFailureLog(logger, {
    ...(options.failureRepeatsMs !== undefined && { repeatsMs: options.failureRepeatsMs }),
  });
  const requestId = requestIds(randomId);
  const patience = patienceOf(options);
  const count = (status: number) => answers.unmatched(status);
  const entrance = createEntrance({
    shortcut,
    shed,
    urgent: [...Object.values(health).map(({ url }) => url), '/metrics', ...(options.urgent ?? [])],
    requestId,
    logFailure,
    count,
    countEarly: (...answer) => answers.early(...answer),
    keepAliveTimeoutMs: patience.keepAliveTimeoutMs,
    now,
  });
  const { before } = entrance;
  const app = bareApp(options, {
    ...{ randomId, requestId, patience, logger, logFailure, before, count },
  });
  const methodsOf = rememberRoutes(app);
  app.server.on('connection', entrance.accepted);
  app.addHook('onRequest', everyAnswer);
  app.addHook('onSend', (_request, reply, _payload, done) => {
    entrance.answered(reply.raw);
    done();
  });
  parseBodies(app);
  boundConnections(app, entrance, metrics, { ...patience, maxConnections, now });
  showRequests(metrics, entrance);
  app.addHook('preClose', (done) => entrance.end(done));
  app.addHook('onClose', (_app, done) => {
    logFailure.flush();
    done();
  });
  addDocs(app, name, version);
  const answers = countAnswers(app, metrics);
  addScrape(app, metrics);
  addHealth(app, ready, now);
  app.setNotFoundHandler((request, reply) => {
    const [path = '/'] = request.url.split('?', 1);
    const failure = unmatched(methodsOf(path), reply);
    answers.unmatched(failure.status);
    throw failure;
  });
  return app;
}
