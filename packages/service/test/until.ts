import type { Socket } from 'node:net';

/**
 * Waits for a state that is certain to come.
 *
 * @throws Error when it does not, after half a minute
 */
export async function until(what: string, isSo: () => boolean): Promise<void> {
  for (let waits = 0; !isSo(); waits += 1) {
    if (waits > 6000) throw new Error(`It never came that ${what}.`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** Whether a connection of a server that is open is read from, under a name that Node does not document. */
export function isReadFrom(connection: Socket): boolean {
  return Reflect.get(Reflect.get(connection, '_handle') ?? {}, 'reading') !== false;
}
