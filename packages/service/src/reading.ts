import type { Socket } from 'node:net';

/** What Node reads a connection by, under names that it does not document. */
interface Handle {
  reading: boolean;
  /** @returns 0, or what went wrong */
  readStart(): number;
  readStop(): unknown;
}

/** Undefined once the connection is closed. */
function handleOf(connection: Socket): Handle | undefined {
  return Reflect.get(connection, '_handle') ?? undefined;
}

/**
 * Reads no more from a connection. The stream above is not paused, for Node resumes that behind every
 * request.
 */
export function stopReading(connection: Socket): void {
  const handle = handleOf(connection);
  if (!handle?.reading) return;
  handle.reading = false;
  handle.readStop();
}

/** Reads on from a connection; where the stream above is paused, not before Node resumes that. */
export function readOn(connection: Socket): void {
  const handle = handleOf(connection);
  if (!handle || handle.reading || connection.isPaused()) return;
  handle.reading = true;
  if (handle.readStart() !== 0) connection.destroy();
}

/**
 * Keeps a connection from being read while somebody wants it so: Node reads on by itself once a slow
 * client has taken its answers, or a body is read again.
 */
export function keepStopped(connection: Socket, isWanted: () => boolean): void {
  connection.on('resume', () => {
    if (isWanted()) stopReading(connection);
  });
}
