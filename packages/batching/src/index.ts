export {
  type Batcher,
  BatcherClosed,
  type BatcherOptions,
  createBatcher,
  QueueFull,
} from './batcher.js';
