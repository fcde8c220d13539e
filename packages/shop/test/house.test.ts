import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { posix, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';

// The arrows between our folders, and the names in them, held by a test: an import that nobody
// notices in a review is there for good. Only texts are read, so nothing has to be built.

/** A source file of ours. The path is seen from the top folder, with forward slashes. */
interface Source {
  readonly path: string;
  readonly text: string;
}

/** What the sources of a package may import of ours; the packages not named may import any. */
const imports: Readonly<Record<string, readonly string[]>> = {
  contracts: [],
  batching: [],
  simulation: [],
  storage: ['batching'],
  postgres: ['contracts'],
  client: ['contracts'],
  service: ['contracts', 'client', 'batching'],
  bench: ['client', 'contracts', 'shop', 'simulation'],
};

/** The shop and the benchmark are launchers: they hand their environment on to processes. */
const launchers = ['shop', 'bench'];

const apps = ['catalog', 'gateway', 'order'];

/**
 * What joins a service to the world; all else is its story, told without the world around it. The
 * front has none: it is nothing but such a joint.
 */
const joints =
  /^(main|app|config|shedding|handlers|index|metrics|upstreams|catalogs|gateways|front|crowd|passage)\.ts$|^store\//;
const theWorld =
  /^(fastify|@fastify\/.+|undici|@bazar\/service|@bazar\/service\/replicas|@bazar\/client\/(undici|inject)|(node:)?(fs|net|http)(\/.+)?)$/;

/**
 * Inside an app: what stands on the left never imports what stands on the right. What is left are
 * the arrows main → config, app, store/*; app → handlers → use case → store; store/* → store.
 * (What is built from a configuration may name its type; it is main that reads one.)
 */
const forbidden: readonly (readonly [from: RegExp, to: RegExp])[] = [
  [/./, /^main\.ts$/],
  [/^(?!main\.ts|index\.ts|store\/)/, /^(store\/.+|index\.ts)$/],
  [/^(catalog|purchase|recovery|handlers|store)(\.ts|\/)/, /^config\.ts$/],
  [/^(?!main\.ts|index\.ts|app\.ts)/, /^(app|handlers)\.ts$/],
  [/^store(\.ts|\/)/, /^(catalog|purchase|recovery)\.ts$/],
];

const nameless = /^(utils?|common|helpers?|types|shared)$/;

/** `import … from`, `export … from`, a bare `import '…'` and `import('…')`. */
const moduleNames =
  /^\s*(?:import|export)\b[^'";]*?\bfrom\s*['"]([^'"]+)['"]|^\s*import\s*['"]([^'"]+)['"]|\bimport\s*\(\s*['"]([^'"]+)['"]/gm;

const environment =
  /\bprocess\s*(\.\s*env\b|\[\s*['"]env['"]\s*\])|\benv\b[^;=]*\}\s*=\s*process\b/;

function importedBy(text: string): string[] {
  return [...text.matchAll(moduleNames)].flatMap(([, ...names]) => names.filter(Boolean));
}

/** Every breach of the rules above, one sentence each, in the order of the sources. */
function breaches(sources: readonly Source[]): string[] {
  return sources.flatMap(({ path, text }) => {
    const [group = '', owner = '', folder, ...rest] = path.split('/');
    const file = rest.join('/');
    const found = path
      .split('/')
      .filter((part) => nameless.test(part.replace(/\..*$/, '')))
      .map((room) => `${path}: "${room}" does not say what is in it`);
    if (folder !== 'src') return found;
    if (!launchers.includes(owner)) {
      if (environment.test(text) && file !== 'main.ts' && file !== 'config.ts') {
        found.push(`${path}: only main.ts and config.ts read the environment`);
      }
    }
    for (const name of importedBy(text)) {
      const why = name.startsWith('.')
        ? wrongInside(group, file, name)
        : wrongBetween(group, owner, file, name);
      if (why !== undefined) found.push(`${path}: imports ${name}, but ${why}`);
    }
    return found;
  });
}

function wrongBetween(group: string, owner: string, file: string, name: string) {
  if (group === 'apps' && !joints.test(file) && theWorld.test(name)) {
    return 'a use case is given what it needs of the world';
  }
  const imported = /^@bazar\/([^/]+)/.exec(name)?.[1];
  if (imported === undefined) return undefined;
  if (group === 'packages' && imported === owner) return 'a package imports itself by path';
  if (imported === 'bench') return 'nothing imports the benchmark';
  if (apps.includes(imported)) return owner === 'shop' ? undefined : 'nothing imports an app';
  if (group === 'apps') {
    const upstairs = ['shop', 'simulation'];
    return upstairs.includes(imported) ? `${imported} stands above the apps` : undefined;
  }
  const allowed = imports[owner];
  return allowed === undefined || allowed.includes(imported)
    ? undefined
    : `${owner} imports ${allowed.join(' and ') || 'nothing'} of ours`;
}

function wrongInside(group: string, file: string, name: string) {
  const target = posix.join(posix.dirname(file), name).replace(/\.js$/, '.ts');
  if (target.startsWith('..')) return 'a package is imported by its name';
  if (group !== 'apps') return undefined;
  return forbidden.some(([from, to]) => from.test(file) && to.test(target))
    ? 'that arrow points the other way'
    : undefined;
}

/** All TypeScript in `src` and `test` of every app and package. */
function readSources(): Source[] {
  const top = fileURLToPath(new URL('../../../', import.meta.url));
  return ['apps', 'packages']
    .flatMap((group) => readdirSync(`${top}${group}`).map((owner) => `${top}${group}/${owner}`))
    .flatMap((owner) => [`${owner}/src`, `${owner}/test`])
    .filter((folder) => existsSync(folder))
    .flatMap((folder) =>
      readdirSync(folder, { recursive: true, encoding: 'utf8' }).map((file) => `${folder}/${file}`),
    )
    .filter((file) => /\.[cm]?ts$/.test(file))
    .map((file) => ({
      path: relative(top, file).split(sep).join('/'),
      text: readFileSync(file, 'utf8'),
    }));
}

t.test('when the house is as it should be, then no import points the wrong way', async (t) => {
  const sources = readSources();
  t.ok(sources.length > 20, 'the sources are found');
  for (const app of apps) {
    t.ok(
      sources.some(({ path }) => path === `apps/${app}/src/main.ts`),
      `${app} is among them`,
    );
  }
  t.same(breaches(sources), []);
});

t.test('when a source breaks a rule, then the checker says which', async (t) => {
  const broken: readonly (readonly [path: string, text: string, says: RegExp])[] = [
    ['packages/contracts/src/a.ts', "import { x } from '@bazar/client';", /imports nothing of/],
    ['packages/storage/src/a.ts', "import type {\n  X,\n} from '@bazar/contracts';", /batching/],
    ['packages/postgres/src/a.ts', "import '@bazar/storage';", /imports contracts of/],
    ['packages/client/src/a.ts', "export * from '@bazar/service';", /imports contracts of/],
    ['packages/service/src/a.ts', "await import('@bazar/order');", /nothing imports an app/],
    ['packages/bench/src/a.ts', "import '@bazar/catalog';", /nothing imports an app/],
    ['packages/bench/src/a.ts', "import '@bazar/storage';", /bench imports client and/],
    ['packages/shop/src/a.ts', "import '@bazar/bench';", /nothing imports the benchmark/],
    ['apps/order/src/a.ts', "import '@bazar/bench';", /nothing imports the benchmark/],
    ['packages/client/src/a.ts', "import '@bazar/client/undici';", /itself by path/],
    ['packages/client/src/a.ts', "import '../../contracts/src/b.js';", /by its name/],
    ['apps/order/src/a.ts', "import { x } from '@bazar/catalog';", /nothing imports an app/],
    ['apps/order/src/a.ts', "import { x } from '@bazar/shop';", /stands above/],
    ['apps/order/src/purchase.ts', "import { readFile } from 'node:fs/promises';", /use case/],
    ['apps/order/src/audit.ts', "import { request } from 'undici';", /use case/],
    ['apps/order/src/recovery.ts', "import { x } from '@bazar/service/replicas';", /use case/],
    ['apps/catalog/src/decide.ts', "import { ready } from '@bazar/service';", /use case/],
    ['apps/order/src/recovery.ts', "import { request } from 'undici';", /use case/],
    ['apps/catalog/src/catalog.ts', "import type { X } from 'fastify';", /use case/],
    ['apps/catalog/src/catalog.ts', "import { x } from './store/csv.js';", /other way/],
    ['apps/catalog/src/catalog.ts', "import { x } from './handlers.js';", /other way/],
    ['apps/catalog/src/handlers.ts', "import { x } from './app.js';", /other way/],
    ['apps/catalog/src/handlers.ts', "import { x } from './config.js';", /other way/],
    ['apps/catalog/src/store/csv.ts', "import { x } from '../catalog.js';", /other way/],
    ['apps/catalog/src/index.ts', "import './main.js';", /other way/],
    ['apps/catalog/src/app.ts', 'const port = process.env.PORT;', /environment/],
    ['packages/service/src/a.ts', 'const { env } = process;', /environment/],
    ['packages/client/src/utils.ts', '', /does not say/],
    ['packages/client/test/helpers/a.ts', '', /does not say/],
  ];
  for (const [path, text, says] of broken) {
    const found = breaches([{ path, text }]);
    t.equal(found.length, 1, `${path}: ${text}`);
    t.match(found[0], says);
  }
});

t.test('when a source keeps the rules, then the checker is silent', async (t) => {
  const kept: readonly Source[] = [
    { path: 'apps/catalog/src/main.ts', text: "import { x } from './store/csv.js';\nprocess.env;" },
    { path: 'apps/catalog/src/store/csv.ts', text: "import { x } from '../store.js';" },
    { path: 'apps/order/src/app.ts', text: "import { x } from './handlers.js';" },
    { path: 'apps/order/src/purchase.ts', text: "import { Failure } from '@bazar/contracts';" },
    { path: 'packages/storage/src/a.ts', text: "import { x } from '@bazar/batching';" },
    { path: 'packages/bench/src/a.ts', text: "import '@bazar/shop';\nprocess.env;" },
    { path: 'packages/shop/src/a.ts', text: "import { x } from '@bazar/catalog';" },
    { path: 'packages/service/src/a.ts', text: "// Not an import: from 'undici'." },
  ];
  t.same(breaches(kept), []);
});
