import { connect, type Socket } from 'node:net';
import {
  type Addresses,
  type Endpoint,
  hostOf,
  nameOf,
  type ReplicasLog,
} from '@bazar/service/replicas';

export interface GatewaysEffects {
  readonly addresses: Pick<Addresses, 'current'>;
  readonly log: ReplicasLog;
  readonly connectTimeoutMs?: number;
  readonly lookAgainMs?: number;
}

/** The gateways behind the front: who takes connections, and how many each has from here. */
export interface Gateways {
  /**
   * Connects to the one that has the fewest, and to the next one when that does not take it.
   * @param isWanted whether anybody still waits for it
   * @returns undefined when there is none in time, or nobody waits any more
   */
  dial(isWanted: () => boolean): Promise<Socket | undefined>;
  /** How many take connections, as far as is known. */
  live(): number;
  close(): void;
}

const policy = {
  /** A machine that is gone does not say so. */
  connectTimeoutMs: 1000,
  /** Nobody waits longer for an answer, however many gateways might still be asked. */
  patienceMs: 10_000,
  /** Those that took none are dialled so often, at nobody's cost but ours. */
  lookAgainMs: 500,
};

export function watchGateways({ addresses, log, ...options }: GatewaysEffects): Gateways {
  const { connectTimeoutMs, patienceMs, lookAgainMs } = { ...policy, ...options };
  /** How many connections each has, those included that it is only dialled for. */
  const busy = new Map<string, number>();
  const failing = new Set<string>();
  /** The timers of those of them that are looked at again. */
  const looking = new Map<string, NodeJS.Timeout>();
  let isClosed = false;

  function byLoad(): Endpoint[] {
    const load = (endpoint: Endpoint) => busy.get(nameOf(endpoint)) ?? 0;
    // Those that failed last time come last: whoever waits for them waits in vain, mostly.
    const rank = (endpoint: Endpoint) => (failing.has(nameOf(endpoint)) ? 1 : 0);
    return addresses.current().toSorted((a, b) => rank(a) - rank(b) || load(a) - load(b));
  }

  function mark(endpoint: Endpoint, answers: boolean): void {
    const name = nameOf(endpoint);
    if (answers === !failing.has(name)) return;
    if (answers) {
      failing.delete(name);
      log('info', `the gateway ${name} takes connections again`);
    } else {
      failing.add(name);
      log('warn', `the gateway ${name} takes no connections`);
      lookAgain(endpoint);
    }
  }

  /**
   * As long as another takes all connections, nobody would ever find out that this one is back, and
   * it would have come back for nothing.
   */
  function lookAgain(endpoint: Endpoint): void {
    const name = nameOf(endpoint);
    if (looking.has(name) || isClosed) return;
    const timer = setTimeout(async () => {
      const far = await connected(dialled(endpoint), connectTimeoutMs);
      far?.destroy();
      looking.delete(name);
      if (isClosed || !failing.has(name)) return;
      if (far !== undefined) mark(endpoint, true);
      else if (addresses.current().some((one) => nameOf(one) === name)) lookAgain(endpoint);
      else failing.delete(name);
    }, lookAgainMs);
    looking.set(name, timer);
  }

  /** Counted before it is there: of many who come at once not all are to go to the same gateway. */
  function counted(endpoint: Endpoint): Socket {
    const name = nameOf(endpoint);
    busy.set(name, (busy.get(name) ?? 0) + 1);
    return dialled(endpoint).once('close', () => {
      const left = (busy.get(name) ?? 1) - 1;
      if (left > 0) busy.set(name, left);
      else busy.delete(name);
    });
  }

  return {
    async dial(isWanted) {
      const begunAt = performance.now();
      for (const endpoint of byLoad()) {
        const far = await connected(counted(endpoint), connectTimeoutMs);
        mark(endpoint, far !== undefined);
        if (isWanted() && far !== undefined) return far;
        far?.destroy();
        if (!isWanted() || performance.now() - begunAt > patienceMs) return undefined;
      }
      return undefined;
    },
    live: () => addresses.current().filter((endpoint) => !failing.has(nameOf(endpoint))).length,
    close() {
      isClosed = true;
      for (const timer of looking.values()) clearTimeout(timer);
    },
  };
}

function dialled({ url, address }: Endpoint): Socket {
  const { protocol, port } = new URL(url);
  const standard = protocol === 'https:' ? 443 : 80;
  return connect({
    host: address ?? hostOf(url),
    port: Number(port) || standard,
    noDelay: true,
    allowHalfOpen: true,
  });
}

/** The same connection once it is there, or undefined when it is not there in time. */
function connected(far: Socket, timeoutMs: number): Promise<Socket | undefined> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => far.destroy(), timeoutMs);
    far.once('connect', () => {
      clearTimeout(timer);
      resolve(far);
    });
    far.on('error', () => {});
    far.once('close', () => {
      clearTimeout(timer);
      resolve(undefined);
    });
  });
}
