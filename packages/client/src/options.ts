import type { ResponseCheck } from './caller/answer.js';

/** What is asked of a `fetch`. */
export interface FetchRequest {
  readonly method: string;
  readonly headers: Record<string, string>;
  readonly body?: string;
  /** Nobody is followed elsewhere with a token. */
  readonly redirect: 'manual';
  readonly signal: AbortSignal;
}

/** What is read of its answer. */
export type FetchResponse = Pick<Response, 'status' | 'headers' | 'body'>;

/** What is used of `fetch`: the global one, undici's, or one of your own. */
export type Fetch = (url: string, request: FetchRequest) => Promise<FetchResponse>;

/** What every call of a client does alike; each call may differ in any of it. */
export interface ClientOptions {
  /** A bearer token, sent as `Authorization`. */
  readonly token?: string | undefined;
  /**
   * How long a call may take with all its repeats, in milliseconds; 10,000 by default. While a repeat
   * is left an attempt gets half of what is left, so that a lost request leaves time for another.
   */
  readonly timeoutMs?: number | undefined;
  /** How often a call is repeated at most; 5 by default, 0 for never. */
  readonly maxRetries?: number | undefined;
  /** Headers of every request, beside our own; a call's are added to its client's. */
  readonly headers?: ConstructorParameters<typeof Headers>[0];
  /** The `fetch` to use; the global one by default. */
  readonly fetch?: Fetch | undefined;
  /** The largest answer that is read, in bytes; 4 MiB by default. */
  readonly maxResponseBytes?: number | undefined;
  /**
   * Checks the answers against the contract: `checkResponses(gateway)` of `@bazar/client/check`. Its
   * schemas are larger than this client, so that it is left out unless you ask for it.
   */
  readonly check?: ResponseCheck | undefined;
}

/** What one call may differ in. */
export interface CallOptions extends ClientOptions {
  /** Ends the call; it then rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
  /** Names the call in the logs of the shop; 1 to 64 letters, digits, `-` and `_`. */
  readonly requestId?: string | undefined;
}

/** What a call that changes something may differ in. */
export interface WriteOptions extends CallOptions {
  /**
   * The UUID under which it is done at most once; a fresh one by default. Give the `key` of an error
   * to learn what became of that call: of a purchase always, of a change while the shop remembers it,
   * which is for ten minutes and a million changes at least.
   */
  readonly key?: string | undefined;
}

/** What a list may differ in. */
export interface PageOptions<Cursor> extends CallOptions {
  /** Only what comes after this: the `next` of a page. */
  readonly after?: Cursor | undefined;
  /** How many a page has at most, 1 to 1000; 100 by default. All of them are still iterated over. */
  readonly limit?: number | undefined;
}

/** Options with every gap filled and every value checked. */
export interface Settings {
  readonly timeoutMs: number;
  readonly maxRetries: number;
  readonly headers: Headers;
  readonly fetch: Fetch;
  readonly maxResponseBytes: number;
  readonly check: ResponseCheck | undefined;
  readonly signal: AbortSignal | undefined;
  readonly requestId: string | undefined;
}

/** What a client takes, and what a call takes besides; as one text, which is smaller in a page. */
const ofClient = 'token timeoutMs maxRetries headers fetch maxResponseBytes check'.split(' ');
const ofCall = [...ofClient, 'signal', 'requestId'];

/** The longest that a timer takes; a longer one would fire at once. */
const maxTimeoutMs = 2_147_483_647;

/** Headers that we set ourselves, and the option that they come from, if any. */
const ours: Readonly<Record<string, string>> = {
  accept: '',
  connection: '',
  'content-length': '',
  'content-type': '',
  expect: '',
  'transfer-encoding': '',
  'idempotency-key': 'key',
  'x-request-id': 'requestId',
  'x-timeout-ms': 'timeoutMs',
};

/**
 * @param call what one call differs in, if it is about one
 * @throws TypeError that names the option, and shows no secret
 */
export function settingsOf(client: ClientOptions, call?: CallOptions): Settings {
  const layers = [client, call ?? {}];
  const given: CallOptions = Object.assign({}, ...layers.map(defined));
  const { timeoutMs = 10_000, maxRetries = 5, maxResponseBytes = 4 * 1024 * 1024 } = given;
  const { fetch, requestId } = given;
  // A key under another name would be none, and a purchase that is asked for again a second one.
  for (const name of Object.keys(given)) {
    demand((call ? ofCall : ofClient).includes(name), `${name} is no option here`);
  }
  demand(timeoutMs >= 1, 'timeoutMs is a number of milliseconds, at least 1');
  demand(Number.isInteger(maxRetries) && maxRetries >= 0, 'maxRetries is an integer, at least 0');
  demand(maxResponseBytes >= 1, 'maxResponseBytes is a number of bytes, at least 1');
  demand(fetch === undefined || typeof fetch === 'function', 'fetch is a function');
  demand(
    requestId === undefined || /^[\w-]{1,64}$/.test(requestId),
    'requestId has 1 to 64 letters, digits, - and _',
  );
  return {
    timeoutMs: Math.min(timeoutMs, maxTimeoutMs),
    maxRetries,
    headers: headersOf(layers, given.token),
    // The global one is looked up late, and must not be called as a method of ours.
    fetch: fetch ?? ((url, request) => globalThis.fetch(url, request)),
    maxResponseBytes,
    check: given.check,
    signal: given.signal,
    requestId,
  };
}

/** An option given as undefined is one not given. */
function defined(options: CallOptions): CallOptions {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
}

function headersOf(layers: readonly CallOptions[], token: string | undefined): Headers {
  const headers = new Headers();
  for (const { headers: more } of layers) {
    for (const [name, value] of headersIn(more)) {
      const option = name === 'authorization' && token !== undefined ? 'token' : ours[name];
      const source = option === '' ? 'this client itself' : `the option ${option}`;
      demand(option === undefined, `headers: ${name} is set by ${source}`);
      headers.set(name, value);
    }
  }
  if (token === undefined) return headers;
  demand(token !== '', 'token is empty');
  demand(/^[\x21-\x7e]+$/.test(token), 'token has a character that no header can have');
  headers.set('authorization', `Bearer ${token}`);
  return headers;
}

function headersIn(more: ClientOptions['headers']): Headers {
  try {
    return new Headers(more);
  } catch {
    // The reason would show what is in it.
    throw new TypeError('headers: these are no names and values of headers');
  }
}

/** @throws TypeError that names the option; what it holds may be secret */
export function baseUrlOf(name: string, text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const { protocol, origin, pathname, username, password, search, hash } = url ?? new URL('a:');
  demand(
    /^https?:$/.test(protocol) && `${username}${password}${search}${hash}` === '',
    `${name} is no base URL: http(s)://host[:port][/path], and nothing else`,
  );
  return `${origin}${pathname}`.replace(/\/+$/, '');
}

function demand(holds: boolean, sentence: string): asserts holds {
  if (!holds) throw new TypeError(sentence);
}
