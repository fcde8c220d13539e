import { randomFillSync } from 'node:crypto';
import { v7 } from 'uuid';

const idBytes = 16;
/** Asking the system for random bytes takes longer than all else that makes an id. */
const pool = Buffer.allocUnsafe(256 * idBytes);
let used = pool.length;

/** A UUID of version 7 (RFC 9562, section 5.7): unique, and by the millisecond in the order of time. */
export function newOrderId(): string {
  if (used === pool.length) {
    randomFillSync(pool);
    used = 0;
  }
  used += idBytes;
  return v7({ random: pool.subarray(used - idBytes, used) });
}
