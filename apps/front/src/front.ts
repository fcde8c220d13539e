import { type AddressInfo, createServer, type Socket } from 'node:net';
import type { Served } from '@bazar/service';
import { type CrowdFigures, type CrowdOptions, gatherCrowd } from './crowd.js';
import { type GatewaysEffects, watchGateways } from './gateways.js';

export interface FrontEffects extends GatewaysEffects, CrowdOptions {}

/** One port before several gateways. */
export interface Front extends Omit<Served, 'log'> {
  figures(): CrowdFigures;
  /** How many gateways take connections, as far as is known. */
  live(): number;
  /**
   * Takes no more connections, ends those on which nobody waits for an answer, and lets the others
   * end by themselves, for so long: 12 s unless told.
   */
  close(graceMs?: number): Promise<void>;
}

const policy = {
  /** While closing: how often connections are looked at, and how long one is quiet behind an answer. */
  sweepMs: 100,
  idleMs: 300,
  /** More than the patience of any caller (10 s). */
  graceMs: 12_000,
};

/**
 * Passes each connection on to a gateway. It reads nothing of what goes through: a request that was
 * under way when its gateway died ends with its connection, and the caller, who has its key, asks
 * again.
 */
export function createFront(effects: FrontEffects): Front {
  const { log } = effects;
  const gateways = watchGateways(effects);
  const crowd = gatherCrowd(effects);

  async function pass(near: Socket): Promise<void> {
    crowd.add(near);
    // Until it is joined: whoever goes away while it waits.
    near.on('error', () => {});
    const far = await gateways.dial(() => !near.destroyed);
    if (far !== undefined) crowd.join(near, far);
    else near.resetAndDestroy();
  }

  const server = createServer({ allowHalfOpen: true, noDelay: true }, (near) => {
    if (crowd.makeRoom()) void pass(near);
    else near.resetAndDestroy();
  });

  return {
    listen: ({ host, port, backlog, listenTextResolver }) =>
      new Promise((resolve, reject) => {
        server.once('error', reject);
        server.listen({ host, port, backlog }, () => {
          server.off('error', reject);
          const url = urlOf(server.address());
          log('info', listenTextResolver(url));
          resolve(url);
        });
      }),
    figures: crowd.figures,
    live: gateways.live,
    async close(graceMs = policy.graceMs) {
      gateways.close();
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      const sweeping = setInterval(() => crowd.retireQuiet(policy.idleMs), policy.sweepMs);
      const timer = setTimeout(crowd.destroy, graceMs);
      await closed;
      clearTimeout(timer);
      clearInterval(sweeping);
    },
  };
}

function urlOf(address: AddressInfo | string | null): string {
  if (typeof address !== 'object' || address === null) throw new TypeError('it does not listen');
  const { family, address: host, port } = address;
  return `http://${family === 'IPv6' ? `[${host}]` : host}:${port}`;
}
