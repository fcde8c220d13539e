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

/** A service behind this one, over connections that are kept. */
export function connect(url: string | undefined): Upstream {
  const pool = new Pool(url ?? '', { connections: 64, keepAliveTimeout: 30_000 });
  return {
    async ask(shape, method, path, body) {
      const answer = await pool.request({
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
