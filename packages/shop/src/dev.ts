import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { turboBuild } from './build.js';
import { keepShop } from './keep.js';
import { createRebuild, type Rebuild } from './rebuild.js';
import { watchFolders } from './watch.js';

const root = fileURLToPath(new URL('../../..', import.meta.url));

async function sourceFolders(): Promise<string[]> {
  const packages = await Promise.all(
    ['apps', 'packages'].map(async (room) =>
      (await readdir(join(root, room))).map((name) => join(root, room, name, 'src')),
    ),
  );
  return packages.flat();
}

// The first build takes a while, and a process without a handler would die of this signal. Once there
// are services whose logs can be switched, it is passed on to them.
process.on('SIGUSR2', () => {});

// The folders are watched from before the first build on: no change falls between two chairs.
let rebuild: Rebuild | undefined;
let changedEarly = false;
const watch = await watchFolders(await sourceFolders(), () => {
  changedEarly = true;
  void rebuild?.changed();
});

const build = turboBuild(root);
const built = await build();
if (!built.ok) {
  process.stderr.write(`${built.output.trimEnd()}\nThe build failed.\n`);
  process.exit(1);
}

const code = await keepShop({
  outlivesDeaths: true,
  whileOpen(shop, say) {
    rebuild = createRebuild({ shop, build, say }, built.hashes);
    if (changedEarly) void rebuild.changed();
    say('What you change in apps/ and packages/ is built, and the services that use it restart.');
    return () => {
      watch.close();
      return rebuild?.close() ?? Promise.resolve();
    };
  },
});
process.exit(code);
