/** What of a connection is needed to keep it from being read. */
export interface Pausable {
  isPaused(): boolean;
  pause(): unknown;
  resume(): unknown;
  on(event: 'resume', listener: () => void): unknown;
}

/** What Node reads a connection by, under names that it does not document. */
interface Handle {
  reading: boolean;
  readStart(): unknown;
  readStop(): unknown;
}

function isHandle(value: unknown): value is Handle {
  return (
    typeof value === 'object' &&
    value !== null &&
    'reading' in value &&
    'readStart' in value &&
    'readStop' in value
  );
}

function handleOf(connection: Pausable): Handle | undefined {
  const handle: unknown = Reflect.get(connection, '_handle');
  return isHandle(handle) ? handle : undefined;
}

/**
 * Reads no more from a connection. To pause the stream above it would take three times as long, and
 * Node resumes that behind every request.
 */
export function stopReading(connection: Pausable): void {
  const handle = handleOf(connection);
  if (handle === undefined) {
    connection.pause();
  } else if (handle.reading) {
    handle.reading = false;
    handle.readStop();
  }
}

/** Reads on from a connection. */
export function readOn(connection: Pausable): void {
  const handle = handleOf(connection);
  if (handle === undefined) {
    connection.resume();
  } else if (!handle.reading && !connection.isPaused()) {
    handle.reading = true;
    handle.readStart();
  }
}

/** Whether a connection is read from. */
export function isRead(connection: Pausable): boolean {
  return handleOf(connection)?.reading !== false && !connection.isPaused();
}

/**
 * Keeps a connection from being read while somebody wants it so: Node reads on by itself once a slow
 * client has taken its answers.
 */
export function keepStopped(connection: Pausable, isWanted: () => boolean): void {
  connection.on('resume', () => {
    if (isWanted()) stopReading(connection);
  });
}
