/** What a service did, in the order in which it happened. */
export type Call =
  /** A write has returned. */
  | { readonly kind: 'written'; readonly file: string; readonly ids: readonly string[] }
  | { readonly kind: 'sync began'; readonly file: string }
  | { readonly kind: 'synced'; readonly file: string }
  /** An answer begins to leave. */
  | { readonly kind: 'answered'; readonly ids: readonly string[] };

/**
 * The ids in answers that left before a sync of the file had covered them: one that began after
 * their write had returned, and that has returned itself.
 *
 * @param file the name of the file that every answer must wait for, or how it begins
 */
export function answeredTooSoon(calls: readonly Call[], file: string): string[] {
  const written = new Set<string>();
  const synced = new Set<string>();
  /** What each sync under way covers, the oldest first: they return in the order they began. */
  const covered: string[][] = [];
  const tooSoon: string[] = [];
  for (const call of calls) {
    if (call.kind === 'answered') {
      tooSoon.push(...call.ids.filter((id) => !synced.has(id)));
    } else if (call.file.startsWith(file)) {
      if (call.kind === 'written') for (const id of call.ids) written.add(id);
      else if (call.kind === 'sync began') covered.push([...written]);
      else for (const id of covered.shift() ?? []) synced.add(id);
    }
  }
  return tooSoon;
}

const uuid = /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g;

/** The ids in a text, each once; of requests and catalogs as well as of orders. */
export function idsIn(text: string): string[] {
  return [...new Set(text.match(uuid) ?? [])];
}

/**
 * Reads what `strace -f -y -s …` wrote of `pwrite64`, `write`, `writev`, `fsync` and `fdatasync`.
 * A call of one thread may be interrupted by those of others; it then stands on two lines.
 *
 * @param orders the ids to look for
 */
export function readTrace(text: string, orders: ReadonlySet<string>): Call[] {
  const ordersIn = (line: string) => idsIn(line).filter((id) => orders.has(id));
  const calls: Call[] = [];
  /** By thread: what its unfinished call will have been. */
  const unfinished = new Map<string, Call>();
  for (const line of text.split('\n')) {
    const [, thread = '', rest = ''] = /^(\d+) +(.*)$/.exec(line) ?? [];
    const resumed = /^<\.\.\. \w+ resumed>.* = (-?\d+)/.exec(rest);
    if (resumed !== null) {
      const call = unfinished.get(thread);
      unfinished.delete(thread);
      if (call !== undefined && Number(resumed[1]) >= 0) calls.push(call);
      continue;
    }
    const [, name = '', target = ''] = /^(\w+)\(\d+<([^>]*)>/.exec(rest) ?? [];
    const file = target.split('/').at(-1) ?? '';
    const isSync = name === 'fsync' || name === 'fdatasync';
    if (isSync) calls.push({ kind: 'sync began', file });
    else if (/^(TCP|socket)/.test(target)) {
      if (rest.includes('"HTTP/1.1 200 ')) calls.push({ kind: 'answered', ids: ordersIn(rest) });
      continue;
    } else if (!name.includes('write')) continue;
    const done: Call = isSync
      ? { kind: 'synced', file }
      : { kind: 'written', file, ids: ordersIn(rest) };
    if (rest.endsWith('<unfinished ...>')) unfinished.set(thread, done);
    else if (/ = \d+$/.test(rest)) calls.push(done);
  }
  return calls;
}
