import type { Caller } from '@bazar/client/caller';
import type { Contract } from '@bazar/contracts';
import { type BreakerEffects, createBreaker } from './breaker.js';
import { verdictOn } from './verdict.js';

/** One sending of a call to one replica. */
export interface Attempt {
  /** How long it may take. */
  readonly timeoutMs: number;
  /** How long ago the call began, with its first attempt. */
  readonly spentMs: number;
  /** An earlier attempt may have done what is asked, whatever this one is told. */
  readonly mayBeDone: boolean;
}

export interface AttemptOptions extends Attempt {
  /** As long as a healthy replica may take for such a call. */
  readonly attemptTimeoutMs: number;
  /** The replica answers when something happens: until then the call is no work for it. */
  readonly isLongPoll: boolean;
}

/** One of the replicas of a service, what it is busy with and whether it takes part. */
export interface Replica<C extends Contract> {
  /** Says which it is, to people. */
  readonly name: string;
  readonly caller: Caller<C>;
  /** How many calls it has not answered yet. */
  busy(): number;
  isLive(): boolean;
  isDue(): boolean;
  failedAt(): number;
  attempt<T>(
    call: (caller: Caller<C>, attempt: Attempt) => Promise<T>,
    options: AttemptOptions,
  ): Promise<T>;
  /** Resolves when everything under way has ended. */
  close(): Promise<void>;
}

export interface ReplicaEffects<C extends Contract> extends BreakerEffects {
  readonly name: string;
  readonly caller: Caller<C>;
  readonly close: () => Promise<void>;
}

export function createReplica<C extends Contract>(effects: ReplicaEffects<C>): Replica<C> {
  const { name, caller, close } = effects;
  const { isLive, isDue, failedAt, begin } = createBreaker(effects);
  let busy = 0;
  return {
    name,
    caller,
    busy: () => busy,
    isLive,
    isDue,
    failedAt,
    async attempt(call, { timeoutMs, spentMs, mayBeDone, attemptTimeoutMs, isLongPoll }) {
      const end = begin();
      const work = isLongPoll ? 0 : 1;
      busy += work;
      try {
        const answer = await call(caller, { timeoutMs, spentMs, mayBeDone });
        end('answered');
        return answer;
      } catch (error) {
        end(verdictOn(error, timeoutMs >= attemptTimeoutMs), error);
        throw error;
      } finally {
        busy -= work;
      }
    },
    close,
  };
}
