export { buildGateway } from './app.js';
export { type Buying, createBuying, type Purchase } from './purchase.js';
export { connectUpstreams, purchaseThrough, type Upstreams } from './upstreams.js';
