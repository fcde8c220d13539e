import type { Socket } from 'node:net';

export interface PassageOptions {
  /** Something came from the client: from now on an answer may be on its way. */
  readonly onAsked: () => void;
  /** Something came from the gateway. */
  readonly onAnswered: () => void;
  /** The gateway has nothing more to say, or is not asked any more: the connection is ending. */
  readonly onEnding: () => void;
  readonly quietMs?: number;
  readonly leftMs?: number;
  readonly lingerMs?: number;
}

/** A client's connection that is joined to a gateway's. */
export interface Passage {
  /**
   * Asks nothing more of the gateway. It is told as a client tells it who closes his side behind his
   * last request (`nc -N`), so it answers what has arrived and closes: the front, which reads nothing
   * of what goes through, need not know whether an answer is under way.
   */
  retire(): void;
}

const policy = {
  /**
   * Where nothing moves for so long, the connection is given up. A gateway does so after 60 s, and
   * after 72 s behind an answer: it knows what is under way, so it is to decide first.
   */
  quietMs: 90_000,
  /** A retired connection gets its last answers for so long: more than the patience of any caller. */
  retiredMs: 15_000,
  /** For so long a slow client may take what is left for it, once its gateway has closed. */
  leftMs: 30_000,
  /** Then it is read from for so long, so that a reset does not overtake the last answer. */
  lingerMs: 1000,
};

/**
 * Joins two connections until both have ended. Neither side is read from while the other takes
 * nothing, so a client that is deaf costs what the buffers of two sockets hold, until it has been
 * quiet for too long. A connection that breaks breaks the other one.
 */
export function openPassage(near: Socket, far: Socket, options: PassageOptions): Passage {
  const { onAsked, onAnswered, onEnding, ...limits } = options;
  const { quietMs, retiredMs, leftMs, lingerMs } = { ...policy, ...limits };
  let retiring: NodeJS.Timeout | undefined;

  // Not a clean end, which might be taken for the end of an answer.
  function cut(): void {
    near.resetAndDestroy();
    far.resetAndDestroy();
  }

  /** What the client still sends leads nowhere; it is read, lest a reset overtakes an answer. */
  function hearNoMore(): void {
    near.unpipe(far);
    near.off('data', onAsked);
    near.resume();
    onEnding();
  }

  near.on('error', cut);
  far.on('error', cut);
  near.setTimeout(quietMs, cut);
  near.on('data', onAsked);
  far.on('data', onAnswered);
  near.pipe(far);
  far.pipe(near, { end: false });
  far.once('end', () => {
    // Whatever becomes of its connection now, the gateway has said all it had to say.
    far.off('error', cut);
    far.on('error', () => {});
    hearNoMore();
    far.destroy();
    endInTime(near, leftMs, lingerMs);
  });
  near.once('close', () => {
    clearTimeout(retiring);
    far.destroy();
  });

  return {
    retire() {
      if (retiring !== undefined || far.readableEnded) return;
      retiring = setTimeout(cut, retiredMs);
      hearNoMore();
      far.end();
    },
  };
}

/** Ends a connection behind what is left for the other side, whether that closes its own or not. */
function endInTime(socket: Socket, leftMs: number, lingerMs: number): void {
  let timer = setTimeout(() => socket.resetAndDestroy(), leftMs);
  socket.once('close', () => clearTimeout(timer));
  socket.end(() => {
    clearTimeout(timer);
    if (!socket.destroyed) timer = setTimeout(() => socket.destroy(), lingerMs);
  });
}
