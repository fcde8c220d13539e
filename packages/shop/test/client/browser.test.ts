import { existsSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { type Browser, chromium } from 'playwright-core';
import t, { type Test } from 'tap';
import { launchShop } from '../../src/index.js';

const browsers = [
  process.env['CHROMIUM'],
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
];
const executablePath = browsers.find((path) => path && existsSync(path));
/** Where a browser has to be, its absence is no reason to skip. */
const isRequired = process.env['CHROMIUM'] !== undefined;
const skip = executablePath === undefined && !isRequired && 'there is no Chromium here';

const script = `
import { BazarError, createBazar } from '@bazar/client';

const bazar = createBazar({ baseUrl: document.documentElement.dataset.shop, maxRetries: 1 });
async function visit() {
  const titles = [];
  for await (const { title } of bazar.search('distributed', { limit: 1 })) titles.push(title);
  const before = await bazar.info(2).withResponse();
  const purchase = await bazar.purchase(2);
  const again = await bazar.purchase(2, { key: purchase.order.order_id });
  const after = await bazar.info(2);
  const missing = await bazar.info(999).catch((error) => error);
  return {
    titles,
    sold: purchase.result,
    order: purchase.order.order_id,
    replayed: again.replayed,
    copies: [before.data.quantity, after.quantity],
    etag: before.headers.get('etag'),
    missing: missing instanceof BazarError && missing.code,
  };
}
function show(seen) {
  const shown = document.createElement('pre');
  shown.textContent = JSON.stringify(seen);
  document.body.append(shown);
}
visit().then(
  (seen) => show(seen),
  (error) => show({ name: error.name, code: error.code }),
);
`;

/** A page on an origin of its own, whose policy allows it no more than it needs. */
async function openPage(t: Test, shopUrl: string): Promise<string> {
  const { outputFiles } = await build({
    stdin: { contents: script, resolveDir: fileURLToPath(new URL('.', import.meta.url)) },
    bundle: true,
    minify: true,
    format: 'esm',
    platform: 'browser',
    write: false,
  });
  const policy = `default-src 'none'; script-src 'self'; connect-src ${shopUrl}`;
  const server = createServer(({ url }, response) => {
    const isScript = url === '/visit.js';
    response.writeHead(200, {
      'content-type': isScript ? 'text/javascript' : 'text/html; charset=utf-8',
      'content-security-policy': policy,
    });
    const page = `<!doctype html><html data-shop="${shopUrl}"><body></body><script type="module" src="/visit.js"></script></html>`;
    response.end(isScript ? outputFiles[0]?.text : page);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => server.close());
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

async function visit(browser: Browser, url: string): Promise<Record<string, unknown>> {
  const page = await browser.newPage();
  await page.goto(url);
  // Nothing may be evaluated in a page with such a policy, so what it shows is read.
  const text = await page.locator('pre').textContent();
  await page.close();
  return JSON.parse(text ?? '');
}

t.test('in a browser, on a page of another origin', { skip }, async (t) => {
  const browser = await chromium.launch({
    ...(executablePath !== undefined && { executablePath }),
    // As root it starts only so; and it is to ask for nothing on its own.
    args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-sync'],
  });
  t.teardown(() => browser.close());

  await t.test('when the page buys a book, then it has its order', async (t) => {
    const shop = await launchShop({ dataDir: t.testdir(), env: { LOG_LEVEL: 'warn' } });
    t.teardown(() => shop.kill());
    const seen = await visit(browser, await openPage(t, shop.urls.gateway));
    t.match(seen, {
      titles: ['How to get a good grade in DOS in 40 minutes a day', 'RPCs for Noobs'],
      sold: 'sold',
      replayed: true,
      copies: [2, 1],
      etag: /^"/,
      missing: 'book_not_found',
    });
    const order = await fetch(`${shop.urls.gateway}/orders/${seen['order']}`);
    t.match(await order.json(), { item_id: 2, title: 'RPCs for Noobs', price: 50 });
  });

  await t.test('when the shop does not allow the origin, then nothing is read', async (t) => {
    const shop = await launchShop({
      dataDir: t.testdir(),
      env: { LOG_LEVEL: 'warn', CORS_ORIGINS: 'https://shop.example' },
    });
    t.teardown(() => shop.kill());
    const seen = await visit(browser, await openPage(t, shop.urls.gateway));
    t.match(seen, { name: /.+/, code: 'connection' });
  });

  await t.test(
    'when the pages of a shop are opened, then their policy blocks nothing',
    async (t) => {
      const shop = await launchShop({ dataDir: t.testdir(), env: { LOG_LEVEL: 'warn' } });
      t.teardown(() => shop.kill());
      const page = await browser.newPage();
      const complaints: string[] = [];
      page.on('console', (message) => {
        if (['error', 'warning'].includes(message.type())) complaints.push(message.text());
      });
      page.on('pageerror', (error) => complaints.push(error.message));
      page.on('requestfailed', (request) => complaints.push(request.url()));
      await page.goto(shop.urls.gateway);
      await page.locator('button').click();
      await page.getByText('bought book RPCs for Noobs').waitFor();
      await page.goto(`${shop.urls.gateway}/docs`);
      await page.locator('.opblock-summary', { hasText: '/topics' }).click();
      await page.locator('.try-out__btn').click();
      await page.locator('.execute').click();
      await page.locator('.live-responses-table', { hasText: 'distributed' }).waitFor();
      await page.close();
      t.same(complaints, []);
    },
  );
});
