import { onAbort } from './abort.js';
import { BazarConnectionError, BazarContractError, BazarTimeoutError } from './errors.js';
import type { FetchResponse, Settings } from './options.js';

/** One HTTP request, ready to be sent. */
export interface HttpRequest {
  /** What messages call it. It names no address. */
  readonly label: string;
  readonly method: string;
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | undefined;
  readonly requestId: string;
  readonly key: string | undefined;
  /** It was sent before, and nobody knows what became of that. */
  readonly mayBeDone: boolean;
}

/** One HTTP answer, read to its end. */
export interface HttpAnswer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
}

/** What the shop takes has seven digits. */
const maxPatienceMs = 9_999_999;

/** Ends a call whose answer is too large. */
class TooLarge extends Error {}

/**
 * Sends one request once.
 *
 * @throws BazarTimeoutError when no whole answer came in time, BazarConnectionError when none came,
 *   BazarContractError for one that is too large; the signal's reason once it is aborted
 */
export async function exchange(
  request: HttpRequest,
  { fetch, signal, maxResponseBytes }: Settings,
  timeoutMs: number,
): Promise<HttpAnswer> {
  const { label, method, url, body, requestId, key } = request;
  // What is left of the caller's patience goes along, so that nobody works for a gone caller: a
  // little less, for the shop knows more of what became of it than our clock does.
  const patience = Math.min(Math.max(1, Math.floor(timeoutMs * 0.95)), maxPatienceMs);
  const headers = { ...request.headers, 'x-timeout-ms': String(patience) };
  const facts = { requestId, key };
  signal?.throwIfAborted();
  const controller = new AbortController();
  let end: (reason: unknown) => void = () => {};
  // The race ends the call even if a `fetch` does not hear its signal.
  const ended = new Promise<never>((_resolve, reject) => {
    end = reject;
  });
  const timer = setTimeout(() => {
    end(new BazarTimeoutError(`${label}: no answer within ${timeoutMs} ms`, facts));
  }, timeoutMs);
  const forget = signal && onAbort(signal, () => end(signal.reason));

  async function ask(): Promise<HttpAnswer> {
    const init = { method, headers, redirect: 'manual', signal: controller.signal } as const;
    const response = await fetch(url, body === undefined ? init : { ...init, body });
    const text = await textOf(response, maxResponseBytes);
    return { status: response.status, headers: new Headers(response.headers), text };
  }

  try {
    return await Promise.race([ask().catch(translate), ended]);
  } finally {
    clearTimeout(timer);
    forget?.();
    // Whatever is still under way; after an answer that was read to its end this does nothing.
    controller.abort();
  }

  function translate(cause: unknown): never {
    if (cause instanceof TooLarge) {
      throw new BazarContractError(`${label}: the answer has more than ${maxResponseBytes} bytes`, {
        ...facts,
        cause,
      });
    }
    const message = `${label}: no whole answer came back: ${reasonOf(cause)}`;
    throw new BazarConnectionError(message, { ...facts, cause });
  }
}

/** The first of the causes, which says most: `fetch` itself says "fetch failed" to everything. */
function reasonOf(error: unknown): string {
  let reason = error;
  for (let depth = 0; depth < 8 && reason instanceof Error && reason.cause; depth += 1) {
    reason = reason.cause;
  }
  if (!(reason instanceof Error)) return String(reason);
  const { code } = reason as { code?: unknown };
  return reason.message || (typeof code === 'string' ? code : reason.name);
}

async function textOf({ body }: FetchResponse, maxBytes: number): Promise<string> {
  if (body === null) return '';
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let text = '';
  let bytes = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return text + decoder.decode();
    bytes += value.byteLength;
    if (bytes > maxBytes) {
      void reader.cancel().catch(() => {});
      throw new TooLarge();
    }
    text += decoder.decode(value, { stream: true });
  }
}
