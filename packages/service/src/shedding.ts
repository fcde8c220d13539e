import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Failure } from '@bazar/contracts';
import { noteAnswer } from './exchange.js';
import { problemAnswer, rawAnswer } from './problems.js';

/** Why a request is turned away, and the pattern of the route that it was for. */
export interface Refusal {
  readonly route: string;
  readonly failure: Failure;
}

/** Tells which requests are turned away, while more wait than can be served in time. */
export type Shed = (method: string, url: string) => Refusal | undefined;

export interface SheddingOptions {
  readonly shed: Shed;
  readonly requestId: (request: IncomingMessage) => string;
  readonly onRefusal: (refusal: Refusal, method: string, requestId: string) => void;
}

/**
 * Answers with a problem document.
 * @returns the id of the request
 */
export function refuseAtOnce(
  failure: Failure,
  request: IncomingMessage,
  response: ServerResponse,
  requestId: SheddingOptions['requestId'],
): string {
  noteAnswer(request);
  const id = requestId(request);
  const { status, headers, body } = problemAnswer(failure, id);
  // As text it is sent with the headers in one piece.
  response.writeHead(status, headers).end(body.toString());
  return id;
}

/**
 * The same for a client that has ended its side and most likely hung up, behind the only request on
 * its connection: nothing is waited for, for where thousands do so it would take the time of others.
 */
export function refuseAndLeave(
  failure: Failure,
  request: IncomingMessage,
  requestId: SheddingOptions['requestId'],
): string {
  const { socket } = request;
  const id = requestId(request);
  socket.write(rawAnswer(failure, id));
  socket.destroy();
  return id;
}

/**
 * Turns a request away at a fraction of the cost of an answer: what is spent on those who are refused
 * is missing for the others (load shedding; Beyer et al., "Site Reliability Engineering", 2016,
 * chapter 21). Pages on other origins are let in, or could not read the refusal.
 *
 * @returns true when the request was turned away
 */
export function turnAway({ shed, requestId, onRefusal }: SheddingOptions) {
  return (request: IncomingMessage, response: ServerResponse): boolean => {
    const { method = '', url = '', headers } = request;
    const refusal = headers.origin === undefined ? shed(method, url) : undefined;
    if (refusal === undefined) return false;
    const id = refuseAtOnce(refusal.failure, request, response, requestId);
    onRefusal(refusal, method, id);
    return true;
  };
}
