import {
  type Caller,
  createCaller,
  type ResponseCheck,
  type Transport,
} from '@bazar/client/caller';
import { checkResponses } from '@bazar/client/check';
import { type UndiciOptions, undiciTransport } from '@bazar/client/undici';
import { type Contract, Failure } from '@bazar/contracts';
import { withOutcomeUnknown } from '@bazar/contracts/internal';
import { type Addresses, type Endpoint, nameOf, type ReplicasLog } from './addresses.js';
import { createChoice } from './choice.js';
import { createRepeatBudget } from './repeat-budget.js';
import { type Attempt, createReplica, type Replica } from './replica.js';
import { isUnanswered } from './verdict.js';

export {
  type Addresses,
  type Endpoint,
  type Found,
  hostOf,
  nameOf,
  type ReplicasLog,
  watchAddresses,
} from './addresses.js';
export type { Attempt } from './replica.js';
export { askHealth } from './replica-health.js';

/** What any connection to replicas needs. */
interface Common {
  /** Where the replicas listen. Whoever opened it closes it. */
  readonly addresses: Addresses;
  /** The bearer token that their internal routes take. */
  readonly token?: string | undefined;
  readonly log: ReplicasLog;
}

export interface ReplicasEffects extends Common {
  readonly connect: (endpoint: Endpoint) => Transport & { close(): Promise<void> };
  /** Checks what comes back. */
  readonly check: ResponseCheck;
  /** Milliseconds on a clock that only goes forward. */
  readonly now?: (() => number) | undefined;
}

export interface ReplicasOptions extends Common, Omit<UndiciOptions, 'address'> {}

export interface AskOptions {
  /** How long the caller waits, all attempts included. */
  readonly timeoutMs: number;
  /**
   * After so long without an answer another replica is asked, if one takes part that was not asked
   * yet; longer than a healthy one takes, or slow work would be done twice just when it is slow.
   */
  readonly attemptTimeoutMs: number;
  /** The replica answers when something happens: until then the call is no work for it. */
  readonly isLongPoll?: boolean;
}

export interface Replicas<C extends Contract> {
  /**
   * Asks the least busy replica, and when no answer comes that stands, another one: each at most
   * once, within the caller's deadline and the budget of repeats. So everything that is asked must
   * be safe to repeat: a read, or something with an id.
   *
   * @throws Failure of the last attempt; with `nothingDone` only when no attempt can have done
   *   anything. An answer that says that something failed is an answer, and `mayBeDone` is for its
   *   reader to heed.
   */
  ask<T>(
    call: (replica: Caller<C>, attempt: Attempt) => Promise<T>,
    options: AskOptions,
  ): Promise<T>;
  /** The calls of the contract, to each replica by itself, whatever is known of it. */
  each(): readonly Caller<C>[];
  /** How many take part: those that are not left out, and at least one. */
  live(): number;
  /** Resolves when everything under way has ended. */
  close(): Promise<void>;
}

const policy = {
  /** A caller whom three replicas in a row did not answer is told so, however many there are. */
  maxAttempts: 3,
  /** In less time not even a healthy replica answers. */
  leastAttemptMs: 10,
};

/** Connects to all replicas of a service, over pools of connections. */
export function connectReplicas<const C extends Contract>(
  contract: C,
  { addresses, token, log, ...options }: ReplicasOptions,
): Replicas<C> {
  const connect = ({ url, address }: Endpoint) =>
    undiciTransport(url, { ...options, ...(address !== undefined && { address }) });
  const check = checkResponses(contract);
  return createReplicas(contract, { addresses, token, log, connect, check });
}

/**
 * Spreads calls over replicas. This is the one place of a hop where anything is repeated: callers
 * and transports never do, so that a call is sent at most three times, and all calls together are
 * sent little more often than they were made (`createRepeatBudget`). Of a single replica nothing is
 * ever asked twice.
 */
export function createReplicas<const C extends Contract>(
  contract: C,
  effects: ReplicasEffects,
): Replicas<C> {
  const { now = () => performance.now() } = effects;
  const members = openMembers(contract, { ...effects, now });
  const budget = createRepeatBudget();
  const choose = createChoice();

  function untried(tried: ReadonlySet<Replica<C>>): readonly Replica<C>[] {
    if (tried.size === 0) return members.all();
    return members.all().filter((member) => !tried.has(member));
  }

  /** Whether another attempt may follow if this one, the last of those tried, fails. */
  function mayRepeat(tried: ReadonlySet<Replica<C>>): boolean {
    return tried.size < policy.maxAttempts && budget.isLeft() && untried(tried).length > 0;
  }

  return {
    async ask(call, { timeoutMs, attemptTimeoutMs, isLongPoll = false }) {
      budget.earn();
      const begunAt = now();
      const tried = new Set<Replica<C>>();
      let mayBeDone = false;
      for (let spentMs = 0; ; spentMs = now() - begunAt) {
        const leftMs = timeoutMs - spentMs;
        // A long poll would find out too late that the replica is back.
        const mayTry = !isLongPoll && tried.size === 0 && budget.isLeft();
        const replica = choose(untried(tried), mayTry);
        if (replica === undefined) throw new TypeError('there is no replica to ask');
        tried.add(replica);
        // The time is shared with those only who are likely to answer.
        const isShared = mayRepeat(tried) && untried(tried).some((other) => other.isLive());
        const limitMs = isShared ? Math.min(leftMs, attemptTimeoutMs) : leftMs;
        const options = { timeoutMs: limitMs, spentMs, mayBeDone, attemptTimeoutMs, isLongPoll };
        try {
          return await replica.attempt(call, options);
        } catch (error) {
          mayBeDone ||= !(error instanceof Failure && error.nothingDone);
          const isWorthwhile = timeoutMs - (now() - begunAt) >= policy.leastAttemptMs;
          if (!isUnanswered(error) || !isWorthwhile || !mayRepeat(tried)) {
            throw mayBeDone && error instanceof Failure ? withOutcomeUnknown(error) : error;
          }
          budget.spend();
        }
      }
    },
    each: () => members.all().map(({ caller }) => caller),
    live: () => Math.max(1, members.all().filter((member) => member.isLive()).length),
    close: members.close,
  };
}

/** The replicas that there are: new addresses join, and those that vanish finish what they have. */
function openMembers<const C extends Contract>(
  contract: C,
  { addresses, token, log, connect, check, now }: ReplicasEffects & { readonly now: () => number },
) {
  const headers = token === undefined ? {} : { authorization: `Bearer ${token}` };
  const leaving = new Set<Promise<void>>();
  let members: readonly Replica<C>[] = [];

  function join(endpoint: Endpoint): Replica<C> {
    const transport = connect(endpoint);
    const name = nameOf(endpoint);
    return createReplica({
      name,
      caller: createCaller(contract, transport, { check, headers }),
      close: () => transport.close(),
      now,
      onChange(isLive, cause) {
        // A single replica is asked whatever happens, so there is nothing to tell.
        if (members.length < 2) return;
        if (isLive) log('info', `the replica ${name} answers again`);
        else log('warn', `the replica ${name} is left out until it answers`, cause);
      },
    });
  }

  function leave(member: Replica<C>): void {
    const left = member.close().finally(() => leaving.delete(left));
    leaving.add(left);
  }

  function update(): void {
    const before = new Map(members.map((member) => [member.name, member]));
    members = addresses.current().map((endpoint) => {
      const name = nameOf(endpoint);
      const member = before.get(name) ?? join(endpoint);
      before.delete(name);
      return member;
    });
    for (const gone of before.values()) leave(gone);
  }

  update();
  const forget = addresses.onChange(update);
  return {
    all: () => members,
    async close() {
      forget();
      await Promise.all([...members.map((member) => member.close()), ...leaving]);
    },
  };
}
