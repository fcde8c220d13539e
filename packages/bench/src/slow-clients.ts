import { connect, type Socket } from 'node:net';

/** What slow or broken clients do to a server: each keeps a connection and gives nothing for it. */
const manners = ['mute', 'headers', 'body', 'deaf'] as const;
export type Manner = (typeof manners)[number];

export interface SlowClients {
  /** How many connections are open now, by what those behind them do. */
  open(): Readonly<Record<Manner, number>>;
  /** How many connections the server has ended so far. */
  ended(): number;
  leave(): void;
}

const paceMs = 1000;
/** Some 200 kB of answers: more than the buffers of a connection that nobody reads from take. */
const unread = 400;

const beginnings: Readonly<Record<Manner, string>> = {
  // Says nothing at all.
  mute: '',
  // Sends its headers a byte at a time (the attack known as Slowloris).
  headers: 'GET /info/1 HTTP/1.1\r\nhost: shop\r\nx-slow: ',
  // Sends its body a byte at a time.
  body: 'POST /purchase/1 HTTP/1.1\r\nhost: shop\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n',
  // Asks again and again, and reads no answer.
  deaf: 'GET /info/1 HTTP/1.1\r\nhost: shop\r\n\r\n'.repeat(unread),
};

/** As many connections as told, in equal parts of each kind; one that is ended comes back at once. */
export function sendSlowClients(url: string, connections: number): SlowClients {
  const { hostname, port } = new URL(url);
  const sockets = new Map<Socket, Manner>();
  let ended = 0;
  let isOver = false;

  function come(manner: Manner): void {
    const socket = connect({ host: hostname, port: Number(port) });
    sockets.set(socket, manner);
    socket.write(beginnings[manner]);
    if (manner === 'deaf') socket.pause();
    else socket.resume();
    socket.on('error', () => socket.destroy());
    socket.on('close', () => {
      sockets.delete(socket);
      if (isOver) return;
      ended += 1;
      come(manner);
    });
  }

  for (let one = 0; one < connections; one += 1) come(manners[one % manners.length] ?? 'mute');
  const dripping = setInterval(() => {
    for (const [socket, manner] of sockets) {
      if (manner === 'headers' || manner === 'body') socket.write('x');
    }
  }, paceMs);

  return {
    open() {
      const open = { mute: 0, headers: 0, body: 0, deaf: 0 };
      for (const [socket, manner] of sockets) if (!socket.connecting) open[manner] += 1;
      return open;
    },
    ended: () => ended,
    leave() {
      isOver = true;
      clearInterval(dripping);
      for (const socket of sockets.keys()) socket.destroy();
    },
  };
}
