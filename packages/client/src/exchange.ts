import { BazarConnectionError, BazarContractError, BazarTimeoutError } from './errors.js';
import type { Settings } from './options.js';

/** One HTTP request, ready to be sent. */
export interface HttpRequest {
  /** What messages call it. It names no address. */
  readonly label: string;
  readonly method: string;
  readonly url: string;
  readonly headers: Headers;
  readonly body: string | undefined;
  readonly requestId: string;
  readonly key: string | undefined;
}

/** One HTTP answer, read to its end. */
export interface HttpAnswer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
}

/** Ends a call whose answer is too large. */
class TooLarge extends Error {}

/**
 * Sends one request once.
 *
 * @throws BazarTimeoutError when no whole answer came in time, BazarConnectionError when none came,
 *   BazarContractError for one that is too large or no text; the signal's reason once it is aborted
 */
export async function exchange(
  request: HttpRequest,
  { fetch, signal, maxResponseBytes }: Settings,
  timeoutMs: number,
): Promise<HttpAnswer> {
  const { label, method, url, headers, body, requestId, key } = request;
  const facts = { requestId, key };
  const controller = new AbortController();
  let timer: ReturnType<typeof setTimeout> | undefined;
  let giveUp = () => {};
  // The race ends the call even if a `fetch` does not hear its signal.
  const ended = new Promise<never>((_resolve, reject) => {
    giveUp = () => reject(signal?.reason);
    timer = setTimeout(() => {
      reject(new BazarTimeoutError(`${label}: no answer within ${timeoutMs} ms`, facts));
    }, timeoutMs);
  });
  signal?.addEventListener('abort', giveUp);

  async function ask(): Promise<HttpAnswer> {
    const init = { method, headers, redirect: 'error', signal: controller.signal } as const;
    const response = await fetch(url, body === undefined ? init : { ...init, body });
    const text = await textOf(response, maxResponseBytes);
    return { status: response.status, headers: response.headers, text };
  }

  try {
    return await Promise.race([ask().catch(translate), ended]);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', giveUp);
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
    throw new BazarConnectionError(`${label}: no whole answer came back`, { ...facts, cause });
  }
}

async function textOf({ body }: Response, maxBytes: number): Promise<string> {
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
