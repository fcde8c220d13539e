import type { Body, Contract, gateway, Input, Request, Route } from '@bazar/contracts';
import { v7 as uuidv7 } from 'uuid';
import { onAbort } from './abort.js';
import { bodyOf, requestIdOf } from './answer.js';
import { BazarContractError, BazarError, BazarTimeoutError } from './errors.js';
import { exchange, type HttpAnswer, type HttpRequest } from './exchange.js';
import {
  type CallOptions,
  type ClientOptions,
  type Settings,
  settingsOf,
  type WriteOptions,
} from './options.js';
import {
  attemptMs,
  createRetryBudget,
  delayMs,
  isOutcomeUnknown,
  mayPass,
  type RetryBudget,
} from './retry.js';
import type { Wire } from './routes.js';
import { isObject } from './shape.js';

const keyHeader = 'idempotency-key' satisfies keyof Request<typeof gateway.purchase>['headers'];

/** What calls need of the world around them. */
export interface Effects {
  /** Milliseconds on a clock that only goes forward. */
  readonly now: () => number;
  readonly sleep: (ms: number, signal: AbortSignal | undefined) => Promise<void>;
  /** A number from 0 to 1. */
  readonly random: () => number;
  readonly newId: () => string;
}

/** What came with the data. */
export interface WithResponse<T> {
  readonly data: T;
  readonly status: number;
  readonly headers: Headers;
  /** Names the call in the logs of the shop. */
  readonly requestId: string;
}

/** A call under way: a promise of its data. */
export type Call<T> = Promise<T> & {
  /** The data with the status and the headers that it came with. */
  withResponse(): Promise<WithResponse<T>>;
};

/** A call under way that changes something. */
export type Write<T> = Call<T> & {
  /**
   * The key under which it is done at most once, from the start: if you end the call yourself, the
   * same call with this key tells what became of it.
   */
  readonly key: string;
};

/** One page of a list. */
export interface Page<T, Cursor> {
  readonly items: readonly T[];
  /** Where the next page begins, to be given as `after`; undefined on the last page. */
  readonly next: Cursor | undefined;
}

/** A list under way: a promise of its first page, and all of its items in turn. */
export type Pages<T, Cursor> = Call<Page<T, Cursor>> & AsyncIterable<T>;

/** What is asked of a route: what its contract takes, but for the headers, which are ours. */
type Asked<R extends Route> = Omit<Input<R>, 'headers'>;

/**
 * What is returned of a body, which is an object or a list of objects, but not more than that is
 * known; undefined when it answers another question.
 */
type Read<R extends Route, T> = (body: Body<R>, headers: Headers) => T | undefined;

/** Asks the questions of one contract, by the names of its routes. */
export interface Asker<C extends Contract> {
  ask<Name extends keyof C & string, T>(
    name: Name,
    asked: Asked<C[Name]>,
    read: Read<C[Name], T>,
    options?: CallOptions,
  ): Call<T>;
  /** The same for what is done at most once, under a key. */
  write<Name extends keyof C & string, T>(
    name: Name,
    asked: Asked<C[Name]>,
    read: (body: Body<C[Name]>, headers: Headers, key: string) => T | undefined,
    options?: WriteOptions,
  ): Write<T>;
}

/** A question as it is sent. */
interface Question {
  readonly name: string;
  /** Its method and its pattern, as `GET /info/:item_id`. */
  readonly route: string;
  readonly params?: Readonly<Record<string, unknown>>;
  readonly query?: Readonly<Record<string, unknown>>;
  readonly body?: unknown;
  readonly key?: string;
}

export const realEffects: Effects = {
  now: () => performance.now(),
  sleep: (ms, signal) =>
    new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      const forget = signal && onAbort(signal, end);
      const timer = setTimeout(end, ms);
      function end(): void {
        clearTimeout(timer);
        forget?.();
        if (signal?.aborted) reject(signal.reason);
        else resolve();
      }
    }),
  random: Math.random,
  newId: uuidv7,
};

/**
 * @param baseUrl as `baseUrlOf` gives it
 * @throws TypeError that names the option that is wrong
 */
export function createAsker<C extends Contract>(
  routes: Wire<C>,
  baseUrl: string,
  client: ClientOptions,
  effects: Effects,
): Asker<C> {
  const budget = createRetryBudget();
  // What is wrong in the options of the client is said at once, not by the first call.
  settingsOf(client);

  async function perform<T>(
    question: Question,
    read: (body: never, headers: Headers) => T | undefined,
    options: CallOptions,
  ): Promise<WithResponse<T>> {
    const settings = settingsOf(client, options);
    settings.signal?.throwIfAborted();
    const request = requestOf(question, baseUrl, settings, effects.newId);
    const answered = await repeat(request, settings, budget, effects);
    const { answer, body } = answered;
    const { status, headers } = answer;
    const complaint = complaintOf(question.name, body, settings);
    if (complaint !== undefined) throw breach(answered, complaint);
    // Of the contract as far as was checked; each `read` takes nothing else for granted.
    const data = read(body as never, headers);
    if (data === undefined) throw breach(answered, 'it does not answer what was asked');
    return { data, status, headers, requestId: requestIdOf(answered.request, headers) };
  }

  return {
    ask: (name, asked, read, options = {}) =>
      callOf(perform({ name, route: routes[name], ...asked }, read, options)),
    write(name, asked, read, { key = effects.newId(), ...options } = {}) {
      const question = { name, route: routes[name], ...asked, key };
      const readUnder = (body: never, headers: Headers) => read(body, headers, key);
      return Object.assign(callOf(perform(question, readUnder, options)), { key });
    },
  };
}

/** A promise of the data, made of the promise of all that came with it. */
function callOf<T>(answered: Promise<WithResponse<T>>): Call<T> {
  const data = answered.then((answer) => answer.data);
  // It goes on from the data: a promise with two that wait for it loses their names in the traces.
  return Object.assign(data, { withResponse: () => data.then(() => answered) });
}

interface Answered {
  /** As it was sent at last. */
  readonly request: HttpRequest;
  readonly answer: HttpAnswer;
  readonly body: unknown;
}

/** Asks until there is an answer that stands, or no time, or no repeat is left. */
async function repeat(
  first: HttpRequest,
  settings: Settings,
  budget: RetryBudget,
  { now, sleep, random }: Effects,
): Promise<Answered> {
  const { timeoutMs, maxRetries, signal } = settings;
  const deadline = now() + timeoutMs;
  let request = first;
  for (let repeats = 0; ; repeats += 1) {
    try {
      const attempt = attemptMs(Math.max(1, deadline - now()), maxRetries - repeats);
      const answer = await exchange(request, settings, attempt);
      const body = bodyOf(request, answer);
      budget.earn(repeats);
      return { request, answer, body };
    } catch (error) {
      // A caller may give up with an error of ours as his reason.
      signal?.throwIfAborted();
      if (!(error instanceof BazarError)) throw error;
      if (!isOutcomeUnknown(error)) budget.earn(repeats);
      if (!mayPass(error) || repeats >= maxRetries) throw error;
      const pause = delayMs(repeats, error, random());
      const late = inTotal(error, request, timeoutMs, repeats + 1);
      if (now() + pause + 1 >= deadline) throw late;
      if (!budget.spend()) throw error;
      request = { ...request, mayBeDone: request.mayBeDone || isOutcomeUnknown(error) };
      await sleep(pause, signal);
      // A machine that slept meanwhile has slept too long.
      if (now() >= deadline) throw late;
    }
  }
}

/** An error that tells of the call, where it told of its last attempt. */
function inTotal(
  error: BazarError,
  { label, requestId, key }: HttpRequest,
  timeoutMs: number,
  attempts: number,
): BazarError {
  if (error.code !== 'timeout') return error;
  const message = `${label}: no answer within ${timeoutMs} ms, asked ${attempts} times`;
  return new BazarTimeoutError(message, { requestId, key, cause: error });
}

/** What is wrong with a body, if anything: at the least it is an object, or a list of them. */
function complaintOf(name: string, body: unknown, { check }: Settings): string | undefined {
  const parts: readonly unknown[] = Array.isArray(body) ? body : [body];
  if (!parts.every(isObject)) return 'there is what is no object';
  return check?.(name, body);
}

function breach({ request, answer }: Answered, complaint: string): BazarContractError {
  const { label, key } = request;
  const { status, headers } = answer;
  const requestId = requestIdOf(request, headers);
  return new BazarContractError(`${label}: in the body, ${complaint}`, { requestId, key, status });
}

function requestOf(
  { route, params = {}, query = {}, body, key }: Question,
  baseUrl: string,
  { headers: given, requestId = '' }: Settings,
  newId: () => string,
): HttpRequest {
  const [method = '', pattern = ''] = route.split(' ');
  const path = pattern.replace(/:(\w+)/g, (_all, param: string) => segment(param, params[param]));
  const search = Object.entries(query)
    .filter(([, value]) => value !== undefined)
    .map(([param, value]) => `${param}=${encoded(param, value)}`)
    .join('&');
  const name = requestId || newId();
  return {
    label: route,
    method,
    url: `${baseUrl}${path}${search && `?${search}`}`,
    headers: {
      ...Object.fromEntries(given),
      accept: 'application/json, application/problem+json',
      'x-request-id': name,
      ...(key !== undefined && { [keyHeader]: key }),
      ...(body !== undefined && { 'content-type': 'application/json' }),
    },
    body: body === undefined ? undefined : JSON.stringify(body),
    requestId: name,
    key,
    mayBeDone: false,
  };
}

/** @throws TypeError for what would be another route: nothing at all, and one dot or two */
function segment(name: string, value: unknown): string {
  if (/^\.{0,2}$/.test(String(value))) throw cannotBe(name, value);
  return encoded(name, value);
}

/** @throws TypeError for what has no form in a URL */
function encoded(name: string, value: unknown): string {
  const isNumber = typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
  const isText = typeof value === 'string' && !/\p{Surrogate}/u.test(value);
  if (!isNumber && !isText) throw cannotBe(name, value);
  return encodeURIComponent(value);
}

function cannotBe(name: string, value: unknown): TypeError {
  return new TypeError(`${name} cannot be ${typeof value === 'string' ? `"${value}"` : value}`);
}
