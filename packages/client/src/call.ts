import { v7 as uuidv7 } from 'uuid';
import { bodyOf } from './answer.js';
import { BazarContractError, BazarError, BazarTimeoutError } from './errors.js';
import { exchange, type HttpAnswer, type HttpRequest } from './exchange.js';
import { type CallOptions, type ClientOptions, type Settings, settingsOf } from './options.js';
import { attemptMs, createRetryBudget, delayMs, mayPass, type RetryBudget } from './retry.js';

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
  readonly params?: Readonly<Record<string, string | number>>;
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
  newKey(): string;
}

const realEffects: Effects = {
  now: () => performance.now(),
  sleep: (ms, signal) =>
    new Promise((resolve, reject) => {
      const timer = setTimeout(end, ms);
      signal?.addEventListener('abort', end);
      function end(): void {
        clearTimeout(timer);
        signal?.removeEventListener('abort', end);
        if (signal?.aborted) reject(signal.reason);
        else resolve();
      }
    }),
  random: Math.random,
  newId: uuidv7,
};

export function createAsker(
  baseUrl: string,
  client: ClientOptions,
  effects: Effects = realEffects,
): Asker {
  const budget = createRetryBudget();
  // What is wrong in the options of the client is said at once, not by the first call.
  settingsOf(baseUrl, client);
  return {
    ask(question, options = {}) {
      return callOf(perform(question, options));
    },
    newKey: effects.newId,
  };

  async function perform<T>(question: Question<T>, options: CallOptions): Promise<WithResponse<T>> {
    const settings = settingsOf(baseUrl, client, options);
    settings.signal?.throwIfAborted();
    const request = requestOf(question, settings, effects.newId);
    const answer = await repeat(request, settings, budget, effects);
    return readAnswer(question, request, settings, answer);
  }
}

/** A promise of the data, made of the promise of all that came with it. */
export function callOf<T>(answered: Promise<WithResponse<T>>): Call<T> {
  const data = answered.then((answer) => answer.data);
  return Object.assign(data, {
    withResponse() {
      // Who asks for all of it hears of a failure there, and need not listen here as well.
      data.catch(() => {});
      return answered;
    },
  });
}

interface Answered {
  readonly answer: HttpAnswer;
  readonly body: unknown;
}

/** Asks until there is an answer that stands, or no time, or no repeat is left. */
async function repeat(
  request: HttpRequest,
  settings: Settings,
  budget: RetryBudget,
  { now, sleep, random }: Effects,
): Promise<Answered> {
  const { label, headers, requestId, key } = request;
  const { timeoutMs, maxRetries, signal } = settings;
  const deadline = now() + timeoutMs;
  for (let repeats = 0; ; repeats += 1) {
    const attempt = attemptMs(deadline - now(), maxRetries - repeats);
    try {
      // What is left of the caller's patience goes along, so that nobody works for a gone caller.
      headers.set('x-timeout-ms', String(Math.max(1, Math.min(attempt, 9_999_999))));
      const answer = await exchange(request, settings, attempt);
      const body = bodyOf(request, answer);
      budget.earn(repeats);
      return { answer, body };
    } catch (error) {
      if (!(error instanceof BazarError) || !mayPass(error) || repeats >= maxRetries) throw error;
      const pause = delayMs(repeats, error, random());
      if (now() + pause + 1 >= deadline) {
        if (error.code !== 'timeout') throw error;
        const message = `${label}: no answer within ${timeoutMs} ms`;
        throw new BazarTimeoutError(message, { requestId, key, cause: error });
      }
      if (!budget.spend()) throw error;
      await sleep(pause, signal);
    }
  }
}

function readAnswer<T>(
  { name, read }: Question<T>,
  request: HttpRequest,
  { check }: Settings,
  { answer, body }: Answered,
): WithResponse<T> {
  const { status, headers } = answer;
  const requestId = headers.get('x-request-id') ?? request.requestId;
  const complaint = check?.(name, body);
  const data = complaint === undefined ? read(body, headers) : undefined;
  if (data === undefined) {
    const what = complaint ?? 'is of another shape';
    const facts = { requestId, key: request.key, status };
    throw new BazarContractError(`${request.label}: in the body, ${what}`, facts);
  }
  return { data, status, headers, requestId };
}

function requestOf(
  { route, params = {}, query = {}, body, key }: Question<unknown>,
  { baseUrl, token, headers: given, requestId: name }: Settings,
  newId: () => string,
): HttpRequest {
  const [method = '', pattern = ''] = route.split(' ');
  const path = pattern.replace(/:(\w+)/g, (_all, param: string) => encoded(param, params[param]));
  const search = Object.entries(query)
    .filter(([, value]) => value !== undefined)
    .map(([param, value]) => `${param}=${encoded(param, value)}`)
    .join('&');
  const requestId = name ?? newId();
  const headers = new Headers(given);
  headers.set('accept', 'application/json, application/problem+json');
  headers.set('x-request-id', requestId);
  if (token !== undefined) headers.set('authorization', `Bearer ${token}`);
  if (key !== undefined) headers.set('idempotency-key', key);
  if (body !== undefined) headers.set('content-type', 'application/json');
  return {
    label: route,
    method,
    url: `${baseUrl}${path}${search && `?${search}`}`,
    headers,
    body: body === undefined ? undefined : JSON.stringify(body),
    requestId,
    key,
  };
}

/** @throws TypeError for what has no form in a URL: an empty part of a path is another route */
function encoded(name: string, value: unknown): string {
  const text = String(value);
  if (value === undefined || text === '' || /\p{Surrogate}/u.test(text)) {
    throw new TypeError(`${name} cannot be written in a URL`);
  }
  return encodeURIComponent(text);
}
