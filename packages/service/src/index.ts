export type { FastifyInstance } from 'fastify';
export { after } from './after.js';
export { type Caller, callerOf, timeoutOf } from './caller.js';
export {
  addressesField,
  ConfigError,
  databaseField,
  isLoopback,
  listenFields,
  readConfig,
  requireTokensOffLoopback,
  splitList,
  splitUrls,
  urlField,
  urlsField,
} from './config.js';
export { createService, type ServiceOptions } from './create.js';
export { inTimeOf } from './deadline.js';
export { createFailureLog, reasonOf } from './failure-log.js';
export type { Dependencies } from './health.js';
export { nextLink } from './link.js';
export { createLogger, switchLevelOnSignal } from './logger.js';
export {
  batchBuckets,
  createMetrics,
  type Metrics,
  secondsBuckets,
  syncMeter,
  timed,
} from './metrics.js';
export {
  type Handler,
  type HandlerRequest,
  type Handlers,
  type MountOptions,
  mount,
  type NarrowReply,
  tokenCheck,
} from './mount.js';
export { type PurchaseRequest, purchaseRequest } from './purchase-request.js';
export { type Ready, ready, type Sent } from './ready.js';
export { etagOf, representation } from './representation.js';
export { securityHeaders } from './security-headers.js';
export { listen, runMain, type Served, type ServeOptions, serve } from './serve.js';
export type { Refusal, Shed } from './shedding.js';
export { type ReadyAnswer, readyAnswer, type Shortcut } from './shortcut.js';
export { StartError } from './start-error.js';
export { createSampler, recordedTrace, type Sample } from './trace.js';
