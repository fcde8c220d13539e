import { Failure, health } from '@bazar/contracts';
import type { FastifyInstance } from 'fastify';
import { type Handlers, mount } from './mount.js';

/**
 * Dependency → `ok`, or what is wrong with it: a sentence, or a failure whose code says more than
 * that it is not available.
 */
export type Dependencies = Readonly<Record<string, string | Failure>>;

type Look = () => Dependencies | Promise<Dependencies>;

/** For so long one look answers all who ask: no balancer tells a quarter of a second apart. */
const keptMs = 250;

/**
 * Mounts the two health routes; a dependency that is not `ok` makes the service not ready. The
 * problem names all of them, and has the code `storage_full` when nothing worse is wrong: then all
 * but writing works.
 * @param now milliseconds on a clock that only goes forward
 */
export function addHealth(app: FastifyInstance, ready: Look, now: () => number): void {
  const look = shared(ready, now);
  const handlers: Handlers<typeof health> = {
    live: () => ({ status: 'ok' }),
    ready: async () => {
      const states = Object.entries(await look());
      const wrong = states.filter(([, state]) => state !== 'ok');
      if (wrong.length > 0) throw notReady(states, wrong);
      const dependencies = states.map(([name]): [string, 'ok'] => [name, 'ok']);
      return { status: 'ok', dependencies: Object.fromEntries(dependencies) };
    },
  };
  mount(app, health, handlers, { ownTime: true });
}

/**
 * Anybody may ask for the health as often as they like, and each look is a call to every replica
 * behind: so all who ask while one is under way wait for that one, and its outcome, a mistake
 * included, is kept for a moment. Else whoever asks often enough makes a healthy shop look ill.
 */
function shared(ready: Look, now: () => number): () => Promise<Dependencies> {
  let latest: Promise<Dependencies> | undefined;
  let keptUntil = Number.POSITIVE_INFINITY;
  return () => {
    if (latest !== undefined && now() < keptUntil) return latest;
    keptUntil = Number.POSITIVE_INFINITY;
    const keep = () => {
      keptUntil = now() + keptMs;
    };
    const looking = (async () => ready())();
    latest = looking;
    looking.then(keep, keep);
    return looking;
  };
}

type States = readonly (readonly [string, string | Failure])[];

function notReady(states: States, wrong: States): Failure {
  const isFull = wrong.every(
    ([, state]) => state instanceof Failure && state.code === 'storage_full',
  );
  const sentenceOf = (state: string | Failure) =>
    state instanceof Failure ? state.message : state;
  const sentences = wrong.map(([name, state]) => `${name}: ${sentenceOf(state)}`);
  const dependencies = Object.fromEntries(
    states.map(([name, state]) => [name, sentenceOf(state)] as const),
  );
  return new Failure(isFull ? 'storage_full' : 'unavailable', sentences.join('; '), {
    members: { dependencies },
  });
}
