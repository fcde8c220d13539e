import { createCaller } from '@bazar/client/caller';
import { undiciTransport } from '@bazar/client/undici';
import { gatewayInternal, type Invalidation } from '@bazar/contracts/internal';

const policy = {
  // One carries the posts, another the probe that precedes a new lease.
  connections: 2,
  maxPending: 16,
  keepAliveTimeoutMs: 30_000,
  maxResponseBytes: 64 * 1024,
};

/** How many gateways are connected to; a shop with more would begin anew with each. */
const maxGateways = 256;

export interface Gateways {
  /** Rejects with a `Failure` unless the gateway acknowledges. */
  invalidate(url: string, body: Invalidation, timeoutMs: number): Promise<void>;
  close(): Promise<void>;
}

/** Connections to the gateways that were heard of, made as they are needed. */
export function connectGateways(token: string | undefined): Gateways {
  const connected = new Map<string, ReturnType<typeof connect>>();
  const headers = token === undefined ? {} : { authorization: `Bearer ${token}` };

  function connect(url: string) {
    const transport = undiciTransport(url, policy);
    return { caller: createCaller(gatewayInternal, transport, { headers }), transport };
  }

  function gateway(url: string) {
    const made = connected.get(url) ?? connect(url);
    // The one that was used least lately comes first, and goes first.
    connected.delete(url);
    connected.set(url, made);
    for (const [old, { transport }] of connected) {
      if (connected.size <= maxGateways) break;
      connected.delete(old);
      void transport.close();
    }
    return made;
  }

  return {
    async invalidate(url, body, timeoutMs) {
      await gateway(url).caller.invalidations({ body }, { timeoutMs });
    },
    async close() {
      await Promise.all([...connected.values()].map(({ transport }) => transport.close()));
    },
  };
}
