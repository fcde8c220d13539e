import { type CatalogStore, createLeases, type LeaseEffects, type Leases } from '@bazar/catalog';
import {
  type Cache,
  type CacheEffects,
  createCache,
  createLease,
  type GatewayLeaseEffects,
  type Lease,
  type Purchase,
} from '@bazar/gateway';
import type { CatalogCalls, OrderStore, Purchases } from '@bazar/order';
import type { DiskMutant, Random } from '@bazar/simulation';
import type { Disk } from '@bazar/storage';

/** The time that a part of a build may use. */
export interface Times {
  now(): number;
}

/** How the shop is put together; a mutant differs from the honest build in one of these. */
export interface Build {
  readonly catalogMutant: DiskMutant;
  readonly orderMutant: DiskMutant;
  readonly catalogDisk: (disk: Disk) => Disk;
  readonly orderDisk: (disk: Disk) => Disk;
  readonly catalogStore: (store: CatalogStore, times: Times) => CatalogStore;
  readonly calls: (calls: CatalogCalls) => CatalogCalls;
  readonly orderStore: (store: OrderStore) => OrderStore;
  readonly purchases: (purchases: Purchases, store: OrderStore) => Purchases;
  /** What the gateway asks of the order service. */
  readonly purchase: (purchase: Purchase) => Purchase;
  readonly leases: (effects: LeaseEffects) => Leases;
  readonly lease: (effects: GatewayLeaseEffects) => Lease;
  readonly cache: (effects: CacheEffects) => Cache;
  /** By how much the clocks of gateways are wrong at most. */
  readonly gatewayDrift: number;
}

/** Made anew for every run, so that a mutant may remember what its processes cannot. */
export type BuildMaker = (random: Random) => Build;

export const honest: Build = {
  catalogMutant: {},
  orderMutant: {},
  catalogDisk: (disk) => disk,
  orderDisk: (disk) => disk,
  catalogStore: (store) => store,
  calls: (calls) => calls,
  orderStore: (store) => store,
  purchases: (purchases) => purchases,
  purchase: (purchase) => purchase,
  leases: createLeases,
  lease: createLease,
  cache: createCache,
  gatewayDrift: 0.01,
};
