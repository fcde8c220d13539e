export { buildGateway, type Parts } from './app.js';
export { type Cache, type CacheEffects, createCache, type Kept, type Subject } from './cache.js';
export { createLease, type Lease, type LeaseEffects as GatewayLeaseEffects } from './lease.js';
export { type Buying, createBuying, type Purchase } from './purchase.js';
export {
  connectUpstreams,
  giveBackThrough,
  purchaseThrough,
  renewThrough,
  type Upstreams,
} from './upstreams.js';
