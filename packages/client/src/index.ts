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
export type { Call, Effects, Page, Pages, WithResponse } from './call.js';
export {
  BazarConnectionError,
  BazarContractError,
  BazarError,
  BazarTimeoutError,
  type ErrorCode,
} from './errors.js';
export type {
  BodyCheck,
  CallOptions,
  ClientOptions,
  PageOptions,
  WriteOptions,
} from './options.js';
