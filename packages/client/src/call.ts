import { v7 as uuidv7 } from 'uuid';
import { onAbort } from './abort.js';
import { bodyOf, requestIdOf } from './answer.js';
import { BazarContractError, BazarError, BazarTimeoutError } from './errors.js';
import { exchange, type HttpAnswer, type HttpRequest } from './exchange.js';
import {
  baseUrlOf,
  type CallOptions,
  type ClientOptions,
  type Settings,
  settingsOf,
} from './options.js';
import {
  attemptMs,
  createRetryBudget,
  delayMs,
  isOutcomeUnknown,
  mayPass,
  type RetryBudget,
} from './retry.js';

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

/** What one method asks for. */
export interface Question<T> {
  /** The name of the route in its contract. */
  readonly name: string;
  /** Its method and its pattern, as `GET /info/:item_id`. */
  readonly route: string;
  readonly params?: Readonly<Record<string, string | number>> | undefined;
  readonly query?: Readonly<Record<string, string | number | undefined>>;
  readonly body?: unknown;
  /** The key of what is done at most once. */
  readonly key?: string;
  /** What is returned of the body; undefined when the body cannot be that. */
  readonly read: (body: unknown, headers: Headers) => T | undefined;
}

/** Asks the questions of one client. */
export interface Asker {
  ask<T>(question: Question<T>, options?: CallOptions): Call<T>;
  /** The same for what is done at most once. */
  write<T>(question: Question<T> & { readonly key: string }, options?: CallOptions): Write<T>;
  newKey(): string;
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
 * @param address the base URL, and the name of the option that it comes from
 * @throws TypeError that names the option that is wrong
 */
export function createAsker(
  address: Readonly<Record<string, string>>,
  client: ClientOptions,
  effects: Effects,
): Asker {
  const [[name, text] = ['baseUrl', '']] = Object.entries(address);
  const baseUrl = baseUrlOf(name, text);
  const budget = createRetryBudget();
  // What is wrong in the options of the client is said at once, not by the first call.
  settingsOf(client);

  async function perform<T>(question: Question<T>, options: CallOptions): Promise<WithResponse<T>> {
    const settings = settingsOf(client, options);
    settings.signal?.throwIfAborted();
    const request = requestOf(question, baseUrl, settings, effects.newId);
    return readAnswer(question, settings, await repeat(request, settings, budget, effects));
  }

  const ask: Asker['ask'] = (question, options = {}) => callOf(perform(question, options));
  return {
    ask,
    write: (question, options) => Object.assign(ask(question, options), { key: question.key }),
    newKey: effects.newId,
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

function readAnswer<T>(
  { name, read }: Question<T>,
  { check }: Settings,
  { request, answer, body }: Answered,
): WithResponse<T> {
  const { status, headers } = answer;
  const { label, key } = request;
  const requestId = requestIdOf(request, headers);
  const complaint = check?.(name, body);
  const data = complaint === undefined ? read(body, headers) : undefined;
  if (data === undefined) {
    const what = complaint ?? 'it does not answer what was asked';
    throw new BazarContractError(`${label}: in the body, ${what}`, { requestId, key, status });
  }
  return { data, status, headers, requestId };
}

function requestOf(
  { route, params = {}, query = {}, body, key }: Question<unknown>,
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
      ...(key !== undefined && { 'idempotency-key': key }),
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
