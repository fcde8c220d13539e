/**
 * What the services say to each other. These routes take the service token and are in no public
 * document. Hundreds of callers share one batch, so each item carries its own request id, remaining
 * time and trace parent, and each outcome is its own success or its own problem.
 */
import { type Static, Type } from '@sinclair/typebox';
import { type Contract, json } from './contract.js';
import { bodyFailures, fails, ItemProblem } from './failures.js';
import { AfterParam, Decimal, ItemId, LimitParam, OperationId, Timestamp } from './fields.js';
import { endLease, leases } from './lease.js';

/** How many items one batch may carry; also bounds the body of the request. */
export const maxBatch = 1024;

const caller = {
  request_id: Type.String({ pattern: '^[\\w-]{1,64}$' }),
  timeout_ms: Type.Optional(
    Type.Integer({ minimum: 0, description: "What is left of the caller's patience." }),
  ),
  traceparent: Type.Optional(Type.String({ maxLength: 128 })),
};

export const SaleOperation = Type.Object(
  {
    operation_id: OperationId,
    kind: Type.Literal('sale'),
    item_id: ItemId,
    quantity_delta: Type.Literal(-1),
    ...caller,
  },
  { additionalProperties: false },
);
export type SaleOperation = Static<typeof SaleOperation>;

const sold = {
  sale: Type.Integer({ minimum: 1, description: '1, 2, 3, … in commit order, without gaps.' }),
  title: Type.String(),
  price: Type.Number({ minimum: 0 }),
  timestamp: Timestamp,
};
const replayed = Type.Boolean({ description: 'Decided by an earlier operation of this id.' });

export const SaleOutcome = Type.Union([
  Type.Object({
    operation_id: OperationId,
    result: Type.Literal('sold'),
    replayed,
    ...sold,
  }),
  Type.Object({ operation_id: OperationId, result: Type.Literal('sold_out'), replayed }),
  Type.Object({
    operation_id: OperationId,
    result: Type.Literal('failed'),
    problem: ItemProblem,
  }),
]);
export type SaleOutcome = Static<typeof SaleOutcome>;

const PageQuery = Type.Object(
  { after: Type.Optional(AfterParam), limit: Type.Optional(LimitParam) },
  { additionalProperties: false },
);

export const catalogInternal = {
  updates: {
    method: 'POST',
    url: '/updates',
    schema: {
      summary: 'Decide a batch of sales, in order',
      body: Type.Object(
        { updates: Type.Array(SaleOperation, { minItems: 1, maxItems: maxBatch }) },
        { additionalProperties: false },
      ),
      response: {
        200: json(
          'One outcome per operation id; a missing one is unknown',
          Type.Object({ outcomes: Type.Array(SaleOutcome, { maxItems: maxBatch }) }),
        ),
        ...fails('unauthorized', 'forbidden', 'storage_full', ...bodyFailures),
      },
    },
  },
  operations: {
    method: 'GET',
    url: '/operations',
    schema: {
      summary: 'The sales after a number: names only, for recovery',
      description:
        'A long poll: with wait_ms it answers as soon as there is a sale after the number. ' +
        'Asking after a number also reports that the order log is complete up to it.',
      querystring: Type.Object(
        {
          after: Type.Optional(AfterParam),
          limit: Type.Optional(LimitParam),
          wait_ms: Type.Optional(Decimal('^[0-9]{1,5}$', 'Milliseconds to wait for a sale.')),
        },
        { additionalProperties: false },
      ),
      response: {
        200: json(
          'The sales',
          Type.Object({
            catalog_id: OperationId,
            first_sale: Type.Integer({
              minimum: 1,
              description: 'The lowest number that can still be named.',
            }),
            last_sale: Type.Integer({ minimum: 0 }),
            operations: Type.Array(
              Type.Object({
                sale: Type.Integer({ minimum: 1 }),
                operation_id: OperationId,
                item_id: ItemId,
              }),
            ),
          }),
        ),
        ...fails('unauthorized', 'forbidden'),
      },
    },
  },
  totals: {
    method: 'GET',
    url: '/totals',
    schema: {
      summary: 'The running totals per book, at one sale number, for the audit',
      querystring: PageQuery,
      response: {
        200: json(
          'The totals of the books after an id',
          Type.Object({
            sale: Type.Integer({ minimum: 0 }),
            books: Type.Array(
              Type.Object({
                item_id: ItemId,
                stocked: Type.Integer(),
                remaining: Type.Integer(),
                sold: Type.Integer(),
              }),
            ),
          }),
        ),
        ...fails('unauthorized', 'forbidden'),
      },
    },
  },
  leases,
  endLease,
} as const satisfies Contract;

export const PurchaseOperation = Type.Object(
  { order_id: OperationId, item_id: ItemId, ...caller },
  { additionalProperties: false },
);
export type PurchaseOperation = Static<typeof PurchaseOperation>;

export const PurchaseOutcome = Type.Union([
  Type.Object({
    order_id: OperationId,
    result: Type.Literal('sold'),
    replayed,
    item_id: ItemId,
    title: Type.String(),
    price: Type.Number({ minimum: 0 }),
    timestamp: Timestamp,
  }),
  Type.Object({ order_id: OperationId, result: Type.Literal('sold_out'), replayed }),
  Type.Object({ order_id: OperationId, result: Type.Literal('failed'), problem: ItemProblem }),
]);
export type PurchaseOutcome = Static<typeof PurchaseOutcome>;

export const orderInternal = {
  purchases: {
    method: 'POST',
    url: '/purchases',
    schema: {
      summary: 'Make a batch of purchases',
      body: Type.Object(
        { purchases: Type.Array(PurchaseOperation, { minItems: 1, maxItems: maxBatch }) },
        { additionalProperties: false },
      ),
      response: {
        200: json(
          'One outcome per order id; a missing one is unknown',
          Type.Object({ outcomes: Type.Array(PurchaseOutcome, { maxItems: maxBatch }) }),
        ),
        ...fails('unauthorized', 'forbidden', 'storage_full', ...bodyFailures),
      },
    },
  },
} as const satisfies Contract;

export {
  type After,
  aged,
  batchTimeoutMs,
  matchOutcomes,
  outcomesUnknown,
  ownFailure,
  patienceMs,
  within,
} from './batch.js';
export { itemProblem, toldOfItem, withNothingDone, withOutcomeUnknown } from './failures.js';
export {
  type Changes,
  gatewayInternal,
  guardSlotOf,
  guardSlots,
  type Invalidation,
  keeperHeader,
  type LeaseEnd,
  type LeaseRequest,
  leaseEndMs,
  leaseTerms,
} from './lease.js';
export { type IsGone, keyReused, type OncePerId, oncePerId } from './once.js';
export { failedOutcome, inTime, purchaseAnswer, purchaseFailure } from './purchase-outcome.js';
