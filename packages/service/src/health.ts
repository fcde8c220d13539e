import { Failure, health } from '@bazar/contracts';
import type { FastifyInstance } from 'fastify';
import { type Handlers, mount } from './mount.js';

/** Dependency → `ok`, or one sentence that says what is wrong with it. */
export type Dependencies = Readonly<Record<string, string>>;

/** Mounts the two health routes; a dependency that is not `ok` makes the service not ready. */
export function addHealth(
  app: FastifyInstance,
  ready: () => Dependencies | Promise<Dependencies>,
): void {
  const handlers: Handlers<typeof health> = {
    live: () => ({ status: 'ok' }),
    ready: async () => {
      const dependencies: Record<string, 'ok'> = {};
      for (const [name, state] of Object.entries(await ready())) {
        if (state !== 'ok') throw new Failure('unavailable', `${name}: ${state}`);
        dependencies[name] = 'ok';
      }
      return { status: 'ok', dependencies };
    },
  };
  mount(app, health, handlers);
}
