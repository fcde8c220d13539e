import { setTimeout as sleep } from 'node:timers/promises';

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: unknown;
}

export interface Wish {
  /** `GET http://…` or `POST http://…` */
  readonly request: string;
  readonly key?: string;
  readonly body?: object;
  readonly signal?: AbortSignal;
}

/** Asks once. Rejects when no whole answer comes back. */
export async function ask({ request, key, body, signal }: Wish): Promise<Answer> {
  const [method = '', url = ''] = request.split(' ');
  const response = await fetch(url, {
    method,
    headers: {
      ...(body !== undefined && { 'content-type': 'application/json' }),
      ...(key !== undefined && { 'idempotency-key': key }),
    },
    ...(body !== undefined && { body: JSON.stringify(body) }),
    ...(signal !== undefined && { signal }),
  });
  const text = await response.text();
  const { status, headers } = response;
  return { status, headers, body: text === '' ? undefined : JSON.parse(text) };
}

const retryMs = 25;
/** Far more than any restart takes: the bound is only for a shop that is broken. */
const maxAttempts = 10_000;

/**
 * Asks the same again under the same key until somebody knows the answer: no connection, a broken
 * one and a status of 500 and above only say that it is not known. Only `giveUp` ends it early.
 */
export async function askForSure(wish: Wish, giveUp?: AbortSignal): Promise<Answer> {
  for (let attempt = 0; attempt < maxAttempts; attempt += 1) {
    const answer = await ask(wish).catch(() => undefined);
    if (answer !== undefined && answer.status < 500) return answer;
    giveUp?.throwIfAborted();
    await sleep(retryMs);
  }
  throw new Error(`Asked ${maxAttempts} times in vain: ${wish.request}`);
}

/** The value under a name, of whatever came back; undefined where there is none. */
export function field(of: unknown, name: string): unknown {
  return typeof of === 'object' && of !== null
    ? Object.entries(of).find(([key]) => key === name)?.[1]
    : undefined;
}

/** Waits for a state that is certain to come; the bound is only for a shop that is broken. */
export async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  for (let round = 0; round < 20_000; round += 1) {
    if (await holds()) return;
    await sleep(5);
  }
  throw new Error(`Waited in vain until ${what}.`);
}

/** Does many things, so many at a time. */
export async function forEachOf<Item>(
  items: Iterable<Item>,
  atOnce: number,
  run: (item: Item) => Promise<unknown>,
): Promise<void> {
  const queue = items[Symbol.iterator]();
  const worker = async () => {
    for (let next = queue.next(); !next.done; next = queue.next()) await run(next.value);
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
}
