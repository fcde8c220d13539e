import { setTimeout as sleep } from 'node:timers/promises';
import { Pool } from 'undici';
import { BenchFailure } from './conservation.js';

/** One answer, with the moments of asking and of having it whole, in ms of `performance.now()`. */
export interface Answer {
  readonly status: number;
  readonly body: unknown;
  /** Whether a cache says that it was the one who answered (RFC 9211). */
  readonly cache: 'hit' | 'miss' | undefined;
  readonly beganMs: number;
  readonly endedMs: number;
}

export interface Question {
  readonly method: 'GET' | 'POST';
  readonly path: string;
  /** The idempotency key of a purchase or an update. */
  readonly key?: string;
  readonly body?: object;
}

/** Somebody with connections of their own to one service. */
export interface Client {
  /** Asks once. Rejects when no whole answer comes back. */
  ask(question: Question): Promise<Answer>;
  /**
   * Asks the same again until somebody knows the answer: no connection, a broken one and a status
   * of 500 and above only say that it is not known.
   *
   * @returns the answer, as of the first asking, and how often it was asked for
   * @throws BenchFailure when nobody knows for half a minute
   */
  askForSure(question: Question): Promise<Answer & { readonly attempts: number }>;
  close(): Promise<void>;
}

const retryMs = 20;
const patienceMs = 30_000;
const answerTimeoutMs = 12_000;

export function connect(url: string, connections = 64): Client {
  const pool = new Pool(url, {
    connections,
    headersTimeout: answerTimeoutMs,
    bodyTimeout: answerTimeoutMs,
  });

  async function ask({ method, path, key, body }: Question): Promise<Answer> {
    const beganMs = performance.now();
    const answer = await pool.request({
      method,
      path,
      headers: {
        ...(key !== undefined && { 'idempotency-key': key }),
        ...(body !== undefined && { 'content-type': 'application/json' }),
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    const value: unknown = await answer.body.json();
    return {
      status: answer.statusCode,
      body: value,
      cache: cacheIn(answer.headers['cache-status']),
      beganMs,
      endedMs: performance.now(),
    };
  }

  return {
    ask,
    async askForSure(question) {
      const beganMs = performance.now();
      let last = 'nothing';
      for (let attempts = 1; performance.now() < beganMs + patienceMs; attempts += 1) {
        try {
          const answer = await ask(question);
          if (answer.status < 500) return { ...answer, beganMs, attempts };
          last = JSON.stringify(answer.body);
        } catch (error) {
          last = String(error);
        }
        await sleep(retryMs);
      }
      throw new BenchFailure(
        `${question.method} ${question.path} was not answered in ${patienceMs} ms: ${last}.`,
      );
    },
    close: () => pool.destroy(),
  };
}

function cacheIn(header: string | string[] | undefined): Answer['cache'] {
  if (header === undefined) return undefined;
  return /;\s*hit\b/.test(String(header)) ? 'hit' : 'miss';
}
