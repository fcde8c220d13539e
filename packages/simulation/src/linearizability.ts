/** One operation of a history, on any one clock. */
export interface Call<Input, Output> {
  readonly input: Input;
  readonly output: Output;
  /** When it was asked. */
  readonly from: number;
  /** When its answer was there. */
  readonly to: number;
}

/** What an object would answer if it did one thing at a time. */
export interface SequentialModel<State, Input, Output> {
  readonly initial: State;
  /** The state after the operation; undefined when it could not have been answered like this. */
  apply(state: State, input: Input, output: Output): State | undefined;
  /** The same text for states that cannot be told apart. */
  keyOf(state: State): string;
}

/** The call or the answer of an operation, in a list from which both can be taken and put back. */
interface Entry<Input, Output> {
  readonly call: Call<Input, Output>;
  readonly index: number;
  /** The entry of the answer; absent in the answer itself. */
  readonly answer: Entry<Input, Output> | undefined;
  previous: Entry<Input, Output> | undefined;
  next: Entry<Input, Output> | undefined;
}

/**
 * Whether a history is linearizable (Herlihy and Wing, 1990): each operation can be given a moment
 * between its call and its answer so that, one after the other, all are answered as they were. The
 * search is that of Wing and Gong ("Testing and Verifying Concurrent Objects", 1993), which Lowe
 * ("Testing for linearizability", 2017) taught to visit no pair of a set of operations and a state
 * twice. An object whose parts are independent is checked one part at a time: linearizability is
 * local, and the search is exponential in the operations that overlap.
 *
 * @param history in any order; operations at the same moment count as overlapping
 * @returns undefined when it is linearizable, else the operation whose answer no order explains
 */
export function findAnomaly<State, Input, Output>(
  history: readonly Call<Input, Output>[],
  { initial, apply, keyOf }: SequentialModel<State, Input, Output>,
): Call<Input, Output> | undefined {
  let first = link(history);
  let entry = first;
  let state = initial;
  let taken = 0n;
  let deepest = -1;
  let anomaly: Call<Input, Output> | undefined;
  const visited = new Set<string>();
  const path: { readonly entry: Entry<Input, Output>; readonly state: State }[] = [];

  while (entry !== undefined) {
    const { call, answer, index } = entry;
    if (answer === undefined) {
      // This answer is there before its operation took place: an earlier choice was wrong.
      if (path.length > deepest) {
        deepest = path.length;
        anomaly = call;
      }
      const last = path.pop();
      if (last === undefined) return anomaly;
      state = last.state;
      taken &= ~(1n << BigInt(last.entry.index));
      if (putBack(last.entry)) first = last.entry;
      entry = last.entry.next;
      continue;
    }
    const next = apply(state, call.input, call.output);
    const withIt = taken | (1n << BigInt(index));
    const key = next === undefined ? '' : `${withIt.toString(36)} ${keyOf(next)}`;
    if (next === undefined || visited.has(key)) {
      entry = entry.next;
      continue;
    }
    visited.add(key);
    path.push({ entry, state });
    state = next;
    taken = withIt;
    if (entry === first) first = first.next === answer ? answer.next : first.next;
    takeOut(entry);
    entry = first;
  }
  return undefined;
}

/** All calls and answers by their time, calls before answers at the same one. */
function link<Input, Output>(history: readonly Call<Input, Output>[]) {
  const entries = history.flatMap((call, index) => {
    const place = { call, index, previous: undefined, next: undefined };
    const answer: Entry<Input, Output> = { ...place, answer: undefined };
    const asked: Entry<Input, Output> = { ...place, answer };
    return [asked, answer];
  });
  const timeOf = ({ call, answer }: Entry<Input, Output>) =>
    answer === undefined ? call.to : call.from;
  const rank = ({ answer }: Entry<Input, Output>) => (answer === undefined ? 1 : 0);
  entries.sort((one, other) => timeOf(one) - timeOf(other) || rank(one) - rank(other));
  for (const [position, entry] of entries.entries()) {
    entry.previous = entries[position - 1];
    entry.next = entries[position + 1];
  }
  return entries[0];
}

function takeOut<Input, Output>(entry: Entry<Input, Output>): void {
  for (const one of [entry, entry.answer]) {
    if (one?.previous !== undefined) one.previous.next = one.next;
    if (one?.next !== undefined) one.next.previous = one.previous;
  }
}

/** Undoes the last `takeOut`; true when the entry is the first again. */
function putBack<Input, Output>(entry: Entry<Input, Output>): boolean {
  for (const one of [entry.answer, entry]) {
    if (one?.previous !== undefined) one.previous.next = one;
    if (one?.next !== undefined) one.next.previous = one;
  }
  return entry.previous === undefined;
}
