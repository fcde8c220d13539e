import type { Changes } from '@bazar/contracts/internal';

/** A gateway with a lease, as all replicas of the catalog know it. */
export interface LeaseRow {
  readonly instance: string;
  readonly epoch: string;
  readonly url: string;
  /** It owes an acknowledgement for too long: the lease is not confirmed any more. */
  readonly evicting: boolean;
}

/** Changes of a batch that was committed, and that perhaps not every gateway has been told of. */
export interface Announcement {
  readonly batch: string;
  readonly changes: Changes;
}

/**
 * What the replicas of a catalog know together of the gateways before them. It has no times in it,
 * for no two clocks agree: whoever waits for the end of a lease does so on a clock of its own. Every
 * method sees, and leaves, what all replicas see from then on; it may throw a `Failure`.
 */
export interface Registry {
  rows(): Promise<readonly LeaseRow[]>;
  find(instance: string): Promise<LeaseRow | undefined>;
  /** Puts a lease in the place of the instance's last one; false while that is being evicted. */
  grant(instance: string, epoch: string, url: string): Promise<boolean>;
  /** From now on the lease is not confirmed; false when there is no such lease any more. */
  evict(instance: string, epoch: string): Promise<boolean>;
  /** To be called once the lease has run out for sure, or was given back. */
  remove(instance: string, epoch: string): Promise<void>;
  /** What was committed and not `announced`, of some books or of all. */
  unannounced(books?: readonly number[]): Promise<readonly Announcement[]>;
  /** Every gateway has forgotten what the batches changed. */
  announced(batches: readonly string[]): Promise<void>;
}
