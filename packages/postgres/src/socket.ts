import { connect as dial, isIP, type Socket } from 'node:net';
import { connect as secure } from 'node:tls';
import { DatabaseError, LinkLost } from './trouble.js';

/** How a connection is guarded, by what a URL says in its `sslmode`; the words are libpq's. */
const modes = {
  disable: 'plain',
  // Encrypted, to whoever answers.
  require: 'encrypted',
  'verify-ca': 'verified',
  'verify-full': 'verified',
} as const;

type Mode = (typeof modes)[keyof typeof modes];

function isMode(text: string): text is keyof typeof modes {
  return Object.hasOwn(modes, text);
}

/** @throws DatabaseError for a mode that is none of ours: nobody should believe to be encrypted */
function modeOf({ searchParams }: URL): Mode {
  if (searchParams.has('ssl')) throw new DatabaseError('its URL has ssl, where sslmode is meant');
  const mode = searchParams.get('sslmode') ?? 'disable';
  if (isMode(mode)) return modes[mode];
  const known = Object.keys(modes).join(', ');
  throw new DatabaseError(`its URL has an sslmode that is none of ${known}`);
}

/** "Shall we speak TLS?", which a server answers with S for yes: its length, and a magic number. */
const tlsRequest = Buffer.from([0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f]);

/**
 * Begins a connection to the server of a URL. The driver could secure it by itself; but then it would
 * have a second socket over ours, which falls when ours is destroyed, and nobody would hear its error.
 * @param began told of the socket before anything can go wrong with it, so that it can be destroyed
 */
export async function openSocket(url: URL, began: (socket: Socket) => void): Promise<Socket> {
  const mode = modeOf(url);
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1');
  const socket = dial({ host, port: Number(url.port || 5432), noDelay: true });
  began(socket);
  if (mode === 'plain') return socket;
  await settled(socket, 'connect');
  socket.write(tlsRequest);
  const answer = await settled(socket, 'data');
  if (String(answer) !== 'S') {
    socket.destroy();
    throw new DatabaseError('it does not encrypt its connections');
  }
  const secured = secure({
    socket,
    rejectUnauthorized: mode === 'verified',
    ...(isIP(host) === 0 && { servername: host }),
  });
  began(secured);
  await settled(secured, 'secureConnect');
  return secured;
}

/** Waits for what should happen next. @throws what went wrong instead */
function settled(socket: Socket, event: string): Promise<unknown> {
  return new Promise((resolve, reject) => {
    function end(error?: Error): void {
      socket.off(event, happened).off('error', end).off('close', closed);
      if (error !== undefined) reject(error);
    }
    function happened(what: unknown): void {
      end();
      resolve(what);
    }
    function closed(): void {
      end(new LinkLost('the connection was closed while it was opened'));
    }
    socket.on(event, happened).on('error', end).on('close', closed);
  });
}
