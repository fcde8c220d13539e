export {
  Book,
  BookChange,
  BookTitle,
  NewBook,
  TopicCount,
} from './book.js';
export { catalog, catalogAdmin } from './catalog.js';
export {
  type Body,
  type Contract,
  type Input,
  type Representation,
  type Request,
  type ResponseHeaders,
  type Route,
  successStatus,
} from './contract.js';
export { type FailureCode, failureCodes, failures, isFailureCode } from './failure-table.js';
export {
  accusesUs,
  Failure,
  type FailureOptions,
  type ItemProblem,
  Problem,
  problemMediaType,
  problemOf,
} from './failures.js';
export {
  canonicalId,
  defaultLimit,
  isDecimal,
  isMoney,
  maxId,
  maxLimit,
  maxPrice,
  maxQuantity,
  maxTitleLength,
  maxTopicLength,
  moneyFormat,
  requestIdPattern,
} from './fields.js';
export { gateway } from './gateway.js';
export { type Health, health } from './health.js';
export {
  type Audit,
  type Difference,
  type NumberedOrder,
  Order,
  order,
  orderAdmin,
  PurchaseAnswer,
  remembered,
} from './order.js';
