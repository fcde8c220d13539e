import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import type { After } from '@bazar/contracts/internal';
import { after as systemAfter } from './after.js';

/** Where one replica listens. */
export interface Endpoint {
  readonly url: string;
  /** The address to connect to, where the name in the URL has several. */
  readonly address?: string;
}

/** One address of a name, as `dns.lookup` has it. */
export interface Found {
  readonly address: string;
  readonly family: number;
}

/** Says what has become of replicas and their names, one line for each change. */
export type ReplicasLog = (level: 'info' | 'warn', sentence: string, cause?: unknown) => void;

export interface AddressesEffects {
  readonly log: ReplicasLog;
  /** All addresses of a name; the system's own resolver unless told. */
  readonly lookup?: (hostname: string) => Promise<readonly Found[]>;
  readonly after?: After;
}

/** The replicas of a service, as they come and go. */
export interface Addresses {
  /** At least one. */
  current(): readonly Endpoint[];
  /** Runs when they have changed; the returned function takes the order back. */
  onChange(run: () => void): () => void;
  close(): void;
}

const policy = {
  /** Docker's and Kubernetes' own name servers know of a change within seconds, too. */
  lookupMs: 5000,
  /** A name server that answers with more is not taken at its word. */
  maxAddresses: 100,
};

const systemLookup = (hostname: string) => lookup(hostname, { all: true });

/**
 * Follows the addresses behind the names in `urls`, for a name may stand for all replicas of a
 * service (`tasks.catalog` in a Docker swarm, a headless service in Kubernetes). Until the first
 * answer of the name server, and where it never comes, a name is one replica, and connecting finds
 * its address. What was found stays when a later lookup fails. An address in a URL is not looked up.
 */
export function watchAddresses(urls: readonly string[], effects: AddressesEffects): Addresses {
  const { log, lookup: find = systemLookup, after = systemAfter } = effects;
  const listeners = new Set<() => void>();
  const known = new Map(urls.map((url) => [url, [{ url }] as readonly Endpoint[]]));
  const cancels = new Map<string, () => void>();
  let closed = false;

  function update(url: string, endpoints: readonly Endpoint[]): void {
    const before = known.get(url) ?? [];
    if (endpoints.map(nameOf).join() === before.map(nameOf).join()) return;
    known.set(url, endpoints);
    for (const run of [...listeners]) run();
  }

  async function follow(url: string, hostname: string, wasFailing: boolean): Promise<void> {
    let isFailing = false;
    try {
      const found = await find(hostname);
      if (closed) return;
      const endpoints = endpointsOf(url, found);
      if (endpoints.length === 0) throw new Error('it has no address');
      update(url, endpoints);
      if (wasFailing) log('info', `the name ${hostname} can be looked up again`);
    } catch (error) {
      if (closed) return;
      isFailing = true;
      if (!wasFailing) {
        log('warn', `the name ${hostname} cannot be looked up: what is known of it stays`, error);
      }
    }
    cancels.set(
      url,
      after(policy.lookupMs, () => void follow(url, hostname, isFailing)),
    );
  }

  for (const url of known.keys()) {
    const hostname = hostOf(url);
    if (isIP(hostname) === 0) void follow(url, hostname, false);
  }
  return {
    current: () => [...known.values()].flat(),
    onChange(run) {
      listeners.add(run);
      return () => listeners.delete(run);
    },
    close() {
      closed = true;
      for (const cancel of cancels.values()) cancel();
    },
  };
}

/** The host in a URL as the system takes it: an IPv6 address without its brackets. */
export function hostOf(url: string): string {
  return new URL(url).hostname.replace(/^\[(.*)\]$/, '$1');
}

/** Says in one word which replica is meant. */
export function nameOf({ url, address }: Endpoint): string {
  return address === undefined ? url : `${url} at ${address}`;
}

/**
 * The replicas that the addresses of a name stand for. An IPv4 and an IPv6 address of one name lead
 * to the same machine: two such are one replica, for which connecting tries both (RFC 8305), and of
 * more only one family counts.
 */
function endpointsOf(url: string, found: readonly Found[]): readonly Endpoint[] {
  const families = [4, 6].map((wanted) =>
    found.filter(({ family }) => family === wanted).map(({ address }) => address),
  );
  const [four = [], six = []] = families.map((addresses) => [...new Set(addresses)].sort());
  if (four.length === 1 && six.length === 1) return [{ url }];
  const more = six.length > four.length ? six : four;
  return more.slice(0, policy.maxAddresses).map((address) => ({ url, address }));
}
