import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Failure } from '@bazar/contracts';
import { noteAnswer } from './exchange.js';
import { problemAnswer } from './problems.js';

/** A route that is closed while more wait for it than can be served in time. */
export interface Door {
  /** Its pattern. */
  readonly route: string;
  /** Why the next request is turned away, where it is. */
  readonly refusal: () => Failure | undefined;
}

/** The door that a request is for; one without is never turned away, nor made to wait. */
export type Gate = (method: string, url: string) => Door | undefined;

export interface DoorwayOptions {
  readonly requestId: (request: IncomingMessage) => string;
  readonly onRefusal: (failure: Failure, door: Door, method: string, requestId: string) => void;
}

/**
 * Turns a request away at a fraction of the cost of an answer: what is spent on those who are refused
 * is missing for the others (load shedding; Beyer et al., "Site Reliability Engineering", 2016,
 * chapter 21). Pages on other origins are let in, or could not read the refusal.
 *
 * @returns true when the request was turned away
 */
export function turnAway({ requestId, onRefusal }: DoorwayOptions) {
  return (door: Door, request: IncomingMessage, response: ServerResponse): boolean => {
    const { method = '', headers } = request;
    const failure = headers.origin === undefined ? door.refusal() : undefined;
    if (failure === undefined) return false;
    noteAnswer(request);
    const id = requestId(request);
    const { status, headers: answered, body } = problemAnswer(failure, id);
    // As text it is sent with the headers in one piece.
    response.writeHead(status, answered).end(body.toString());
    onRefusal(failure, door, method, id);
    return true;
  };
}
