/**
 * The volume lease under which a gateway may serve what it keeps: Gray and Cheriton, "Leases: An
 * Efficient Fault-Tolerant Mechanism for Distributed File Cache Consistency" (1989); Yin et al.,
 * "Volume Leases for Consistency in Large-Scale Systems" (1999).
 */
import { type Static, Type } from '@sinclair/typebox';
import { type Contract, json } from './contract.js';
import { bodyFailures, fails } from './failures.js';
import { ItemId, OperationId } from './fields.js';

export const leaseTerms = {
  /** How long a confirmed lease lasts, on the gateway's clock, from when it was asked for. */
  termMs: 1000,
  /** How often a gateway asks again. */
  renewalMs: 333,
  /** By how much two clocks may differ in speed. */
  drift: 0.01,
  marginMs: 20,
  /** How long a gateway may take to forget something before its lease is not renewed any more. */
  acknowledgeMs: 150,
} as const;

/** After this long without a confirmation, on anybody's clock, no gateway serves under a lease. */
export const leaseEndMs = leaseTerms.termMs * (1 + leaseTerms.drift) + leaseTerms.marginMs;

/**
 * Names the gateway, as `instance`, in a read of the catalog that it may keep: from then on it must
 * be told when that book changes.
 */
export const keeperHeader = 'x-bazar-keeper';

/** Books share counters: whatever is known of one by its counter goes for all that share it. */
export const guardSlots = 65_536;

/** The counter of a book; gateway and catalog must agree about it. */
export const guardSlotOf = (itemId: number): number => itemId % guardSlots;

const who = {
  /** The gateway process, under an id that it made up at its start. */
  instance: OperationId,
  /** The lease, under a random id that the catalog gave it. */
  epoch: Type.Optional(OperationId),
};

export const LeaseRequest = Type.Object(
  {
    ...who,
    url: Type.String({
      pattern: '^https?://[^\\s/?#@]+$',
      maxLength: 300,
      description: 'Where the gateway hears of changes.',
    }),
  },
  { additionalProperties: false },
);
export type LeaseRequest = Static<typeof LeaseRequest>;

/** A route of the catalog. */
export const leases = {
  method: 'POST',
  url: '/leases',
  schema: {
    summary: 'Confirm the lease of a gateway, or give it a new one',
    description:
      'Another epoch than the one in the request is a new lease: whatever was kept before must be ' +
      'forgotten first.',
    body: LeaseRequest,
    response: {
      200: json(
        'The lease, valid from the moment it was asked for',
        Type.Object({ epoch: OperationId }),
      ),
      ...fails('unauthorized', 'forbidden', 'lease_unknown', ...bodyFailures),
    },
  },
} as const;

export const LeaseEnd = Type.Object(
  { instance: who.instance, epoch: OperationId },
  { additionalProperties: false },
);
export type LeaseEnd = Static<typeof LeaseEnd>;

/** A route of the catalog. */
export const endLease = {
  method: 'POST',
  url: '/leases/end',
  schema: {
    summary: 'Give a lease back',
    description:
      'The gateway serves nothing any more that it kept under this lease, so that nobody has to ' +
      'tell it of changes, nor to wait until the lease has run out.',
    body: LeaseEnd,
    response: {
      204: { description: 'There is no such lease any more.' },
      ...fails('unauthorized', 'forbidden', ...bodyFailures),
    },
  },
} as const;

export const Changes = Type.Object(
  {
    books: Type.Array(ItemId, { description: 'The books whose price or stock has changed.' }),
    titles: Type.Boolean({ description: 'Whether there is a new book, in lists and topics.' }),
  },
  { additionalProperties: false },
);
/** What of the catalog has changed, for whoever keeps answers of it. */
export type Changes = Static<typeof Changes>;

export const Invalidation = Type.Object(
  { ...who, ...Changes.properties },
  { additionalProperties: false },
);
export type Invalidation = Static<typeof Invalidation>;

export const gatewayInternal = {
  invalidations: {
    method: 'POST',
    url: '/invalidations',
    schema: {
      summary: 'Forget what has changed',
      description:
        'A 204 acknowledges that nothing of it is served any more. Another instance, or another ' +
        'epoch than the present one, is a 409. Without an epoch it asks for the instance only.',
      body: Invalidation,
      response: {
        204: { description: 'It is forgotten.' },
        ...fails('unauthorized', 'forbidden', 'lease_unknown', ...bodyFailures),
      },
    },
  },
} as const satisfies Contract;
