/**
 * Speaks the protocol of a service's main without being one: how it behaves is said by the variable
 * STAND_IN, as `catalog:stubborn,order:refuses`. It is told who it is by its file's name.
 */
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';

/** @param {'catalog' | 'order' | 'gateway'} name */
export function standIn(name) {
  const behaviour = (process.env.STAND_IN ?? '')
    .split(',')
    .find((entry) => entry.startsWith(`${name}:`))
    ?.split(':')[1];
  writeFileSync(join(process.env.DATA_DIR, `${name}.pid`), String(process.pid));
  if (behaviour === 'refuses') {
    process.stderr.write('The stand-in does not like this folder.\n');
    process.exit(1);
  }
  if (behaviour === 'taken') {
    const where = '127.0.0.1:1 (the variables HOST and PORT)';
    process.stderr.write(`The ${name} service cannot listen on ${where}: x.\n`);
    process.exit(1);
  }
  const log = (msg) => {
    process.stdout.write(`${JSON.stringify({ level: 30, time: Date.now(), name, msg })}\n`);
  };
  const { DATA_DIR, DATABASE_URL, PORT, CATALOG_URLS, ORDER_URLS, NODE_OPTIONS } = process.env;
  const seen = { name, DATA_DIR, DATABASE_URL, PORT, CATALOG_URLS, ORDER_URLS, NODE_OPTIONS };
  const server = createServer((request, response) => {
    if (request.url !== '/health/ready') log(request.url);
    const unready = behaviour === 'unready' && request.url === '/health/ready';
    const full = behaviour === 'full' && request.url === '/health/ready';
    const problem = unready ? 'no books' : JSON.stringify({ code: 'storage_full' });
    const well = !unready && !full;
    response.writeHead(well ? 200 : 503).end(well ? JSON.stringify(seen) : problem);
    if (request.url === '/crash') process.nextTick(() => process.exit(3));
  });
  server.on('error', (error) => {
    process.stderr.write(`The port ${error.address}:${error.port} is taken.\n`);
    process.exit(1);
  });
  const stop = () => {
    log('stopping');
    server.closeAllConnections();
    server.close(() => process.exit(behaviour === 'fails' ? 7 : 0));
  };
  process.on('SIGTERM', behaviour === 'stubborn' ? () => log('no') : stop);
  process.on('disconnect', stop);
  if (behaviour === 'silent') return;
  server.listen(Number(PORT), '127.0.0.1', () => {
    process.stderr.write('a warning\n');
    // As late as can be: a signal that comes too early ends this one, and is noticed.
    process.on('SIGUSR2', () => log('switched'));
    log('listening');
    process.send?.({ kind: 'listening', url: `http://127.0.0.1:${server.address().port}` });
  });
}
