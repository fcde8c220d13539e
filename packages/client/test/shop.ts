import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Test } from 'tap';
import { bazarThrough } from '../src/bazar.js';
import { createAsker, type Effects } from '../src/call.js';
import type { Bazar, BazarOptions } from '../src/index.js';
import { type Shop, shopRoutes } from '../src/routes.js';

export interface Heard {
  readonly method: string | undefined;
  readonly url: string | undefined;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}

export interface Reply {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

/** What a server does with one request: an answer, or whatever it does to the connection. */
export type Turn = Reply | ((request: IncomingMessage, response: ServerResponse) => void);

export const reply = (body: unknown, headers: Reply['headers'] = {}): Reply => ({
  headers: { 'content-type': 'application/json; charset=utf-8', ...headers },
  body: JSON.stringify(body),
});

export const problem = (
  code: string,
  status: number,
  headers: Reply['headers'] = {},
  detail = 'a sentence',
): Reply => ({
  status,
  headers: { 'content-type': 'application/problem+json', ...headers },
  body: JSON.stringify({ type: 'about:blank', title: 'T', status, detail, code, request_id: 'r' }),
});

export const cut: Turn = (_request, response) => response.socket?.resetAndDestroy();
export const silence: Turn = () => {};

/** A purchase that is made, under whatever key it comes. */
export function sold(order: object, headers: Reply['headers'] = {}): Turn {
  return (request, response) => {
    const { headers: answer, body } = reply(
      { message: 'bought', order: { ...order, order_id: request.headers['idempotency-key'] } },
      headers,
    );
    response.writeHead(200, answer).end(body);
  };
}

/** A server on a real socket that takes the turns one by one, and the last one for all further. */
export async function openShop(t: Test, ...turns: readonly Turn[]) {
  const heard: Heard[] = [];
  const server = createServer(async (request, response) => {
    let body = '';
    request.setEncoding('utf8');
    for await (const part of request) body += part;
    const { method, url, headers } = request;
    const turn = turns[Math.min(heard.length, turns.length - 1)] ?? {};
    heard.push({ method, url, headers, body });
    if (typeof turn === 'function') turn(request, response);
    else response.writeHead(turn.status ?? 200, turn.headers).end(turn.body);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return { baseUrl: `http://127.0.0.1:${port}`, heard };
}

/** Effects that wait for nothing: a clock that moves only with the pauses, and their lengths. */
export function openEffects(random = 0.5) {
  const pauses: number[] = [];
  let time = 0;
  let ids = 0;
  const effects: Effects = {
    now: () => time,
    async sleep(ms, signal) {
      signal?.throwIfAborted();
      pauses.push(ms);
      time += ms;
    },
    random: () => random,
    newId() {
      ids += 1;
      return `0190a6f0-0000-7abc-8def-${String(ids).padStart(12, '0')}`;
    },
  };
  return {
    effects,
    pauses,
    pass(ms: number) {
      time += ms;
    },
  };
}

/** A client with these effects. */
export function openBazar({ baseUrl, ...client }: BazarOptions, effects: Effects): Bazar {
  return bazarThrough(createAsker<Shop>(shopRoutes, baseUrl, client, effects));
}
