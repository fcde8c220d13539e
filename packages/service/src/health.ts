import { Failure, health } from '@bazar/contracts';
import type { FastifyInstance } from 'fastify';
import { type Handlers, mount } from './mount.js';

/**
 * Dependency → `ok`, or what is wrong with it: a sentence, or a failure whose code says more than
 * that it is not available.
 */
export type Dependencies = Readonly<Record<string, string | Failure>>;

/**
 * Mounts the two health routes; a dependency that is not `ok` makes the service not ready. The
 * problem names all of them, and has the code `storage_full` when nothing worse is wrong: then all
 * but writing works.
 */
export function addHealth(
  app: FastifyInstance,
  ready: () => Dependencies | Promise<Dependencies>,
): void {
  const handlers: Handlers<typeof health> = {
    live: () => ({ status: 'ok' }),
    ready: async () => {
      const states = Object.entries(await ready());
      const wrong = states.filter(([, state]) => state !== 'ok');
      if (wrong.length > 0) throw notReady(wrong);
      const dependencies = states.map(([name]): [string, 'ok'] => [name, 'ok']);
      return { status: 'ok', dependencies: Object.fromEntries(dependencies) };
    },
  };
  mount(app, health, handlers, { ownTime: true });
}

function notReady(wrong: readonly (readonly [string, string | Failure])[]): Failure {
  const isFull = wrong.every(
    ([, state]) => state instanceof Failure && state.code === 'storage_full',
  );
  const sentences = wrong.map(
    ([name, state]) => `${name}: ${state instanceof Failure ? state.message : state}`,
  );
  return new Failure(isFull ? 'storage_full' : 'unavailable', sentences.join('; '));
}
