import type { Node } from './clock.js';
import type { Random } from './random.js';

/** Answers a request; what it rejects with reaches the caller as a `NetworkError`. */
export type Handler<Request, Response> = (request: Request, from: string) => Promise<Response>;

export interface Network<Request, Response> {
  /**
   * Lets a node answer under its name, until it is killed or the returned function is called;
   * what was handed to it by then is still answered.
   * @throws Error while another living node has the name
   */
  listen(node: Node, handler: Handler<Request, Response>): () => void;
  /**
   * Sends a request and waits, on the caller's clock, for its answer.
   * @throws NetworkError `refused` when nobody listens: it was not handed over; `timeout` or
   *   `broken` when nothing is known of it; `failed` when the handler rejected
   */
  call(from: Node, to: string, request: Request, timeoutMs: number): Promise<Response>;
  /** Cuts two nodes off from each other; what is on its way between them is lost. */
  partition(one: string, other: string): void;
  /** Mends every cut. */
  heal(): void;
}

/** Why there is no answer. */
export class NetworkError extends Error {
  override name = 'NetworkError';
  readonly reason: 'refused' | 'timeout' | 'broken' | 'failed';

  constructor(reason: NetworkError['reason'], message: string) {
    super(message);
    this.reason = reason;
  }
}

export interface NetworkOptions {
  readonly random: Random;
  /** How probable it is that a request or an answer is lost, from 0 to 1. */
  readonly loss?: number;
  /** How probable it is that a request that was handed over is handed over once more. */
  readonly duplication?: number;
  /** How long a request or an answer is on its way; over a caller's timeout, it comes late. */
  readonly delayMs?: readonly [shortest: number, longest: number];
  /** How probable it is that something takes `straggleMs` instead, from 0 to 1. */
  readonly stragglers?: number;
  readonly straggleMs?: readonly [shortest: number, longest: number];
  /** How probable it is that the connection breaks under a caller, at any time of the call. */
  readonly breaks?: number;
}

const policy = { delayMs: [0.1, 2], straggleMs: [20, 400] } as const;

interface Listener<Request, Response> {
  readonly node: Node;
  readonly handler: Handler<Request, Response>;
}

/**
 * A network between nodes that loses, delays, reorders and doubles what it carries. All of it
 * passes through JSON, so that nothing is shared between two nodes. The timers are the nodes' own:
 * one that is paused finds what came meanwhile when it goes on, and one that was killed neither
 * takes, answers nor learns anything.
 */
export function createNetwork<Request = unknown, Response = unknown>({
  random: parent,
  loss = 0,
  duplication = 0,
  delayMs = policy.delayMs,
  stragglers = 0,
  straggleMs = policy.straggleMs,
  breaks = 0,
}: NetworkOptions): Network<Request, Response> {
  const random = parent.fork('network');
  const listeners = new Map<string, Listener<Request, Response>>();
  const cuts = new Set<string>();

  const cutBetween = (one: string, other: string) => JSON.stringify([one, other].sort());

  /** Carries something from one node to another, where it is taken, or loses it. */
  function carry(from: string, to: Node, take: () => void): void {
    if (random.chance(loss)) return;
    const cut = cutBetween(from, to.name);
    if (cuts.has(cut)) return;
    const isStraggler = stragglers > 0 && random.chance(stragglers);
    to.after(random.between(...(isStraggler ? straggleMs : delayMs)), () => {
      if (!cuts.has(cut)) take();
    });
  }

  /** Hands a request over, and its answer back to whoever still waits. */
  function handOver(
    { node, handler }: Listener<Request, Response>,
    from: Node,
    text: string,
    answer: (settle: () => Response) => void,
  ): void {
    function reply(settle: () => Response): void {
      // A promise that was settled before the kill may still run its reactions.
      if (node.alive) carry(node.name, from, () => answer(settle));
    }
    handler(JSON.parse(text), from.name).then(
      (response) => {
        const body = toJson(response);
        reply(() => JSON.parse(body));
      },
      (error: unknown) => {
        const reason = error instanceof Error ? error.message : String(error);
        reply(() => {
          throw new NetworkError('failed', `${node.name}: ${reason}`);
        });
      },
    );
  }

  function send(
    from: Node,
    to: string,
    text: string,
    answer: (settle: () => Response) => void,
  ): void {
    const listener = listeners.get(to);
    const isCut = cuts.has(cutBetween(from.name, to));
    const refuse = () =>
      answer(() => {
        throw new NetworkError('refused', `${to} refused: nobody listens`);
      });
    if (listener?.node.alive !== true) {
      if (!isCut) carry(to, from, refuse);
      return;
    }
    const arrive = () => {
      // It closed while the request was on its way.
      if (listeners.get(to) !== listener) return carry(to, from, refuse);
      // The second copy takes its own time, so it may overtake later requests, or be overtaken.
      if (random.chance(duplication)) {
        carry(from.name, listener.node, () => handOver(listener, from, text, answer));
      }
      handOver(listener, from, text, answer);
    };
    carry(from.name, listener.node, arrive);
  }

  return {
    listen(node, handler) {
      if (listeners.get(node.name)?.node.alive === true) {
        throw new Error(`${node.name} listens already`);
      }
      const listener = { node, handler };
      listeners.set(node.name, listener);
      return () => {
        if (listeners.get(node.name) === listener) listeners.delete(node.name);
      };
    },
    call(from, to, request, timeoutMs) {
      return new Promise((resolve, reject) => {
        if (!from.alive) return;
        let open = true;
        const cancel = from.after(timeoutMs, () => {
          open = false;
          reject(new NetworkError('timeout', `${to} did not answer within ${timeoutMs} ms`));
        });
        if (breaks > 0 && random.chance(breaks)) {
          from.after(random.between(...delayMs) * 2, () => {
            if (!open) return;
            open = false;
            cancel();
            reject(new NetworkError('broken', `the connection to ${to} broke`));
          });
        }
        send(from, to, toJson(request), (settle) => {
          if (!open) return;
          open = false;
          cancel();
          try {
            resolve(settle());
          } catch (error) {
            reject(error);
          }
        });
      });
    },
    partition(one, other) {
      cuts.add(cutBetween(one, other));
    },
    heal() {
      cuts.clear();
    },
  };
}

/** As it travels; what JSON cannot say, such as undefined, travels as null. */
function toJson(value: unknown): string {
  return JSON.stringify(value) ?? 'null';
}
