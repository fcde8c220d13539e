/** Work for a process of its own: given as the body of a POST, done, and answered with the result. */
import { createServer } from 'node:http';
import { text } from 'node:stream/consumers';
import type { Static, TSchema } from '@sinclair/typebox';
import { Value } from '@sinclair/typebox/value';
import { announce } from './listening.js';

/** Does one kind of task for whoever started this process. */
export function serveTask<Shape extends TSchema>(
  shape: Shape,
  work: (task: Static<Shape>) => Promise<unknown>,
): void {
  const server = createServer(async (request, response) => {
    try {
      const task: unknown = JSON.parse(await text(request));
      if (!Value.Check(shape, task)) throw new Error('That is no task of mine.');
      response.end(JSON.stringify(await work(task)));
    } catch (error) {
      response.writeHead(500).end(JSON.stringify(String(error)));
    }
  });
  server.listen(0, '127.0.0.1', () => announce(server.address()));
}

/** Has the process at `url` do a task. @throws Error when it fails, or answers with another shape */
export async function giveTask<Shape extends TSchema>(
  url: string,
  task: unknown,
  shape: Shape,
): Promise<Static<Shape>> {
  const answer = await fetch(url, { method: 'POST', body: JSON.stringify(task) });
  const result: unknown = await answer.json();
  if (answer.ok && Value.Check(shape, result)) return result;
  throw new Error(`A process at work for the benchmark failed: ${JSON.stringify(result)}`);
}
