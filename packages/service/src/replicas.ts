import { type Caller, createCaller } from '@bazar/client/caller';
import { checkResponses } from '@bazar/client/check';
import { type UndiciOptions, undiciTransport } from '@bazar/client/undici';
import type { Contract } from '@bazar/contracts';

export interface ReplicasOptions extends UndiciOptions {
  /** Where the replicas listen; at least one. */
  readonly urls: readonly string[];
  /** The bearer token that their internal routes take. */
  readonly token?: string | undefined;
}

export interface Replicas<C extends Contract> {
  /** The calls of the contract, each to the replica whose turn it is; answers are checked. */
  next(): Caller<C>;
  close(): Promise<void>;
}

/** Connects to all replicas of a service, to be called in turn. */
export function connectReplicas<const C extends Contract>(
  contract: C,
  { urls, token, ...options }: ReplicasOptions,
): Replicas<C> {
  const check = checkResponses(contract);
  const headers = token === undefined ? {} : { authorization: `Bearer ${token}` };
  const transports = urls.map((url) => undiciTransport(url, options));
  const [first, ...others] = transports.map((transport) =>
    createCaller(contract, transport, { check, headers }),
  );
  if (first === undefined) throw new TypeError('there is no replica to connect to');
  const callers = [first, ...others];
  let turn = 0;
  return {
    next() {
      turn = (turn + 1) % callers.length;
      return callers[turn] ?? first;
    },
    async close() {
      await Promise.all(transports.map((transport) => transport.close()));
    },
  };
}
