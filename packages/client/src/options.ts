/** Says where and why the body of a route's success is wrong, or nothing when all is well. */
export type BodyCheck = (route: string, body: unknown) => string | undefined;

/** What every call of a client does alike; each call may differ in any of it. */
export interface ClientOptions {
  /** A bearer token, sent as `Authorization`. */
  readonly token?: string | undefined;
  /** How long a call may take with all its repeats, in milliseconds; 10,000 by default. */
  readonly timeoutMs?: number | undefined;
  /** How often a call is repeated at most; 4 by default, 0 for never. */
  readonly maxRetries?: number | undefined;
  /** Headers of every request, beside our own. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** The `fetch` to use; the global one by default. */
  readonly fetch?: typeof globalThis.fetch | undefined;
  /** The largest answer that is read, in bytes; 4 MiB by default. */
  readonly maxResponseBytes?: number | undefined;
  /**
   * Checks the answers against the contract: `checkResponses(gateway)` of `@bazar/client/check`. Its
   * schemas are larger than this client, so that it is left out unless you ask for it.
   */
  readonly check?: BodyCheck | undefined;
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
   * to learn what became of that call.
   */
  readonly key?: string | undefined;
}

/** One page of a list. */
export interface PageOptions<Cursor> extends CallOptions {
  /** Only what comes after this: the `next` of a page. */
  readonly after?: Cursor | undefined;
  /** How many at most, 1 to 1000; 100 by default. */
  readonly limit?: number | undefined;
}

/** Options with every gap filled and every value checked. */
export interface Settings {
  readonly baseUrl: string;
  readonly token: string | undefined;
  readonly timeoutMs: number;
  readonly maxRetries: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly fetch: typeof globalThis.fetch;
  readonly maxResponseBytes: number;
  readonly check: BodyCheck | undefined;
  readonly signal: AbortSignal | undefined;
  readonly requestId: string | undefined;
}

/** The longest that a timer takes; a longer one would fire at once. */
const maxTimeoutMs = 2_147_483_647;

/** @throws TypeError that names the option */
export function settingsOf(baseUrl: string, ...layers: readonly CallOptions[]): Settings {
  const given: CallOptions = Object.assign({}, ...layers.map(defined));
  const { timeoutMs = 10_000, maxRetries = 4, maxResponseBytes = 4 * 1024 * 1024 } = given;
  demand(timeoutMs >= 1, 'timeoutMs is a number of milliseconds, at least 1');
  demand(Number.isInteger(maxRetries) && maxRetries >= 0, 'maxRetries is an integer, at least 0');
  demand(maxResponseBytes >= 1, 'maxResponseBytes is a number of bytes, at least 1');
  return {
    baseUrl: baseUrlOf(baseUrl),
    token: given.token,
    timeoutMs: Math.min(timeoutMs, maxTimeoutMs),
    maxRetries,
    headers: Object.assign({}, ...layers.map(({ headers }) => headers)),
    // The global one is looked up late, and must not be called as a method of ours.
    fetch: given.fetch ?? ((...request) => globalThis.fetch(...request)),
    maxResponseBytes,
    check: given.check,
    signal: given.signal,
    requestId: given.requestId,
  };
}

/** An option given as undefined is one not given. */
function defined(options: CallOptions): CallOptions {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
}

function baseUrlOf(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const isPlain = url !== undefined && url.search === '' && url.hash === '' && url.username === '';
  demand(
    isPlain && /^https?:$/.test(url.protocol),
    `${text} is no base URL: http(s)://host[/path]`,
  );
  return text.replace(/\/+$/, '');
}

function demand(holds: boolean, sentence: string): asserts holds {
  if (!holds) throw new TypeError(sentence);
}
