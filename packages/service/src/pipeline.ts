import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

/** Works on one request; the answer is given once the response closes. */
export type Handle = (request: IncomingMessage, response: ServerResponse) => void;

/**
 * How many requests of one connection are worked on at a time. HTTP/1.1 allows any number on their
 * way (RFC 9112, section 9.3.2), and Node parses all that arrive: one client that sends many and
 * reads nothing would fill the queues that everybody else's requests stand in.
 */
const maxUnanswered = 64;

/**
 * Hands on the requests of each connection, at most 64 of them until the first is answered. What
 * was parsed beyond that is held back, and nothing more is read from that connection meanwhile: TCP
 * then tells its client to wait, which no status could.
 */
export function boundPipelines(handle: Handle): Handle {
  const pipelines = new WeakMap<Socket, Handle>();
  return (request, response) => {
    const { socket } = request;
    let take = pipelines.get(socket);
    if (take === undefined) {
      take = openPipeline(socket, handle);
      pipelines.set(socket, take);
    }
    take(request, response);
  };
}

function openPipeline(socket: Socket, handle: Handle): Handle {
  const held: (readonly [IncomingMessage, ServerResponse])[] = [];
  let unanswered = 0;

  function begin(request: IncomingMessage, response: ServerResponse): void {
    unanswered += 1;
    response.on('close', onAnswered);
    handle(request, response);
  }

  function onAnswered(): void {
    unanswered -= 1;
    // Nobody would hear the answers of a connection that is gone.
    const next = socket.destroyed ? undefined : held.shift();
    if (next === undefined) return;
    begin(...next);
    if (held.length === 0) socket.resume();
  }

  // Node itself resumes a connection whenever a request on it was read to its end. To pause it again
  // is safe: a request is held only behind others, whose bodies have therefore all arrived.
  socket.on('resume', () => {
    if (held.length > 0) socket.pause();
  });

  return (request, response) => {
    if (unanswered < maxUnanswered) {
      begin(request, response);
    } else {
      held.push([request, response]);
      socket.pause();
    }
  };
}
