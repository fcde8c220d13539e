import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { createBazar } from '@bazar/client';
import parsePrometheus from 'parse-prometheus-text-format';
import t, { type Test } from 'tap';
import { launchShop, type Shop, type ShopOptions, startOrder } from '../src/launch.js';
import type { ServiceName } from '../src/service.js';
import { ask, field, until } from './crash/ask.js';

// What a shop tells of itself: its figures against a known load, and its lines.

interface Opened {
  readonly shop: Shop;
  /** Every line of every service, as it was written. */
  readonly lines: { readonly service: ServiceName; readonly line: string }[];
}

async function open(t: Test, options: Partial<ShopOptions> = {}): Promise<Opened> {
  const lines: Opened['lines'] = [];
  const shop = await launchShop({
    dataDir: t.testdir(),
    onLine: (service, line) => lines.push({ service, line }),
    ...options,
  });
  t.teardown(() => shop.kill());
  return { shop, lines };
}

type Figures = (name: string, labels?: Record<string, string>) => number;

/** Scrapes a service, and reads what it says as Prometheus would. */
async function scrape(url: string): Promise<Figures> {
  const answer = await fetch(`${url}/metrics`);
  const families = parsePrometheus(await answer.text());
  return (name, labels = {}) => {
    const family = families.find((family) => family.name === name.replace(/_(count|sum)$/, ''));
    if (family === undefined) throw new Error(`there is no ${name}`);
    if (family.type === 'HISTOGRAM') {
      const part = name.endsWith('_count') ? 'count' : 'sum';
      const [metric] = family.metrics.filter((metric) => isOf(metric, labels));
      return Number(field(metric, part));
    }
    const values = family.metrics.filter((metric) => isOf(metric, labels));
    return values.reduce((sum: number, metric) => sum + Number(field(metric, 'value')), 0);
  };
}

function isOf(metric: unknown, labels: Record<string, string>): boolean {
  const own = field(metric, 'labels');
  return Object.entries(labels).every(([name, value]) => field(own, name) === value);
}

t.test('when a known load has passed, then the figures are right', async (t) => {
  const { shop } = await open(t);
  const bazar = createBazar({ baseUrl: shop.urls.gateway });
  const copies = 10;
  const buyers = 14;
  const outcomes = await Promise.all(Array.from({ length: buyers }, () => bazar.purchase(1)));
  t.equal(outcomes.filter(({ result }) => result === 'sold').length, copies);
  for (let count = 0; count < 5; count += 1) await bazar.info(2);
  await t.rejects(bazar.info(99));
  const [gateway, order, catalog] = await Promise.all([
    scrape(shop.urls.gateway),
    scrape(shop.urls.order),
    scrape(shop.urls.catalog),
  ]);

  const requests = 'bazar_http_requests_total';
  const purchased = { route: '/purchase/:item_id', method: 'POST', status: '200' };
  t.equal(gateway(requests, purchased), buyers);
  t.equal(gateway(requests, { route: '/info/:item_id', status: '200' }), 5);
  t.equal(gateway(requests, { route: '/info/:item_id', status: '404' }), 1);
  const reads = 'bazar_cache_reads_total';
  t.equal(gateway(reads) - gateway(reads, { status: 'hit' }), 2, 'the first one, and no book');
  t.equal(gateway(reads, { status: 'hit' }), 4);
  t.equal(gateway('bazar_cache_entries'), 1);
  t.equal(gateway('bazar_lease_live'), 1);
  t.ok(gateway('bazar_lease_left_seconds') > 0);
  t.equal(gateway('bazar_purchase_batch_size_sum'), buyers);
  t.ok(gateway('bazar_purchase_batch_size_count') < buyers, 'they went in batches');
  t.equal(gateway('bazar_purchases_waiting'), 0);

  t.equal(order('bazar_sale_batch_size_sum'), buyers);
  t.equal(order('bazar_log_batch_size_sum'), copies);
  t.equal(order('bazar_sales_logged_total'), copies);
  t.equal(order('bazar_conservation_gap'), 0);
  t.ok(order('bazar_sync_seconds_count') > 0);

  t.equal(catalog('bazar_commit_batch_size_sum'), buyers);
  t.equal(catalog('bazar_sales_total'), copies);
  t.ok(catalog('bazar_sync_seconds_sum') > 0);
  t.equal(catalog('bazar_leases', { state: 'live' }), 1);
  t.equal(catalog('bazar_leases', { state: 'evicting' }), 0);
  for (const figures of [gateway, order, catalog]) {
    t.ok(figures('nodejs_eventloop_lag_p99_seconds') >= 0);
  }
});

t.test('when the operators read of the figures, then all are there, and no others', async (t) => {
  const { shop } = await open(t);
  const shown = new Set<string>();
  for (const service of startOrder) {
    const answer = await fetch(`${shop.urls[service]}/metrics`);
    for (const { name } of parsePrometheus(await answer.text())) {
      if (name.startsWith('bazar_')) shown.add(name);
    }
  }
  const text = readFileSync(new URL('../../../docs/operating.md', import.meta.url), 'utf8');
  const told = [...text.matchAll(/^\| `(bazar_\w+)`/gm)].map(([, name]) => name);
  t.same(told.toSorted(), [...shown].toSorted());
});

t.test('when one purchase of a batch is recorded, then all services tell of it', async (t) => {
  const { shop, lines } = await open(t);
  const trace = '4bf92f3577b34da6a3ce929d0e0e4736';
  // The first request of a second is recorded too: it is not to be the one that is looked for.
  await ask({ request: `POST ${shop.urls.gateway}/purchase/1` });
  const buy = (headers: Record<string, string>) =>
    fetch(`${shop.urls.gateway}/purchase/1`, { method: 'POST', headers });
  const others = Array.from({ length: 30 }, (_, index) =>
    buy({ 'x-request-id': `other-${index}` }),
  );
  const looked = buy({
    'x-request-id': 'looked-for',
    traceparent: `00-${trace}-00f067aa0ba902b7-01`,
  });
  const answers = await Promise.all([...others, looked]);
  t.ok(answers.every(({ status }) => status === 200));
  const told = () =>
    lines.filter(({ line }) => line.includes('"looked-for"')).map(({ service }) => service);
  await until('all services have told', () => told().length >= startOrder.length);
  t.same(told().toSorted(), [...startOrder].toSorted(), 'each of them once');
  for (const { line } of lines.filter(({ line }) => line.includes('"looked-for"'))) {
    t.match(JSON.parse(line), { reqId: 'looked-for', trace, level: 30 });
  }
  const gateway = await scrape(shop.urls.gateway);
  t.ok(gateway('bazar_purchase_batch_size_count') < answers.length, 'it went in a batch');
});

t.test('when all ask to be recorded, then few are', async (t) => {
  const { shop, lines } = await open(t);
  const headers = { traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01' };
  const url = `${shop.urls.gateway}/purchase/1`;
  const buy = async () => {
    const answer = await fetch(url, { method: 'POST', headers });
    await answer.arrayBuffer();
  };
  const from = performance.now();
  await Promise.all(Array.from({ length: 200 }, buy));
  const seconds = Math.ceil((performance.now() - from) / 1000);
  // Its last line is out once it has stopped.
  await shop.stop();
  const told = lines.filter(({ line }) => line.includes('a purchase was answered')).length;
  // A second that begins with the first of them, and those who came in the rest of the last one.
  const most = 11 * (seconds + 1);
  t.ok(told >= 1 && told <= most, `${told} of 200 in ${seconds} s`);
});

t.test('when a signal asks for it, then the log tells more, and then less again', async (t) => {
  const { shop, lines } = await open(t);
  const { pid } = shop.service('gateway');
  const levelIs = (level: string) =>
    until(`the level is ${level}`, () =>
      lines.some(({ line }) => line.includes(`the log level is ${level} now`)),
    );
  process.kill(pid, 'SIGUSR2');
  await levelIs('debug');
  for (let count = 0; count < 5; count += 1) {
    await ask({ request: `POST ${shop.urls.gateway}/purchase/1` });
  }
  const told = () => lines.filter(({ line }) => line.includes('a purchase was answered')).length;
  await until('all five are told', () => told() === 5);
  process.kill(pid, 'SIGUSR2');
  await levelIs('info');
});

t.test('when a service waits for its database, then the signal does not end it', async (t) => {
  const main = fileURLToPath(new URL('../../../apps/order/dist/main.js', import.meta.url));
  const child = spawn('/usr/bin/env', ['-u', 'NODE_OPTIONS', process.execPath, main], {
    env: {
      ...process.env,
      HOST: '127.0.0.1',
      PORT: '0',
      // Nobody listens on the port of tcpmux.
      DATABASE_URL: 'postgres://bazar:bazar@127.0.0.1:1/bazar',
    },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.teardown(() => child.kill('SIGKILL'));
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text) => {
    output += text;
  });
  await until('it waits', () => output.includes('trying again'));
  child.kill('SIGUSR2');
  await until('it is asked', () => output.includes(' now') || child.signalCode !== null);
  t.match(output, /the log level is debug now/);
  t.equal(child.signalCode, null, 'it waits on');
});

t.test('when secrets pass, then no line has them', async (t) => {
  const tokens = {
    SERVICE_TOKEN: 'a-service-token-of-ours',
    ADMIN_TOKEN: 'an-admin-token-of-ours',
  };
  const { shop, lines } = await open(t, { env: { ...tokens, LOG_LEVEL: 'trace' } });
  const wrong = 'a-token-that-somebody-tries';
  const { gateway, catalog, order } = shop.urls;
  const update = (token: string, body: string) =>
    fetch(`${catalog}/update/1`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      body,
    });
  t.equal((await update(tokens.ADMIN_TOKEN, '{"price":12}')).status, 200);
  t.equal((await update(tokens.ADMIN_TOKEN, '{"price":')).status, 400);
  t.equal((await update(wrong, '{"price":12}')).status, 403);
  t.equal((await update(tokens.SERVICE_TOKEN, '{"price":12}')).status, 403);
  t.equal((await fetch(`${order}/audit`)).status, 401);
  await createBazar({ baseUrl: gateway }).purchase(1);
  await shop.service('catalog').kill();
  await t.rejects(createBazar({ baseUrl: gateway, maxRetries: 0, timeoutMs: 500 }).purchase(1));
  await shop.stop();
  t.ok(lines.length > 0);
  const secrets = [...Object.values(tokens), wrong];
  const telling = lines.filter(({ line }) => secrets.some((secret) => line.includes(secret)));
  t.same(telling, []);
  // The checker sees what it looks for.
  t.equal([{ line: `x ${wrong}` }].filter(({ line }) => line.includes(wrong)).length, 1);
});
