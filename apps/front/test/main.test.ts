import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';

// The front as a process. What it does with connections is in front.test.ts.

/** A gateway that answers nothing until it is told to. */
async function openGateway(t: Test) {
  const server: Server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  return { server, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
}

function start(t: Test, env: Record<string, string>) {
  const main = fileURLToPath(new URL('../dist/main.js', import.meta.url));
  // tap puts its loader into every process through this variable, whatever `env` says.
  const child = spawn('env', ['-u', 'NODE_OPTIONS', process.execPath, main], {
    env: { ...process.env, PORT: '0', ...env },
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  });
  t.teardown(() => child.kill('SIGKILL'));
  let output = '';
  const listeners = new Set<() => void>();
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (text: string) => {
      output += text;
      for (const listener of listeners) listener();
    });
  }
  const until = (pattern: RegExp) =>
    new Promise<string>((resolve) => {
      const look = () => {
        const found = pattern.exec(output);
        if (found !== null) resolve(found[1] ?? found[0]);
      };
      listeners.add(look);
      look();
    });
  const streams = [child.stdout, child.stderr].map((stream) => stream && once(stream, 'close'));
  const ended = Promise.all([once(child, 'exit'), ...streams]).then(([exit]) => exit);
  const url = () => until(/the front service listens at (http:[^"]+)/);
  return { child, output: () => output, until, ended, url };
}

t.test('when SIGUSR2 comes, then the level is switched, and the front goes on', async (t) => {
  const gateway = await openGateway(t);
  gateway.server.on('request', (_request, response) => response.end('sold'));
  const front = start(t, { GATEWAY_URLS: gateway.url });
  const [message] = await once(front.child, 'message');
  t.same(message, { kind: 'listening', url: await front.url() });
  front.child.kill('SIGUSR2');
  await front.until(/the log level is debug now/);
  front.child.kill('SIGUSR2');
  await front.until(/the log level is info now/);
  const answer = await fetch(message.url, { headers: { connection: 'close' } });
  t.equal(await answer.text(), 'sold');
  front.child.kill('SIGTERM');
  t.same(await front.ended, [0, null]);
  t.match(front.output(), /the front service is stopping/);
});

t.test('when the launcher dies, then the front stops', async (t) => {
  const front = start(t, {});
  await front.url();
  front.child.disconnect();
  t.same(await front.ended, [0, null]);
});

t.test('when a second signal comes, then the front exits at once, and not with 0', async (t) => {
  const gateway = await openGateway(t);
  const front = start(t, { GATEWAY_URLS: gateway.url });
  const waiting = fetch(await front.url()).catch((error: unknown) => error);
  await once(gateway.server, 'request');
  front.child.kill('SIGTERM');
  await front.until(/is stopping/);
  front.child.kill('SIGINT');
  t.same(await front.ended, [1, null]);
  t.ok((await waiting) instanceof Error);
});

t.test('when the front cannot listen, then one sentence names the variables', async (t) => {
  const { url } = await openGateway(t);
  const port = new URL(url).port;
  for (const [name, who] of [
    ['', 'front'],
    ['METRICS_', 'front metrics'],
  ] as const) {
    const taken = start(t, { [`${name}PORT`]: port });
    t.same(await taken.ended, [1, null]);
    const sentence =
      `The ${who} service cannot listen on 127.0.0.1:${port} (the variables ${name}HOST and ` +
      `${name}PORT): something else is listening there already.\n`;
    t.equal(taken.output(), sentence);
  }
  const wrong = start(t, { METRICS_PORT: 'http' });
  t.same(await wrong.ended, [1, null]);
  t.match(wrong.output(), /^METRICS_PORT is "http", but must be a plain decimal number .*\n$/);
});

t.test('when it is to tell of itself, then it does, at a port of its own', async (t) => {
  const gateway = await openGateway(t);
  const front = start(t, { GATEWAY_URLS: gateway.url, METRICS_PORT: '0' });
  const own = await front.until(/the front metrics service listens at (http:[^"]+)/);
  const waiting = fetch(await front.url()).catch((error: unknown) => error);
  await once(gateway.server, 'request');
  t.equal((await fetch(`${own}/health/ready`)).status, 200);
  const figures = await (await fetch(`${own}/metrics`)).text();
  for (const line of [
    'bazar_front_connections{state="open"} 1',
    'bazar_front_connections{state="ending"} 0',
    'bazar_front_full_total{what="ended"} 0',
    'bazar_front_full_total{what="refused"} 0',
    'bazar_front_gateways 1',
  ]) {
    t.ok(figures.includes(`${line}\n`), line);
  }
  const shown = [...figures.matchAll(/^# TYPE (bazar_front_\w+)/gm)].map(([, name]) => name);
  const text = readFileSync(new URL('../README.md', import.meta.url), 'utf8');
  const told = [...text.matchAll(/^\| `(bazar_\w+)`/gm)].map(([, name]) => name);
  t.same(told.toSorted(), shown.toSorted(), 'the README lists them all, and no others');
  gateway.server.closeAllConnections();
  t.ok((await waiting) instanceof Error);
  gateway.server.close();
  t.ok((await fetch(await front.url()).catch((error: unknown) => error)) instanceof Error);
  // What the front knew a moment ago is still told for that moment.
  let asked = await fetch(`${own}/health/ready`);
  while (asked.status === 200) asked = await fetch(`${own}/health/ready`);
  t.equal(asked.status, 503);
  t.match(await asked.json(), { detail: 'gateways: none of them takes connections' });
  front.child.kill('SIGTERM');
  t.same(await front.ended, [0, null]);
});
