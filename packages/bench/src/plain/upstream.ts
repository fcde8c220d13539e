import type { Static, TSchema } from '@sinclair/typebox';
import type { TypeCheck } from '@sinclair/typebox/compiler';
import { Pool } from 'undici';

export interface Upstream {
  /** Asks and reads the answer. @throws Error unless it is a 200 of the expected shape */
  ask<Schema extends TSchema>(
    shape: TypeCheck<Schema>,
    method: 'GET' | 'POST',
    path: string,
    body?: object,
  ): Promise<Static<Schema>>;
}

/**
 * A service behind this one, over connections that are kept; its replicas are asked in turn.
 *
 * @param urls comma-separated
 */
export function connect(urls: string | undefined): Upstream {
  const options = { connections: 64, keepAliveTimeout: 30_000 };
  const pools = (urls ?? '').split(',').map((url) => new Pool(url, options));
  let turns = 0;
  function next(): Pool {
    const pool = pools[turns % pools.length];
    if (pool === undefined) throw new RangeError('There is nobody to ask.');
    turns += 1;
    return pool;
  }
  return {
    async ask(shape, method, path, body) {
      const answer = await next().request({
        method,
        path,
        ...(body !== undefined && {
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify(body),
        }),
      });
      const value: unknown = await answer.body.json();
      if (answer.statusCode !== 200 || !shape.Check(value)) {
        throw new Error(`${method} ${path} was answered ${answer.statusCode}`);
      }
      return value;
    },
  };
}
