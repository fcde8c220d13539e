import { exchangeInTime, type Transport, type TransportResponse } from './transport.js';

/** What of a Fastify instance is needed here. */
export interface Injectable {
  inject(request: {
    method: 'GET' | 'POST';
    url: string;
    headers: Record<string, string>;
    payload?: string;
  }): Promise<{
    readonly statusCode: number;
    readonly headers: Readonly<Record<string, number | string | readonly string[] | undefined>>;
    readonly body: string;
  }>;
}

/** Calls a service in this process, without a socket: the same client, for tests. */
export function injectTransport(app: Injectable): Transport {
  return (request) =>
    exchangeInTime(request, ({ answer, fail }) => {
      const { method, path: url, headers, body: payload } = request;
      app
        .inject({ method, url, headers: { ...headers }, ...(payload !== undefined && { payload }) })
        .then(({ statusCode, headers, body }) => {
          answer({ status: statusCode, headers: asText(headers), body });
        })
        .catch(fail);
      // The handler runs on, as it would behind a broken connection; its answer is not heard.
      return () => undefined;
    });
}

/** Headers as a network would have carried them: a number (`content-length`) becomes text. */
function asText(
  headers: Readonly<Record<string, number | string | readonly string[] | undefined>>,
): TransportResponse['headers'] {
  return Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [
      name,
      typeof value === 'number' ? String(value) : value,
    ]),
  );
}
