import { executionAsyncResource } from 'node:async_hooks';

const kept: object[] = [];

/**
 * Keeps one of the objects that Node makes for each `process.nextTick`, which a request calls several
 * times. In gateways that had been idle between their start and their first load a profile showed
 * each of these objects built by V8's runtime instead of compiled code, for good; supposedly because
 * their shape had been collected with the last of them. With one kept it was seen to be less, not to
 * be gone. To be called once; to remove it changes no answer.
 */
export function keepShapeOfTicks(): void {
  process.nextTick(() => kept.push(executionAsyncResource()));
}
