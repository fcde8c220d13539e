import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { createRandom, type Random, readMeasure } from '@bazar/simulation';
import t from 'tap';
import { Pool } from 'undici';
import { launchShop } from '../src/launch.js';
import { described, pathOf, topFolder } from '../src/openapi/document.js';
import { withoutReferences } from '../src/openapi/json.js';
import type { Service, ServiceName } from '../src/service.js';
import { createQuestions, operationsOf, type Question } from './fuzz/question.js';
import { createVerdict } from './fuzz/verdict.js';

// Questions that are a little wrong, made from the committed documents, over real connections. A
// seed repeats the questions; in what order they arrive is the machine's.
const seed = process.env['SEED'] ?? randomUUID();
const requests = readMeasure('REQUESTS', process.env['REQUESTS'], 20_000);
const atOnce = 24;
/** Ids and outcomes that are remembered take some hundred bytes each. */
const maxGrowthMb = 4 + requests / 4000;

const tokens = { ADMIN_TOKEN: 'the-token-of-the-keeper', SERVICE_TOKEN: 'the-token-of-services' };

function operationsFor(service: ServiceName) {
  const text = readFileSync(join(topFolder, pathOf(service)), 'utf8');
  return operationsOf(withoutReferences(JSON.parse(text)));
}

interface Asked {
  readonly statuses: ReadonlyMap<number, number>;
  readonly wrong: readonly string[];
}

/** Asks so many questions of a service, some at a time. */
async function interrogate(
  url: string,
  service: ServiceName,
  { count, random }: { readonly count: number; readonly random: Random },
): Promise<Asked> {
  const operations = operationsFor(service);
  const keys = Array.from({ length: 20 }, () => random.uuid());
  const questions = createQuestions(random, {
    tokens: [tokens.ADMIN_TOKEN, tokens.SERVICE_TOKEN, 'a-token-of-nobody'],
    keys: [...keys, ...keys.map((key) => key.toUpperCase()), ...keys.map((key) => `"${key}"`)],
  });
  const verdict = createVerdict();
  const pool = new Pool(url, { connections: atOnce, pipelining: 1 });
  const statuses = new Map<number, number>();
  const wrong: string[] = [];
  let left = count;

  async function ask(question: Question): Promise<void> {
    const { method, path, headers, body } = question;
    const answer = await pool.request({ method, path, headers, body: body ?? null } as Parameters<
      typeof pool.request
    >[0]);
    const text = await answer.body.text();
    const { statusCode: status } = answer;
    statuses.set(status, (statuses.get(status) ?? 0) + 1);
    const complaint = verdict(question, { status, headers: answer.headers, text });
    if (complaint !== undefined) {
      wrong.push(
        `${service} ${method} ${path.slice(0, 100)} ${JSON.stringify(headers)} ${body?.slice(0, 100)}: ${complaint}`,
      );
    }
  }

  async function work(): Promise<void> {
    while (left > 0) {
      left -= 1;
      const question = questions(random.pick(operations));
      try {
        await ask(question);
      } catch (error) {
        wrong.push(
          `${service} ${question.method} ${question.path.slice(0, 100)}: ${String(error)}`,
        );
      }
    }
  }
  await Promise.all(Array.from({ length: atOnce }, work));
  await pool.close();
  return { statuses, wrong };
}

/** A program that runs a service, and collects its garbage when a signal asks for it. */
function collecting(service: ServiceName): string {
  const main = new URL(`../../../apps/${service}/dist/main.js`, import.meta.url);
  return `
    import v8 from 'node:v8';
    import vm from 'node:vm';
    v8.setFlagsFromString('--expose-gc');
    const collect = vm.runInNewContext('gc');
    process.on('SIGWINCH', () => collect());
    await import('${main}');`;
}

/** What a process keeps in its heap, in MB, by its own account. */
async function heapOf(service: Service): Promise<number> {
  const looks: number[] = [];
  for (let look = 0; look < 3; look += 1) {
    process.kill(service.pid, 'SIGWINCH');
    const answer = await fetch(`${service.url}/metrics`);
    const bytes = /^nodejs_heap_size_used_bytes (\S+)/m.exec(await answer.text())?.[1];
    looks.push(Number(bytes) / 2 ** 20);
  }
  return Math.min(...looks);
}

t.test('when questions are wrong in many ways, then every answer is of the contract', async (t) => {
  const random = createRandom(seed);
  const lines: string[] = [];
  const programs = described.map((service) => [`${service}.mjs`, collecting(service)]);
  const folder = t.testdir({ data: {}, ...Object.fromEntries(programs) });
  const shop = await launchShop({
    dataDir: join(folder, 'data'),
    mains: Object.fromEntries(described.map((name) => [name, join(folder, `${name}.mjs`)])),
    env: { ...tokens, LOG_LEVEL: 'error' },
    onLine: (service, line) => lines.push(`${service}: ${line}`),
    onDeath: (service, exit) => lines.push(`${service} died: ${JSON.stringify(exit)}`),
  });
  t.teardown(() => shop.kill());
  const rounds = 10;
  for (const service of described) {
    const url = shop.urls[service];
    const statuses = new Map<number, number>();
    const heaps: number[] = [];
    for (let round = 0; round < rounds; round += 1) {
      const count = Math.ceil(requests / described.length / rounds);
      const asked = await interrogate(url, service, {
        count,
        random: random.fork(`${service} ${round}`),
      });
      t.same(asked.wrong.slice(0, 10), [], `${service}, round ${round}, SEED=${seed}`);
      for (const [status, times] of asked.statuses) {
        statuses.set(status, (statuses.get(status) ?? 0) + times);
      }
      heaps.push(await heapOf(shop.service(service)));
    }
    t.comment(`${service}: ${JSON.stringify(Object.fromEntries(statuses))}`);
    t.comment(`${service}: heap in MB ${heaps.map(Math.round).join(' ')}`);
    const early = Math.min(...heaps.slice(1, 5));
    const late = Math.min(...heaps.slice(6));
    t.ok(late < early + maxGrowthMb, `${service}: from ${early} to ${late} MB`);
  }
  t.same(lines, [], 'no service made a mistake, or died');
  const audit = await fetch(`${shop.urls.order}/audit`, {
    headers: { authorization: `Bearer ${tokens.ADMIN_TOKEN}` },
  });
  t.match(await audit.json(), { balanced: true, pending: 0 });
});

t.test('when a service drifts from its contract, then that is seen', async (t) => {
  const answers = [
    { status: 200, type: 'application/json', body: '{"id":"1"}' },
    { status: 500, type: 'application/problem+json', body: '{}' },
    { status: 404, type: 'application/json', body: '{}' },
    { status: 418, type: 'application/problem+json', body: '{"code":"teapot"}' },
    {
      status: 409,
      type: 'application/problem+json',
      body: '{"code":"lease_unknown","status":409}',
    },
    { status: 202, type: 'application/json', body: '{}' },
    { status: 200, type: 'text/plain', body: 'x' },
  ];
  let given = answers[0];
  const server = createServer((request, response) => {
    request.resume();
    response.writeHead(given?.status ?? 0, { 'content-type': given?.type, 'x-request-id': 'x' });
    response.end(request.method === 'HEAD' ? '' : given?.body);
  });
  t.teardown(() => server.close());
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  for (const answer of answers) {
    given = answer;
    const random = createRandom(`${seed} ${answer.status}`);
    const asked = await interrogate(`http://127.0.0.1:${port}`, 'gateway', { count: 50, random });
    t.ok(asked.wrong.length > 30, `${answer.status} ${answer.body}`);
  }
});
