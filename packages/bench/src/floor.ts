/**
 * The floor: what `node:http` can do at best. It reads a request and answers ready bytes as long as
 * those of the shop, and does nothing else; no service of any kind can be faster on this machine.
 *
 * LENGTHS names the lengths of the three answers in bytes, as `info=87,search=120,purchase=230`.
 */
import { createServer, type ServerResponse } from 'node:http';
import { announce } from './listening.js';

const lengths = new Map(
  (process.env['LENGTHS'] ?? '').split(',').map((pair) => {
    const [name = '', length = '0'] = pair.split('=');
    return [name, Number(length)];
  }),
);

const bytes = new Map([...lengths].map(([name, length]) => [name, jsonOfLength(length)]));

function jsonOfLength(length: number): Buffer {
  return Buffer.from(JSON.stringify('x'.repeat(Math.max(0, length - 2))));
}

function answer(response: ServerResponse, name: string): void {
  const body = bytes.get(name);
  if (body === undefined) {
    response.writeHead(404).end();
    return;
  }
  response.writeHead(200, { 'content-type': 'application/json', 'content-length': body.length });
  response.end(body);
}

const server = createServer((request, response) => {
  const name = request.url?.split('/', 2)[1] ?? '';
  if (request.method === 'GET') {
    answer(response, name);
    return;
  }
  request.resume();
  request.on('end', () => answer(response, name));
});
server.listen(0, '127.0.0.1', () => announce(server.address()));
