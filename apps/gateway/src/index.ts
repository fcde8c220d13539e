export { buildGateway } from './app.js';
export { type Buying, createBuying, type Purchase } from './purchase.js';
export { connectUpstreams, type Upstreams } from './upstreams.js';
