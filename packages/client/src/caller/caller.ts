import { type Contract, Failure, type Input, type Route } from '@bazar/contracts';
import { type Answer, answerOf } from './answer.js';
import { type Plan, planOf } from './plan.js';
import { type AnyInput, type CallerOptions, type CallOptions, requestOf } from './request.js';
import type { Transport, TransportResponse } from './transport.js';

type Arguments<R extends Route> = keyof Input<R> extends never
  ? [input?: Readonly<Record<string, never>>, options?: CallOptions]
  : Record<never, never> extends Input<R>
    ? [input?: Input<R>, options?: CallOptions]
    : [input: Input<R>, options?: CallOptions];

/** One method per route of the contract. */
export type Caller<C extends Contract> = {
  readonly [Name in keyof C]: (...call: Arguments<C[Name]>) => Promise<Answer<C[Name]>>;
};

/**
 * Makes a method for every route of a contract. Each method sends one request and resolves to the
 * route's one success. All else rejects with a `Failure`: one that the service declared and told us
 * (`foreign`), `unavailable` for no answer or an answer against the contract, `deadline_exceeded`
 * when the time was up, `malformed_request` for an input that cannot be written as HTTP. A call
 * that was aborted rejects with its signal's reason.
 *
 * It never retries. A request crosses up to three hops, and retries on each would multiply just
 * when the last one is overloaded; only whoever knows that a repeat is safe and wanted may repeat.
 *
 * The contract as a value, from which client and server both come, is ts-rest's idea.
 *
 * @throws TypeError when a route does not declare exactly one success.
 */
export function createCaller<const C extends Contract>(
  contract: C,
  transport: Transport,
  options: CallerOptions = {},
): Caller<C> {
  const methods: Record<string, (input?: AnyInput, call?: CallOptions) => Promise<unknown>> = {};
  for (const [name, route] of Object.entries(contract)) {
    const plan = planOf(name, route);
    methods[name] = (input = {}, call = {}) => perform(plan, transport, input, call, options);
  }
  // The types of the methods are a function of the contract that no run-time check could prove.
  return methods as unknown as Caller<C>;
}

async function perform(
  plan: Plan,
  transport: Transport,
  input: AnyInput,
  call: CallOptions,
  options: CallerOptions,
): Promise<unknown> {
  call.signal?.throwIfAborted();
  const request = requestOf(plan, input, call, options);
  let response: TransportResponse;
  try {
    response = await transport(request);
  } catch (cause) {
    call.signal?.throwIfAborted();
    if (cause instanceof Failure) {
      const { code, message, nothingDone } = cause;
      throw new Failure(code, `${plan.label}: ${message}`, { cause, nothingDone });
    }
    throw new Failure('unavailable', `${plan.label}: no whole answer came back`, { cause });
  }
  return answerOf(plan, response, options.check);
}
