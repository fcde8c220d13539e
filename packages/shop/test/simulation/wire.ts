import type { Transport, TransportRequest, TransportResponse } from '@bazar/client/caller';
import { Failure, problemMediaType, problemOf } from '@bazar/contracts';
import {
  createNetwork,
  type Network,
  NetworkError,
  type Node,
  type Random,
} from '@bazar/simulation';

/** A request as it travels; a signal cannot. */
export type Message = Omit<TransportRequest, 'signal'>;

/** What a route is given of a message. */
export interface Asked {
  /** The second part of the path, such as the 2 of `/info/2`. */
  readonly argument: string;
  readonly query: URLSearchParams;
  readonly headers: Message['headers'];
  readonly body: unknown;
}

/** By method and first part of the path, such as `GET /info`. */
export type Routes = Readonly<Record<string, (asked: Asked) => Promise<unknown>>>;

export interface Weather {
  readonly loss: number;
  readonly duplication: number;
  readonly delayMs: readonly [shortest: number, longest: number];
  readonly stragglers?: number;
  readonly breaks?: number;
}

/** The network that all of the shop and its buyers share. */
export interface Lines {
  /** @returns how to stop listening, which resolves once all that was heard is answered */
  listen(node: Node, routes: Routes): () => Promise<void>;
  /** The transport of the real client, from a node to the one of that name. */
  transport(from: Node, to: string): Transport;
  partition(one: string, other: string): void;
  heal(): void;
  /** From now on nothing more is lost, doubled or late. */
  calmDown(): void;
}

const calm: Weather = { loss: 0, duplication: 0, delayMs: [0.1, 2] };

/** @param onError is told what a service answers with its apology for a mistake of its own */
export function createLines(
  random: Random,
  weather: Weather,
  onError: (where: string, error: unknown) => void,
): Lines {
  const stormy = createNetwork<Message, TransportResponse>({ random, ...weather });
  const quiet = createNetwork<Message, TransportResponse>({ random: random.fork('calm'), ...calm });
  let network: Network<Message, TransportResponse> = stormy;

  return {
    listen(node, routes) {
      const inHand = new Set<Promise<TransportResponse>>();
      const handler = (message: Message) => {
        const answer = serve(routes, message, (error) => {
          // The dead are told that their disk broke, and tell nobody.
          if (node.alive) onError(node.name, error);
        });
        inHand.add(answer);
        return answer.finally(() => inHand.delete(answer));
      };
      const deafen = [stormy.listen(node, handler), quiet.listen(node, handler)];
      return async () => {
        for (const stop of deafen) stop();
        // As Fastify's close does: whoever is being answered still needs the files.
        await Promise.all(inHand);
      };
    },
    transport:
      (from, to) =>
      ({ signal, ...message }) =>
        new Promise((resolve, reject) => {
          const giveUp = () => reject(signal?.reason);
          signal?.addEventListener('abort', giveUp);
          network
            .call(from, to, message, message.timeoutMs)
            .finally(() => signal?.removeEventListener('abort', giveUp))
            .then(resolve, (error: unknown) => reject(told(error)));
        }),
    partition: stormy.partition,
    heal: stormy.heal,
    calmDown() {
      network = quiet;
    },
  };
}

/** What the real transports say. */
function told(error: unknown): unknown {
  if (!(error instanceof NetworkError) || error.reason !== 'timeout') return error;
  return new Failure('deadline_exceeded', error.message);
}

/** Answers as the service kit does: a success with its body, or a problem document. */
async function serve(
  routes: Routes,
  { method, path, headers, body }: Message,
  onError: (error: unknown) => void,
): Promise<TransportResponse> {
  const { pathname, searchParams } = new URL(path, 'http://shop');
  const [, name = '', argument = ''] = pathname.split('/');
  const route = routes[`${method} /${name}`];
  try {
    if (route === undefined) throw new Failure('route_not_found', path);
    const content = body === undefined ? undefined : JSON.parse(body);
    const answer = await route({ argument, query: searchParams, headers, body: content });
    return answer === undefined
      ? { status: 204, headers: {}, body: '' }
      : respond(200, 'application/json', answer);
  } catch (error) {
    if (!(error instanceof Failure)) onError(error);
    const failure = error instanceof Failure ? error : new Failure('internal', 'a mistake');
    return respond(failure.status, problemMediaType, problemOf(failure, 'simulated'));
  }
}

function respond(status: number, type: string, content: unknown): TransportResponse {
  return { status, headers: { 'content-type': type }, body: JSON.stringify(content) };
}
