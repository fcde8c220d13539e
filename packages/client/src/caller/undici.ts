import { isIPv6, type LookupFunction } from 'node:net';
import { Failure } from '@bazar/contracts';
import { type Dispatcher, Pool } from 'undici';
import {
  type Exchange,
  exchangeInTime,
  type Transport,
  type TransportResponse,
} from './transport.js';

export interface UndiciOptions {
  /** The most connections that are open at a time; further calls wait for a free one. */
  readonly connections: number;
  /** The most calls that are under way or wait for a connection; more are refused. */
  readonly maxPending: number;
  /** How long an idle connection is kept. Must be less than the server keeps its own. */
  readonly keepAliveTimeoutMs: number;
  /** The largest answer that is read; a larger one fails its call. */
  readonly maxResponseBytes: number;
  /** How long one attempt to connect may take; the deadline of the call may end it sooner. */
  readonly connectTimeoutMs?: number;
  /** The IP address to connect to, where the name in the URL has several. */
  readonly address?: string;
}

/**
 * Finds this address whatever the name. The name itself stays what it is, in the `Host` header as
 * well as in the certificate that a server has to show.
 */
function lookupOf(address: string): LookupFunction {
  const family = isIPv6(address) ? 6 : 4;
  return (_name, { all }, found) => {
    if (all === true) found(null, [{ address, family }]);
    else found(null, address, family);
  };
}

function unsent(cause: Error): Failure {
  return new Failure('unavailable', 'nothing could be sent', { cause, nothingDone: true });
}

/** Reads one answer to its end, or breaks it off. */
function collect({ answer, fail }: Exchange) {
  const chunks: Buffer[] = [];
  let status = 0;
  let headers: TransportResponse['headers'] = {};
  let controller: Dispatcher.DispatchController | undefined;
  let brokenOff: Error | undefined;
  const handler: Dispatcher.DispatchHandler = {
    onRequestStart(started) {
      controller = started;
      // The call ended while it waited for a connection, so it must not be sent any more.
      if (brokenOff !== undefined) started.abort(brokenOff);
    },
    onResponseStart(_controller, responseStatus, responseHeaders) {
      // Called for informational answers (1xx) too; the last call is the answer itself.
      status = responseStatus;
      headers = responseHeaders;
    },
    onResponseData(_controller, chunk) {
      chunks.push(chunk);
    },
    onResponseEnd() {
      const [first] = chunks;
      const whole = first !== undefined && chunks.length === 1 ? first : Buffer.concat(chunks);
      answer({ status, headers, body: whole.toString() });
    },
    onResponseError(_controller, error) {
      // Before its start nothing of a request is written: there was no connection for it.
      fail(controller === undefined && brokenOff === undefined ? unsent(error) : error);
    },
  };
  function breakOff(reason: Error): void {
    brokenOff = reason;
    controller?.abort(reason);
  }
  return { handler, breakOff };
}

/**
 * Calls one service over a pool of connections.
 *
 * It dispatches by hand rather than through `pool.request`, which makes a stream for every body:
 * the answers are small, bounded and wanted whole.
 *
 * @param baseUrl where the service listens, for example `http://127.0.0.1:5001`.
 * @throws when `baseUrl` is no HTTP address or an option is out of range.
 */
export function undiciTransport(
  baseUrl: string,
  {
    connections,
    maxPending,
    keepAliveTimeoutMs,
    maxResponseBytes,
    connectTimeoutMs = 2000,
    address,
  }: UndiciOptions,
): Transport & { close(): Promise<void> } {
  const pool = new Pool(baseUrl, {
    connections,
    // A server announces how long it keeps idle connections (Fastify: 72 s) and undici would follow
    // it; the maximum makes ours a true bound, so that we never write into a closing connection.
    keepAliveTimeout: keepAliveTimeoutMs,
    keepAliveMaxTimeout: keepAliveTimeoutMs,
    maxResponseSize: maxResponseBytes,
    connect: {
      timeout: connectTimeoutMs,
      ...(address !== undefined && { lookup: lookupOf(address) }),
    },
    // The deadline of the call covers headers and body and the wait for a connection as well.
    headersTimeout: 0,
    bodyTimeout: 0,
  });
  let pending = 0;
  const transport: Transport = async (request) => {
    if (pending >= maxPending) {
      throw new Failure('overloaded', 'too many calls are waiting', { nothingDone: true });
    }
    pending += 1;
    try {
      return await send(request);
    } finally {
      pending -= 1;
    }
  };
  const send: Transport = (request) =>
    exchangeInTime(request, (exchange) => {
      const { handler, breakOff } = collect(exchange);
      const { method, path, headers, body } = request;
      pool.dispatch({ method, path, headers, body: body ?? null }, handler);
      return breakOff;
    });
  return Object.assign(transport, { close: () => pool.close() });
}
