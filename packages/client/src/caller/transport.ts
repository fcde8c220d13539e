import { Failure } from '@bazar/contracts';

/** One HTTP request, ready to be sent. */
export interface TransportRequest {
  readonly method: 'GET' | 'POST';
  /** Path and query, percent-encoded. */
  readonly path: string;
  /** Lower-case name → value. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | undefined;
  /** The whole exchange ends within this time: connecting and waiting for a connection included. */
  readonly timeoutMs: number;
  /** Not aborted yet; when it is, the exchange is broken off. */
  readonly signal?: AbortSignal | undefined;
}

/** One HTTP answer, read to its end. */
export interface TransportResponse {
  readonly status: number;
  /** Lower-case name → value or values. */
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
  readonly body: string;
}

/**
 * Carries one request and resolves to whatever answer came, of any status; it follows no redirect
 * and repeats nothing. Rejects with `Failure('deadline_exceeded')` when `timeoutMs` passed, with
 * the signal's reason when it was aborted, and with any other error when no whole answer came. A
 * `Failure` with `nothingDone` says that nothing of the request was sent.
 */
export type Transport = (request: TransportRequest) => Promise<TransportResponse>;

/** The two ways in which an exchange ends by itself. */
export interface Exchange {
  readonly answer: (response: TransportResponse) => void;
  readonly fail: (reason: unknown) => void;
}

/**
 * Runs one exchange that ends exactly once: answered, failed, out of time or given up.
 *
 * One plain timer covers the whole exchange. `AbortSignal.timeout` would do the same through an
 * event target and a weak reference per call: measured, that costs a quarter of all calls a second.
 *
 * @param start begins the exchange and returns how to break it off.
 */
export function exchangeInTime(
  { timeoutMs, signal }: TransportRequest,
  start: (exchange: Exchange) => (reason: Error) => void,
): Promise<TransportResponse> {
  return new Promise((resolve, reject) => {
    let breakOff = (_reason: Error): void => undefined;
    const giveUp = () => {
      fail(signal?.reason);
      breakOff(new Error('The caller gave up'));
    };
    const timer = setTimeout(() => {
      const late = new Failure('deadline_exceeded', `no answer within ${timeoutMs} ms`);
      fail(late);
      breakOff(late);
    }, timeoutMs);
    signal?.addEventListener('abort', giveUp);
    function end(): void {
      clearTimeout(timer);
      signal?.removeEventListener('abort', giveUp);
    }
    function answer(response: TransportResponse): void {
      end();
      resolve(response);
    }
    function fail(reason: unknown): void {
      end();
      reject(reason);
    }
    // It may fail before it returns, when there is nothing to break off yet.
    try {
      breakOff = start({ answer, fail });
    } catch (error) {
      fail(error);
    }
  });
}
