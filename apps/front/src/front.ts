import { connect, createServer, type Server, type Socket } from 'node:net';
import type { Addresses, Endpoint, ReplicasLog } from '@bazar/service/replicas';

export interface FrontEffects {
  readonly addresses: Pick<Addresses, 'current'>;
  readonly log: ReplicasLog;
  readonly connectTimeoutMs?: number;
  readonly lookAgainMs?: number;
}

/** One port before several gateways. */
export interface Front {
  /** @returns the port that it listens on; 0 asks for any */
  listen(host: string, port: number): Promise<number>;
  /**
   * Takes no more connections, ends those on which nobody waits for an answer, and lets the others
   * end by themselves, for so long.
   */
  close(graceMs: number): Promise<void>;
}

const policy = {
  /** A machine that is gone does not say so. */
  connectTimeoutMs: 1000,
  /** Those that took none are dialled so often, at nobody's cost but ours. */
  lookAgainMs: 500,
  /** While closing: how often connections are looked at, and how long one is quiet behind an answer. */
  sweepMs: 100,
  quietMs: 300,
  /** As many as a gateway takes. */
  maxConnections: 10_000,
};

/**
 * Passes each connection on to the gateway that has the fewest from here, and to the next one when
 * that does not take it. It reads nothing of what goes through: a request that was under way when
 * its gateway died ends with its connection, and the caller, who has its key, asks again.
 */
export function createFront({ addresses, log, ...options }: FrontEffects): Front {
  const { connectTimeoutMs, lookAgainMs } = { ...policy, ...options };
  /** How many connections each has. */
  const busy = new Map<string, number>();
  const open = new Set<Socket>();
  /** Those that are joined to a gateway's, by what came last, and when. */
  const joined = new Map<Socket, { isAnswered: boolean; at: number }>();
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

  async function pass(near: Socket): Promise<void> {
    for (const endpoint of byLoad()) {
      const far = await dial(endpoint, connectTimeoutMs);
      if (near.destroyed) {
        far?.destroy();
        return;
      }
      mark(endpoint, far !== undefined);
      if (far !== undefined) return join(near, far, nameOf(endpoint));
    }
    near.resetAndDestroy();
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
    if (looking.has(name)) return;
    const timer = setTimeout(async () => {
      const far = await dial(endpoint, connectTimeoutMs);
      far?.destroy();
      looking.delete(name);
      if (isClosed || !failing.has(name)) return;
      if (far !== undefined) mark(endpoint, true);
      else if (addresses.current().some((one) => nameOf(one) === name)) lookAgain(endpoint);
      else failing.delete(name);
    }, lookAgainMs);
    looking.set(name, timer);
  }

  function join(near: Socket, far: Socket, name: string): void {
    open.add(far);
    busy.set(name, (busy.get(name) ?? 0) + 1);
    // Not a clean end, which might be taken for the end of an answer.
    const cut = () => {
      near.resetAndDestroy();
      far.resetAndDestroy();
    };
    near.on('error', cut);
    far.on('error', cut);
    far.on('close', () => {
      open.delete(far);
      busy.set(name, (busy.get(name) ?? 1) - 1);
      near.end();
    });
    const last = { isAnswered: true, at: performance.now() };
    const note = (isAnswered: boolean) => () =>
      Object.assign(last, { isAnswered, at: performance.now() });
    near.on('data', note(false));
    far.on('data', note(true));
    joined.set(near, last);
    near.on('close', () => {
      joined.delete(near);
      far.destroySoon();
    });
    near.pipe(far);
    far.pipe(near);
  }

  /** Behind its last answer a client may keep its connection for a minute, and need nothing of us. */
  function endIdle(): void {
    const now = performance.now();
    for (const [near, { isAnswered, at }] of joined) {
      if (isAnswered && now - at >= policy.quietMs) near.end();
    }
  }

  const server: Server = createServer({ allowHalfOpen: true, noDelay: true }, (near) => {
    open.add(near);
    near.on('close', () => open.delete(near));
    // Until it is joined: whoever goes away while it waits.
    near.on('error', () => {});
    void pass(near);
  });
  server.maxConnections = policy.maxConnections;

  return {
    listen: (host, port) =>
      new Promise((resolve, reject) => {
        server.once('error', reject);
        server.listen(port, host, () => {
          server.off('error', reject);
          const address = server.address();
          resolve(typeof address === 'object' && address !== null ? address.port : port);
        });
      }),
    async close(graceMs) {
      isClosed = true;
      for (const timer of looking.values()) clearTimeout(timer);
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      const sweeping = setInterval(endIdle, policy.sweepMs);
      const timer = setTimeout(() => {
        for (const socket of open) socket.destroy();
      }, graceMs);
      await closed;
      clearTimeout(timer);
      clearInterval(sweeping);
    },
  };
}

const nameOf = ({ url, address }: Endpoint): string =>
  address === undefined ? url : `${url} ${address}`;

/** A connection, or undefined when there is none in time. */
function dial({ url, address }: Endpoint, timeoutMs: number): Promise<Socket | undefined> {
  const { protocol, hostname, port } = new URL(url);
  const host = address ?? hostname.replace(/^\[(.*)\]$/, '$1');
  const standard = protocol === 'https:' ? 443 : 80;
  const far = connect({ host, port: Number(port) || standard, noDelay: true, allowHalfOpen: true });
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
