import { createServer, connect as dial, type Socket } from 'node:net';

/** A line between two ends, over real sockets, which can be cut, silenced and listened to. */
export interface Line {
  /** The port of this machine that leads to the other end. */
  readonly port: number;
  /** Ends all connections at once; `refuse` closes the port to new ones too, until it is opened. */
  cut(options?: { readonly refuse: boolean }): void;
  /**
   * From now on nothing arrives at either end, not even that the other one has gone. What was sent
   * meanwhile arrives after `open`, as TCP sends it again.
   */
  silence(): void;
  open(): void;
  /** What becomes of bytes on their way to the far end; `swallow` loses the answers from then on. */
  onSent: (bytes: Buffer) => 'pass' | 'swallow';
  close(): Promise<void>;
}

/** @param farPort of this machine; asked at each connection where it is not known yet */
export async function openLine(farPort: number | (() => number)): Promise<Line> {
  const pairs = new Set<readonly [near: Socket, far: Socket]>();
  let isSilent = false;
  let isRefusing = false;

  function join(near: Socket): void {
    if (isRefusing) {
      near.destroy();
      return;
    }
    const far = dial(typeof farPort === 'number' ? farPort : farPort(), '127.0.0.1');
    const pair = [near, far] as const;
    let isSwallowing = false;
    pairs.add(pair);
    near.on('data', (bytes) => {
      if (line.onSent(bytes) === 'swallow') isSwallowing = true;
      far.write(bytes);
    });
    far.on('data', (bytes) => {
      if (!isSwallowing) near.write(bytes);
    });
    for (const [from, to] of [pair, [far, near]] as const) {
      from.setNoDelay(true);
      from.on('error', () => {});
      from.on('close', () => {
        pairs.delete(pair);
        to.destroy();
      });
      if (isSilent) from.pause();
    }
  }

  const server = createServer(join);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new TypeError('no port');
  const line: Line = {
    port: address.port,
    cut({ refuse } = { refuse: false }) {
      isRefusing = refuse;
      for (const socket of [...pairs].flat()) socket.destroy();
    },
    silence() {
      isSilent = true;
      for (const socket of [...pairs].flat()) socket.pause();
    },
    open() {
      isSilent = false;
      isRefusing = false;
      for (const socket of [...pairs].flat()) socket.resume();
    },
    onSent: () => 'pass',
    async close() {
      line.cut({ refuse: true });
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return line;
}
