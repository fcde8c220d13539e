/** What of a connection is needed to keep it from being read. */
export interface Pausable {
  isPaused(): boolean;
  pause(): unknown;
  on(event: 'resume', listener: () => void): unknown;
  emit(event: 'pause'): unknown;
}

/**
 * Keeps a connection paused while somebody wants it so, for Node resumes it whenever a request on it
 * was read to its end. It does that a moment later: a connection that was paused meanwhile counts as
 * paused and is read from all the same, and pausing it again changes nothing. Then Node has to hear
 * once more that it is paused.
 */
export function keepPaused(connection: Pausable, isWanted: () => boolean): void {
  connection.on('resume', () => {
    if (!isWanted()) return;
    if (connection.isPaused()) connection.emit('pause');
    else connection.pause();
  });
}
