import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import t from 'tap';
import { launchShop } from '../../src/index.js';

// What people install: the packages as they would be published, in a folder that knows nothing of
// this workspace.

const run = promisify(execFile);
const top = fileURLToPath(new URL('../../../../', import.meta.url));
const { devDependencies } = JSON.parse(
  readFileSync(join(top, 'packages/shop/package.json'), 'utf8'),
);

/** The pnpm that runs this test, which may be a script or a program; or the one that README names. */
function pnpm(...args: readonly string[]): [string, string[]] {
  const path = process.env['npm_execpath'] ?? '';
  if (!/pnpm[^/]*$/.test(path)) return ['npx', ['--yes', 'pnpm@12.21.0', ...args]];
  return /\.[cm]?js$/.test(path) ? [process.execPath, [path, ...args]] : [path, [...args]];
}

const buyTs = `
import { BazarError, createBazar, type PurchaseResult } from '@bazar/client';

const bazar = createBazar({ baseUrl: process.env['SHOP'] ?? '' });
async function main(): Promise<void> {
  const purchase: PurchaseResult = await bazar.purchase(4);
  if (purchase.result === 'sold') console.log(purchase.order.order_id, purchase.order.price);
  const missing: unknown = await bazar.info(999).catch((error: unknown) => error);
  console.log(missing instanceof BazarError && missing.code);
}
void main();
`;

const wrongTs = `
import { createBazar } from '@bazar/client';
const bazar = createBazar({ baseUrl: 'http://127.0.0.1:5000' });
void bazar.info('2');
void bazar.buy(2);
`;

const checkTs = `
import { checkResponses } from '@bazar/client/check';
import { createCaller } from '@bazar/client/caller';
import { undiciTransport } from '@bazar/client/undici';
import { gateway } from '@bazar/contracts';

const options = { connections: 1, maxPending: 9, keepAliveTimeoutMs: 9, maxResponseBytes: 9999 };
const transport = undiciTransport(process.env['SHOP'] ?? '', options);
const shop = createCaller(gateway, transport, { check: checkResponses(gateway) });
const { body } = await shop.purchase({ params: { item_id: 4 } });
console.log('order' in body ? body.order.order_id : body.message);
await transport.close();
`;

const strict = ['--strict', '--exactOptionalPropertyTypes', '--target', 'es2022'];

t.test('when the packages are installed from their archives, then they work', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'bazar-pack-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const archives = join(folder, 'archives');
  mkdirSync(archives);
  for (const name of ['contracts', 'client']) {
    const [command, args] = pnpm('pack', '--pack-destination', archives);
    await run(command, args, { cwd: join(top, 'packages', name) });
  }
  const packed = readdirSync(archives).map((name) => join(archives, name));
  t.equal(packed.length, 2);

  for (const archive of packed) {
    const { stdout } = await run('tar', ['-tzf', archive]);
    const files = stdout.trimEnd().split('\n');
    const kinds = files.map((file) =>
      file.replace(/^(package\/(src|dist)\/).*?(\.[a-z.]+)$/, '$1*$3'),
    );
    t.strictSame([...new Set(kinds)].toSorted(), [
      'package/LICENSE',
      'package/README.md',
      'package/dist/*.d.ts',
      'package/dist/*.d.ts.map',
      'package/dist/*.js',
      'package/dist/*.js.map',
      'package/package.json',
      'package/src/*.ts',
    ]);
    const modules = (folder: string, kind: string) =>
      files
        .filter((file) => file.startsWith(`package/${folder}/`) && file.endsWith(kind))
        .map((file) => file.slice(`package/${folder}/`.length, -kind.length));
    t.strictSame(modules('dist', '.js'), modules('src', '.ts'), 'what was built, of what is there');
    const { stdout: manifest } = await run('tar', ['-xzOf', archive, 'package/package.json']);
    t.notMatch(manifest, /workspace:|catalog:/, 'what it needs is named as others can find it');
  }

  writeFileSync(join(folder, 'package.json'), '{ "type": "module", "private": true }');
  writeFileSync(join(folder, 'buy.ts'), buyTs);
  writeFileSync(join(folder, 'buy-common.cts'), buyTs);
  writeFileSync(join(folder, 'check.ts'), checkTs);
  writeFileSync(join(folder, 'wrong.ts'), wrongTs);
  const tools = ['typescript', '@types/node', 'undici'].map((name) => `${name}@${versionOf(name)}`);
  await run(
    'npm',
    ['install', '--no-audit', '--no-fund', '--prefer-offline', ...packed, ...tools],
    {
      cwd: folder,
    },
  );
  const tsc = (...args: readonly string[]) =>
    run(process.execPath, [join(folder, 'node_modules/typescript/bin/tsc'), ...strict, ...args], {
      cwd: folder,
    });
  await tsc('--module', 'nodenext', 'buy.ts', 'buy-common.cts', 'check.ts');
  await tsc(
    '--noEmit',
    '--module',
    'esnext',
    '--moduleResolution',
    'bundler',
    'buy.ts',
    'check.ts',
  );
  const refused: unknown = await tsc('--noEmit', '--module', 'nodenext', 'wrong.ts').catch(
    (error: unknown) => error,
  );
  t.match(refused, { stdout: /wrong\.ts\(4,.*\n.*wrong\.ts\(5,/ }, 'wrong calls do not compile');

  const shop = await launchShop({ dataDir: t.testdir(), env: { LOG_LEVEL: 'warn' } });
  t.teardown(() => shop.kill());
  const env = { ...process.env, SHOP: shop.urls.gateway, NODE_OPTIONS: '' };
  for (const program of ['buy.js', 'buy-common.cjs']) {
    const { stdout } = await run(process.execPath, [program], { cwd: folder, env });
    t.match(stdout, /^[0-9a-f-]{36} 35\nbook_not_found\n$/, program);
  }
  const { stdout } = await run(process.execPath, ['check.js'], { cwd: folder, env });
  t.match(stdout, /^[0-9a-f-]{36}\n$/);
});

/** The version that this workspace itself was installed with. */
function versionOf(name: string): string {
  const manifest = join(top, 'packages/shop/node_modules', name, 'package.json');
  if (!(name in devDependencies)) throw new Error(`packages/shop does not depend on ${name}`);
  return String(JSON.parse(readFileSync(manifest, 'utf8')).version);
}
