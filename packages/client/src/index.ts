export type {
  Audit,
  Book,
  BookChange,
  BookTitle,
  FailureCode,
  NewBook,
  NumberedOrder,
  Order,
  TopicCount,
} from '@bazar/contracts';
export { type Admin, type AdminOptions, createAdmin } from './admin.js';
export { type Bazar, type BazarOptions, createBazar, type PurchaseResult } from './bazar.js';
export type { Call, Page, Pages, WithResponse, Write } from './call.js';
export type { ResponseCheck } from './caller/answer.js';
export {
  BazarConnectionError,
  BazarContractError,
  BazarError,
  BazarTimeoutError,
  type ErrorCode,
} from './errors.js';
export type {
  CallOptions,
  ClientOptions,
  Fetch,
  FetchRequest,
  FetchResponse,
  PageOptions,
  WriteOptions,
} from './options.js';
