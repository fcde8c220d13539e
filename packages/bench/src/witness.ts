/** What is known of a book: every change that was asked for, and when it was acknowledged. */
interface Version {
  /** Copies left after the change. */
  readonly quantity: number;
  readonly begunMs: number;
  acknowledgedMs: number;
}

export interface Read {
  readonly book: number;
  readonly beganMs: number;
  readonly endedMs: number;
  /** What the answer said. */
  readonly quantity: number;
}

/** Remembers all changes of some books and judges what readers were shown. */
export interface Witness {
  /**
   * Notes that a change is asked for; the returned function notes its acknowledgement. Of one book
   * a change may begin only when the one before is acknowledged: then there is only one order in
   * which they can have happened.
   */
  begin(book: number, delta: number, nowMs: number): (nowMs: number) => void;
  /**
   * A read must show a state that is not older than the last change acknowledged before it began,
   * and not newer than the last one begun before it ended.
   *
   * @returns a sentence when it does not
   */
  judge(read: Read): string | undefined;
}

/** @param first book → copies at the beginning */
export function createWitness(first: ReadonlyMap<number, number>): Witness {
  const histories = new Map(
    [...first].map(([book, quantity]) => {
      const version: Version = { quantity, begunMs: -1, acknowledgedMs: -1 };
      return [book, [version]];
    }),
  );
  function historyOf(book: number): Version[] {
    const history = histories.get(book);
    if (history === undefined) throw new Error(`Nobody has introduced book ${book}.`);
    return history;
  }

  return {
    begin(book, delta, nowMs) {
      const history = historyOf(book);
      const last = history.at(-1);
      if (last === undefined || last.acknowledgedMs === Number.POSITIVE_INFINITY) {
        throw new Error(`Two changes of book ${book} at once have no order.`);
      }
      const version: Version = {
        quantity: last.quantity + delta,
        begunMs: nowMs,
        acknowledgedMs: Number.POSITIVE_INFINITY,
      };
      history.push(version);
      return (acknowledgedMs) => {
        version.acknowledgedMs = acknowledgedMs;
      };
    },
    judge({ book, beganMs, endedMs, quantity }) {
      const history = historyOf(book);
      const newest = history.findLastIndex(({ begunMs }) => begunMs <= endedMs);
      const oldest = history.findLastIndex(({ acknowledgedMs }) => acknowledgedMs < beganMs);
      const allowed = history.slice(oldest, newest + 1);
      if (allowed.some((version) => version.quantity === quantity)) return undefined;
      const shown = history.findLastIndex((version) => version.quantity === quantity);
      const states = allowed.map((version) => version.quantity).join(' or ');
      const why = shown === -1 ? 'a state that never was' : `${oldest - shown} changes too old`;
      return `book ${book}: a read showed ${quantity} where ${states} was right: ${why}`;
    },
  };
}
