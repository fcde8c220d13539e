import { randomBytes } from 'node:crypto';

const flagged = /^[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-([0-9a-f]{2})$/;
/** Bit 0 of the flags. */
const sampled = 1;

/**
 * The id of a trace that is to be recorded, or undefined: bit 0 of the flags says so (W3C Trace
 * Context, section 3.2.2.5).
 */
export function recordedTrace(traceparent: string | undefined): string | undefined {
  if (traceparent === undefined) return undefined;
  const [, id, flags = '00'] = flagged.exec(traceparent) ?? [];
  return (Number.parseInt(flags, 16) & sampled) === sampled ? id : undefined;
}

export interface SamplerOptions {
  /** Whether everything is recorded at this moment, as while somebody looks for a fault. */
  readonly isAll?: () => boolean;
  /** Milliseconds on a clock that only goes forward. */
  readonly now?: () => number;
  /** Makes so many random bytes, as lower-case hexadecimal digits. */
  readonly randomHex?: (bytes: number) => string;
}

/** Takes the trace parent of a request, and gives the one that goes along with what it causes. */
export type Sample = (traceparent: string | undefined) => string | undefined;

const policy = {
  /** A caller may ask for its request to be recorded; many who do must not fill the disk. */
  askedPerSecond: 10,
};

/**
 * Decides at the edge of the shop which requests are recorded: the first of every second, and those
 * whose callers ask for it. The decision goes along in the trace parent, so that all services write
 * a line about the same requests, or none does. The trace parent is handed on as it came where that
 * decision is the caller's own: spans are for those who collect them, which we do not.
 */
export function createSampler(options: SamplerOptions = {}): Sample {
  const { isAll = () => false, now = () => performance.now() } = options;
  const { randomHex = (bytes: number) => randomBytes(bytes).toString('hex') } = options;
  let second = Number.NEGATIVE_INFINITY;
  let asked = 0;
  let isChosen = false;

  return (traceparent: string | undefined): string | undefined => {
    const time = now();
    if (time - second >= 1000) {
      second = time;
      asked = 0;
      isChosen = false;
    }
    if (traceparent === undefined) {
      if (isChosen && !isAll()) return undefined;
      isChosen = true;
      return `00-${randomHex(16)}-${randomHex(8)}-01`;
    }
    if (recordedTrace(traceparent) === undefined) return traceparent;
    asked += 1;
    return asked <= policy.askedPerSecond || isAll()
      ? traceparent
      : unrecorded(traceparent, randomHex(8));
  };
}

/** Whoever changes the flags has to name a parent of its own (section 3.2.2.5 and 3.5). */
function unrecorded(traceparent: string, parent: string): string {
  const [version, id, , flags = '00'] = traceparent.split('-');
  const others = Number.parseInt(flags, 16) & ~sampled;
  return `${version}-${id}-${parent}-${others.toString(16).padStart(2, '0')}`;
}
