/**
 * A crowd: many who come at random times, each with a connection and little patience. A process of
 * its own that takes a `Visit` as the body of a POST. It speaks HTTP on bare sockets, for it has to
 * ask for several times what the shop can do, and whoever measures an overload by a client that is
 * slower than the shop measures that client.
 */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { requestsOf } from './requests.js';
import { latenciesOf } from './statistics.js';
import { serveTask } from './task.js';
import { saysNothingCame, Visit, type Visited } from './visit.js';

const tickMs = 1;
/** Requests of this many clients are made up beforehand, and used in turn. */
const differentClients = 64;

/** One connection, with at most one visitor on it. */
interface Line {
  readonly socket: Socket;
  /** When the visitor came; undefined while there is none. */
  cameMs: number | undefined;
  received: string;
}

async function run(plan: Visit): Promise<Visited> {
  const { connections, seconds, patienceMs, perSecond } = plan;
  const { hostname, port } = new URL(plan.url);
  const requests = textsOf(plan);
  const counts = { came: 0, served: 0, shed: 0, gaveUp: 0, kept: 0, failed: 0 };
  /** Who was served before the last came; those after it tell nothing of the rate. */
  let servedMeanwhile = 0;
  const waits: number[] = [];
  const delays: number[] = [];
  const lines = new Set<Line>();
  const idle: Line[] = [];
  /** In the order in which they came, and so in the order in which their patience ends. */
  const waiting = new Set<Line>();
  let turn = 0;

  function open(): Line {
    const socket = connect({ host: hostname, port: Number(port), noDelay: true });
    const line: Line = { socket, cameMs: undefined, received: '' };
    socket.setEncoding('latin1');
    socket.on('data', (text: string) => hear(line, text));
    socket.on('error', () => socket.destroy());
    socket.on('close', () => lose(line));
    lines.add(line);
    return line;
  }

  /** The connection that has been idle for the shortest time, if it is still there. */
  function idleLine(): Line | undefined {
    for (;;) {
      const line = idle.pop();
      if (line === undefined || !line.socket.destroyed) return line;
    }
  }

  function ask(cameMs: number): void {
    counts.came += 1;
    const line = idleLine() ?? (lines.size < connections ? open() : undefined);
    if (line === undefined) {
      counts.kept += 1;
      return;
    }
    line.cameMs = cameMs;
    waiting.add(line);
    line.socket.write(requests[turn % requests.length] ?? '');
    turn += 1;
  }

  function hear(line: Line, text: string): void {
    line.received += text;
    const status = statusOfWhole(line.received);
    if (status === undefined || line.cameMs === undefined) return;
    const nowMs = performance.now();
    const isGone = nowMs - line.cameMs >= patienceMs;
    if (isGone) {
      // The answer was there before its client was looked at, who had hung up by then.
      counts.gaveUp += 1;
    } else if (status.code === 200) {
      counts.served += 1;
      if (nowMs < endMs) servedMeanwhile += 1;
      waits.push(nowMs - line.cameMs);
    } else if (isTurnedAway(plan.kind, status)) counts.shed += 1;
    else counts.failed += 1;
    waiting.delete(line);
    line.cameMs = undefined;
    line.received = '';
    if (status.isLast || isGone) line.socket.destroy();
    else idle.push(line);
    if (perSecond === undefined && nowMs < endMs) ask(nowMs);
  }

  function lose(line: Line): void {
    lines.delete(line);
    if (!waiting.delete(line)) return;
    counts.failed += 1;
    if (perSecond === undefined && performance.now() < endMs) ask(performance.now());
  }

  /** Those whose patience is over hang up. */
  function hangUp(nowMs: number): void {
    for (const line of waiting) {
      if (line.cameMs === undefined || nowMs - line.cameMs < patienceMs) return;
      waiting.delete(line);
      counts.gaveUp += 1;
      line.socket.destroy();
      if (perSecond === undefined && nowMs < endMs) ask(nowMs);
    }
  }

  // To open thousands of connections takes a second in which nobody could ask for anything.
  const openedFromMs = performance.now();
  const opening = Array.from({ length: connections }, open);
  await Promise.allSettled(opening.map(({ socket }) => once(socket, 'connect')));
  idle.push(...opening);
  const beganMs = performance.now();
  const endMs = beganMs + seconds * 1000;
  let nextMs = beganMs;
  if (perSecond === undefined) for (let one = 0; one < connections; one += 1) ask(beganMs);

  return new Promise((resolve) => {
    const ticking = setInterval(() => {
      const nowMs = performance.now();
      // Whoever was late to be sent came at the time that was planned for him all the same.
      while (perSecond !== undefined && nextMs <= nowMs && nextMs < endMs) {
        delays.push(nowMs - nextMs);
        ask(nextMs);
        nextMs -= (Math.log(1 - Math.random()) / perSecond) * 1000;
      }
      hangUp(nowMs);
      if (nowMs < endMs || waiting.size > 0) return;
      clearInterval(ticking);
      for (const { socket } of lines) socket.destroy();
      const { p50, p99, max } = latenciesOf(waits);
      const openingMs = beganMs - openedFromMs;
      resolve({
        ...counts,
        servedPerSecond: servedMeanwhile / seconds,
        openingMs,
        lateMs: latenciesOf(delays).p99,
        waits: { p50, p99, max },
      });
    }, tickMs);
  });
}

/** The requests, as they stand on the wire. */
function textsOf({ kind, books }: Visit): string[] {
  return Array.from({ length: differentClients }, (_, client) => client).flatMap((client) =>
    requestsOf(kind, books, client).map(({ method, path }) => {
      const length = method === 'POST' ? 'content-length: 0\r\n' : '';
      return `${method} ${path} HTTP/1.1\r\nhost: shop\r\n${length}\r\n`;
    }),
  );
}

const headEnd = '\r\n\r\n';

/** The status of an answer that is here to its last byte, else undefined. */
function statusOfWhole(text: string) {
  const end = text.indexOf(headEnd);
  if (end < 0) return undefined;
  const head = text.slice(0, end).toLowerCase();
  const length = Number(/\r\ncontent-length: (\d+)/.exec(head)?.[1] ?? 0);
  if (text.length < end + headEnd.length + length) return undefined;
  return {
    code: Number(head.slice('http/1.1 '.length, 'http/1.1 '.length + 3)),
    saysWhen: head.includes('\r\nretry-after: '),
    saysNothingCame: saysNothingCame(text.slice(end)),
    isLast: head.includes('\r\nconnection: close'),
  };
}

/** A 503 may leave open what came of a purchase; only one that says that nothing did is a refusal. */
function isTurnedAway(
  kind: Visit['kind'],
  { code, saysWhen, saysNothingCame }: NonNullable<ReturnType<typeof statusOfWhole>>,
): boolean {
  return code === 503 && saysWhen && (saysNothingCame || kind !== 'purchase');
}

serveTask(Visit, run);
