import type { AddressInfo } from 'node:net';
import { connect, createServer, type Socket } from 'node:net';
import type { Random } from '@bazar/simulation';

export type Trouble = 'drop' | 'delay' | 'duplicate' | 'cut on the way' | 'cut on the way back';
const troubles: readonly Trouble[] = [
  'drop',
  'delay',
  'duplicate',
  'cut on the way',
  'cut on the way back',
];

export interface HostileLine {
  readonly url: string;
  /** How many connections there were, and how many of them had which trouble. */
  readonly seen: Map<Trouble | 'connections', number>;
  close(): Promise<void>;
}

/**
 * A line of TCP to a service that treats a share of its connections badly, at random points: some
 * are dropped at once, some delayed, some cut in the middle of a request or of an answer, and of
 * some every byte of the request arrives twice, over two connections.
 */
export async function openHostileLine(
  target: URL,
  random: Random,
  share: number,
): Promise<HostileLine> {
  const seen = new Map<Trouble | 'connections', number>();
  const sockets = new Set<Socket>();
  const count = (what: Trouble | 'connections') => seen.set(what, (seen.get(what) ?? 0) + 1);

  function keep(socket: Socket): Socket {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    // A connection that is cut errs, on both of its sides.
    socket.on('error', () => {});
    return socket;
  }
  const dial = () => keep(connect(Number(target.port), target.hostname));

  const server = createServer((near) => {
    keep(near);
    count('connections');
    const trouble = random.chance(share) ? random.pick(troubles) : undefined;
    if (trouble !== undefined) count(trouble);
    if (trouble === 'drop') {
      near.resetAndDestroy();
      return;
    }
    const far = dial();
    near.on('close', () => far.destroy());
    far.on('close', () => near.destroy());
    if (trouble === 'delay') setTimeout(join, random.between(1, 300));
    else join();

    function join(): void {
      if (trouble === 'duplicate') near.pipe(dial()).resume();
      if (trouble === 'cut on the way') cutWithin(near, 400);
      if (trouble === 'cut on the way back') cutWithin(far, 900);
      near.pipe(far);
      far.pipe(near);
    }

    /** Cuts both sides once so many bytes have come from this one. */
    function cutWithin(from: Socket, maxBytes: number): void {
      let left = Math.floor(random.between(0, maxBytes));
      from.on('data', (bytes) => {
        left -= bytes.length;
        if (left > 0) return;
        near.resetAndDestroy();
        far.resetAndDestroy();
      });
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    seen,
    async close() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
