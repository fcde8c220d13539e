import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { Type } from '@sinclair/typebox';
import t, { type Test } from 'tap';
import { ConfigError } from '../src/config.js';
import {
  databaseField,
  listenFields,
  readConfig,
  requireTokensOffLoopback,
  splitUrls,
  urlsField,
} from '../src/index.js';

const Config = Type.Object({
  ...listenFields({ port: 5001 }),
  RATE_LIMIT: Type.Optional(Type.Number({ minimum: 0.5, description: 'requests a second' })),
  SIDE: Type.String({ description: 'left or right.', pattern: '^(left|right)$' }),
});
const side = { SIDE: 'left' };
const token = 'abcdefgh-12345678';

t.test('when the environment is sound, then it is read, defaults filled in', async (t) => {
  t.same(readConfig(Config, { ...side, UNRELATED: 'x', PATH: '/' }), {
    ...side,
    HOST: '127.0.0.1',
    PORT: 5001,
    LOG_LEVEL: 'info',
  });
  t.match(readConfig(Config, { ...side, PORT: '0', RATE_LIMIT: '2.5', LOG_LEVEL: 'silent' }), {
    PORT: 0,
    RATE_LIMIT: 2.5,
    LOG_LEVEL: 'silent',
  });
  t.match(readConfig(Config, { ...side, PORT: '' }), { PORT: 5001 }, 'empty is not set');
  t.notOk(Config.additionalProperties, 'the schema is not written to');
});

t.test('when a variable will not do, then one sentence names it, its value and why', async (t) => {
  const refused = (env: Record<string, string>) => {
    try {
      readConfig(Config, { ...side, ...env });
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      t.notMatch(error.message, /\n/, 'one line');
      return error.message;
    }
    return 'nothing was refused';
  };
  t.equal(
    refused({ PORT: '70000' }),
    'PORT is "70000", but must be <= 65535 (the port to listen on, 0 to 65535, where 0 takes any free one).',
  );
  for (const port of ['http', '0x50', '1e3', ' 80', '-1', '80.5', '5001;']) {
    t.match(refused({ PORT: port }), new RegExp(`^PORT is "${port}", but must be `), port);
  }
  t.match(refused({ LOG_LEVEL: 'loud' }), /^LOG_LEVEL is "loud", but .*fatal, error, .*silent/);
  t.match(
    refused({ RATE_LIMIT: '0' }),
    /^RATE_LIMIT is "0", but must be >= 0.5 \(requests a second\)\.$/,
  );
  t.match(refused({ SIDE: 'up' }), /^SIDE is "up", but must match .* \(left or right\)\.$/);
  t.match(refused({ SIDE: '' }), /^SIDE is not set, but has to be \(left or right\)\.$/);
  for (const secret of ['hunter2', 'hunter2 hunter2 hunter2', `${token}\n`]) {
    const sentence = refused({ SERVICE_TOKEN: secret });
    t.match(sentence, /^SERVICE_TOKEN is a secret that is not shown, but must /);
    t.notMatch(sentence, /hunter2|abcdefgh/, 'a secret is never shown');
  }
});

t.test('when an address of a service will not do, then it is named without secrets', async (t) => {
  const Urls = Type.Object({ CATALOG_URLS: urlsField('http://127.0.0.1:5001') });
  const read = (CATALOG_URLS: string) => readConfig(Urls, { CATALOG_URLS });
  const good: Readonly<Record<string, readonly string[]>> = {
    'http://a:1': ['http://a:1'],
    'http://a:1/ ,https://B.example, http://[::1]:5': [
      'http://a:1',
      'https://b.example',
      'http://[::1]:5',
    ],
  };
  for (const [text, urls] of Object.entries(good)) {
    t.same(splitUrls(read(text).CATALOG_URLS), urls, text);
  }
  const bad = [
    'nope',
    'http://',
    'http:///',
    'http:a',
    'http://a:99999',
    'http://a b',
    'http://127.0.0.1:1/x',
    'http://a?x',
    'http://a#',
    'http://[::1',
    'http://%zz',
    'ftp://a',
    ',',
    'http://a:1,,http://b:1',
    'http://a:x',
  ];
  for (const text of bad) {
    t.throws(
      () => read(text),
      { name: 'ConfigError', message: /^CATALOG_URLS is ".*", but .* \(http addresses such as/ },
      text,
    );
  }
  for (const text of ['http://u:hunter2@a:1', 'http://a:1,http://u:hunter2@', '//u:hunter2@a']) {
    t.throws(() => read(text), { message: /^CATALOG_URLS is a secret(?!.*hunter2).*, but / }, text);
  }
});

t.test('when a database is named, then its password is never shown', async (t) => {
  const schema = Type.Object({ DATABASE_URL: databaseField() });
  const read = (url: string) => readConfig(schema, { DATABASE_URL: url });
  for (const url of ['postgres://u:hunter2@h/bazar', 'postgresql://h:5433/bazar?sslmode=require']) {
    t.equal(read(url).DATABASE_URL, url);
  }
  t.same(readConfig(schema, { DATABASE_URL: '' }), {});
  const wrong: Record<string, RegExp> = {
    'mysql://u:hunter2@h/bazar': /but it does not begin with postgres:\/\/ and a host/,
    'u:hunter2@h/bazar': /but it does not begin with/,
    'postgres://u:hunter2%2@h/bazar': /but a % in its user or its password/,
    'postgres://u:hunter2@h,h2/bazar': /but it names more than one host/,
    'postgres://u:hunter2@h': /but it does not name a host and one database/,
    'postgres://u:hunter2@h/a/b': /but it does not name/,
    'postgres://u:hunter2@h:x/bazar': /but it does not begin with/,
  };
  for (const [url, message] of Object.entries(wrong)) {
    const error = t.throws(() => read(url), { name: 'ConfigError', message }, url);
    t.match(error, { message: /^DATABASE_URL is a secret that is not shown, but/ });
    t.notMatch(error, { message: /hunter2/ });
  }
});

t.test('when a token comes in a file, then it is read from there', async (t) => {
  const folder = t.testdir({ token: `\n${token}\n`, empty: ' \n' });
  const path = join(folder, 'token');
  t.match(readConfig(Config, { ...side, SERVICE_TOKEN_FILE: path }), { SERVICE_TOKEN: token });
  t.match(readConfig(Config, { ...side, ADMIN_TOKEN_FILE: path }), { ADMIN_TOKEN: token });
  const env = { ...side, ADMIN_TOKEN: token };
  t.throws(
    () => readConfig(Config, { ...env, ADMIN_TOKEN_FILE: path }),
    /ADMIN_TOKEN and ADMIN_TOKEN_FILE are both set/,
  );
  t.throws(
    () => readConfig(Config, { ...side, ADMIN_TOKEN_FILE: join(folder, 'empty') }),
    /^.*ADMIN_TOKEN_FILE .* is empty/,
  );
  t.throws(
    () => readConfig(Config, { ...side, ADMIN_TOKEN_FILE: join(folder, 'none') }),
    /ADMIN_TOKEN_FILE .* cannot be read: ENOENT/,
  );
});

t.test('when others can reach a service, then it needs its tokens', async (t) => {
  const tokens = { SERVICE_TOKEN: token, ADMIN_TOKEN: `${token}-of-the-keeper` };
  const alike = { SERVICE_TOKEN: token, ADMIN_TOKEN: token };
  for (const HOST of ['127.0.0.1', '127.9.9.9', 'localhost', '::1']) {
    t.doesNotThrow(() => requireTokensOffLoopback({ HOST }), HOST);
    t.doesNotThrow(() => requireTokensOffLoopback({ HOST, ...alike }), HOST);
  }
  for (const HOST of ['0.0.0.0', '::', '10.0.0.1', 'catalog', '127.example.org']) {
    t.throws(
      () => requireTokensOffLoopback({ HOST }),
      /SERVICE_TOKEN .*openssl rand -hex 32/,
      HOST,
    );
    t.throws(() => requireTokensOffLoopback({ HOST, SERVICE_TOKEN: token }), /ADMIN_TOKEN/, HOST);
    t.doesNotThrow(() => requireTokensOffLoopback({ HOST, ...tokens }), HOST);
    t.throws(
      () => requireTokensOffLoopback({ HOST, ...alike }),
      { message: /^HOST is .* SERVICE_TOKEN and ADMIN_TOKEN may not be the same; .*another\.$/ },
      HOST,
    );
  }
  t.doesNotThrow(() =>
    requireTokensOffLoopback({ HOST: '::', SERVICE_TOKEN: token }, ['SERVICE_TOKEN']),
  );
});

/** A service as a process: `GET /slow` answers when the file `go` is there. */
const main = `
import { existsSync } from 'node:fs';
import { setTimeout } from 'node:timers/promises';
import { createService, runMain, serve, StartError } from ${JSON.stringify(
  new URL('../dist/index.js', import.meta.url).href,
)};
await runMain(async () => {
  if (process.env.REFUSE) throw new StartError('The till is empty.');
  const app = createService({ name: 'stall', config: { LOG_LEVEL: 'info' } });
  app.get('/slow', async () => {
    process.stdout.write('reached\\n');
    while (!existsSync('go')) await setTimeout(5);
    return 'done';
  });
  app.get('/crash', () => setImmediate(() => { throw new Error('crashed'); }));
  const close = async () => {
    process.stdout.write('closed\\n');
    while (process.env.STUCK) await setTimeout(1000);
  };
  const port = Number(process.env.PORT);
  const host = process.env.LISTEN_ON ?? '127.0.0.1';
  await serve({ app, host, port, name: 'stall', close });
});
`;

interface Started {
  readonly child: ChildProcess;
  readonly output: () => string;
  readonly until: (text: string) => Promise<void>;
  /** The exit code and signal, once both streams have ended too. */
  readonly ended: Promise<unknown[]>;
}

function start(t: Test, env: Record<string, string> = {}): Started & { readonly folder: string } {
  const folder = t.testdir({ 'main.mjs': main });
  // tap puts its loader into every process through this variable, whatever `env` says.
  const child = spawn('env', ['-u', 'NODE_OPTIONS', process.execPath, 'main.mjs'], {
    cwd: folder,
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
  const until = (text: string) =>
    new Promise<void>((resolve) => {
      const look = () => {
        if (output.includes(text)) resolve();
      };
      listeners.add(look);
      look();
    });
  // Not the event `close`: it never comes after a disconnect from this side.
  const streams = [child.stdout, child.stderr].map((stream) => stream && once(stream, 'close'));
  const ended = Promise.all([once(child, 'exit'), ...streams]).then(([exit]) => exit);
  return { child, folder, output: () => output, until, ended };
}

async function listening({ child }: Started): Promise<string> {
  const [message] = await once(child, 'message');
  return message.url;
}

for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  t.test(
    `when ${signal} comes, then what has arrived is answered and the exit code is 0`,
    async (t) => {
      const service = start(t);
      const url = await listening(service);
      t.match(url, /^http:\/\/127\.0\.0\.1:\d+$/);
      const slow = fetch(`${url}/slow`);
      await service.until('reached\n');
      service.child.kill(signal);
      await service.until('is stopping');
      t.notMatch(service.output(), /closed/, 'the storage is needed until the last answer');
      writeFileSync(join(service.folder, 'go'), '');
      t.equal(await (await slow).text(), 'done');
      t.same(await service.ended, [0, null]);
      t.match(service.output(), /closed\n/);
    },
  );
}

t.test('when the launcher dies, then the service stops', async (t) => {
  const service = start(t);
  await listening(service);
  service.child.disconnect();
  t.same(await service.ended, [0, null]);
  t.match(service.output(), /closed\n/);
});

t.test('when a second signal comes, then the service exits at once, and not with 0', async (t) => {
  const service = start(t, { STUCK: 'yes' });
  await listening(service);
  service.child.kill('SIGTERM');
  await service.until('closed\n');
  service.child.kill('SIGINT');
  t.same(await service.ended, [1, null]);
});

t.test('when an error is caught by nobody, then the service stops and says so', async (t) => {
  const service = start(t);
  const url = await listening(service);
  await fetch(`${url}/crash`).catch(() => {});
  t.same(await service.ended, [1, null]);
  t.match(service.output(), /"level":60.*crashed/);
  t.match(service.output(), /closed\n/, 'the storage is closed all the same');
});

t.test('when a service cannot start, then one sentence says why', async (t) => {
  const holder = createServer().listen(0, '127.0.0.1');
  t.teardown(() => holder.close());
  await once(holder, 'listening');
  const address = holder.address();
  const port = typeof address === 'object' ? String(address?.port) : '';
  const taken = start(t, { PORT: port });
  t.same(await taken.ended, [1, null]);
  const sentence = `The stall service cannot listen on 127.0.0.1:${port} (the variables HOST and PORT): something else is listening there already.\n`;
  t.equal(taken.output().replace('closed\n', ''), sentence);
  for (const HOST of ['no-such-host.invalid', '203.0.113.9']) {
    const nowhere = start(t, { LISTEN_ON: HOST });
    t.same(await nowhere.ended, [1, null]);
    const cannot =
      /^(closed\n)?The stall service cannot listen on .* \(the variables HOST and PORT\): .*\.\n$/;
    t.match(nowhere.output().replace('closed\n', ''), cannot, HOST);
  }
  const refused = start(t, { REFUSE: 'yes' });
  t.same(await refused.ended, [1, null]);
  t.equal(refused.output(), 'The till is empty.\n');
});
