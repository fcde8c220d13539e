import { createServer, connect as dial, type Socket } from 'node:net';

/** Stands between two services as the network does, and can be as bad as one. */
export interface Wire {
  readonly url: string;
  /** Breaks every connection that there is. */
  cut(): void;
  /** Keeps everything on its way until it is let go, as a network that is away for a while. */
  hold(): void;
  letGo(): void;
  close(): Promise<void>;
}

/** @param target asked at each connection: the one behind may not be there yet */
export async function startWire(target: () => string): Promise<Wire> {
  const sockets = new Set<Socket>();
  let held = false;
  const server = createServer((near) => {
    const { hostname, port } = new URL(target());
    const far = dial(Number(port), hostname);
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(from);
      from.on('data', (chunk) => to.write(chunk));
      from.on('end', () => to.end());
      from.on('error', () => to.destroy());
      from.on('close', () => {
        sockets.delete(from);
        to.destroy();
      });
      if (held) from.pause();
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  return {
    url: `http://127.0.0.1:${port}`,
    cut() {
      for (const socket of sockets) socket.destroy();
    },
    hold() {
      held = true;
      for (const socket of sockets) socket.pause();
    },
    letGo() {
      held = false;
      for (const socket of sockets) socket.resume();
    },
    async close() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
