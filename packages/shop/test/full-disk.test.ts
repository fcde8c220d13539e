import { execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  rmSync,
  statfsSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readMeasure } from '@bazar/simulation';
import t, { type Test } from 'tap';
import { auditFiles } from '../src/conservation.js';
import type { Shop } from '../src/index.js';
import { createShop } from '../src/launch.js';
import { ask, askForSure, field, forEachOf } from './crash/ask.js';
import { interview, readFiles } from './crash/holdings.js';
import { startAgain } from './crash/killer.js';
import { breaches } from './crash/law.js';
import { createTestimony, hear, type Testimony } from './crash/testimony.js';

const levels = readMeasure('LEVELS', process.env['LEVELS'], 6);
const pageBytes = 4096;
/** The pages that are free: 0, 8, …, 40 at six levels; 0, 1, …, 99 at a hundred. */
const levelPages = Math.max(1, Math.floor(48 / levels));
const copies = 1_000_000;

/** Why there is no small disk to be had here; false when there is. */
function whyNot(): string | false {
  if (process.platform !== 'linux') return 'a small tmpfs needs Linux';
  if (process.getuid?.() !== 0) return 'to mount a small tmpfs one must be root';
  const folder = mkdtempSync(join(tmpdir(), 'bazar-'));
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', folder], { stdio: 'ignore' });
    execFileSync('umount', [folder]);
    return false;
  } catch {
    return 'this machine lets nobody mount a tmpfs';
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Mounts a disk of 2 MiB, to be filled and emptied. */
function smallDisk(folder: string) {
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=2m', 'tmpfs', folder]);
  const filler = join(folder, 'filler');
  return {
    /** Leaves room for so many pages, and for what fits into pages begun. */
    fill(freePages: number): void {
      const file = openSync(filler, 'w');
      const pages = statfsSync(folder).bavail - freePages;
      for (let page = 0; page < pages; page += 1) writeSync(file, Buffer.alloc(pageBytes));
      closeSync(file);
    },
    empty: () => rmSync(filler),
    // Lazily: what still uses the disk of a failed test must not keep it mounted for ever.
    unmount: () => execFileSync('umount', ['-l', folder]),
  };
}

/** A shop with its two data folders, one of them on a small disk. */
async function openOnSmallDisk(t: Test, victim: 'catalog' | 'order') {
  const dataDir = mkdtempSync(join(tmpdir(), 'bazar-'));
  const folders = { catalog: join(dataDir, 'catalog'), order: join(dataDir, 'order') };
  for (const folder of Object.values(folders)) mkdirSync(folder);
  const disk = smallDisk(folders[victim]);
  const shop = createShop({ dataDir, dataDirs: folders, env: { LOG_LEVEL: 'fatal' } });
  // Not a fixture of the runner's, which would be removed before the disk is unmounted.
  t.teardown(async () => {
    await shop.kill();
    disk.unmount();
    rmSync(dataDir, { recursive: true });
  });
  await shop.start();
  return { shop, disk, folders };
}

/** Buys one copy, without asking again; true when it was refused for want of room. */
async function isRefused(t: Test, { urls }: Shop, testimony: Testimony, key: string) {
  testimony.attempted.set(key, 1);
  const answer = await ask({ request: `POST ${urls.gateway}/purchase/1`, key });
  if (answer.status === 503) {
    const code = field(answer.body, 'code');
    if (code !== 'storage_full') t.same(answer.body, { code: 'storage_full' });
    return true;
  }
  hear(testimony, key, answer);
  return false;
}

/** Buys until nobody gets anything any more; resolves to the keys of those who were refused. */
async function buyUntilFull(t: Test, shop: Shop, testimony: Testimony): Promise<string[]> {
  const refused: string[] = [];
  const buy = async (key: string) => {
    if (await isRefused(t, shop, testimony, key)) refused.push(key);
  };
  while (refused.length === 0) {
    await forEachOf(
      Array.from({ length: 20 }, () => randomUUID()),
      20,
      buy,
    );
  }
  // Where a batch has no room, a single row may have some.
  for (let inRow = 0; inRow < 5; ) {
    const before = refused.length;
    await buy(randomUUID());
    inRow = refused.length > before ? inRow + 1 : 0;
  }
  return refused;
}

async function copiesLeft({ urls }: Shop): Promise<unknown> {
  return field((await ask({ request: `GET ${urls.gateway}/info/1` })).body, 'quantity');
}

/** With the disk full: reads are fine, and who is refused does not cost a copy. */
async function isOpenForReaders(t: Test, shop: Shop, testimony: Testimony): Promise<string[]> {
  const left = await copiesLeft(shop);
  t.type(left, 'number');
  const refused = Array.from({ length: 20 }, () => randomUUID());
  await forEachOf(refused, 20, async (key) => {
    if (!(await isRefused(t, shop, testimony, key))) t.fail('a copy was sold without room');
  });
  t.equal(await copiesLeft(shop), left, 'no stock is spent on refused buyers');
  const [bought] = [...testimony.told.keys()];
  for (const path of ['/search/distributed', '/topics', `/orders/${bought}`]) {
    t.equal((await ask({ request: `GET ${shop.urls.gateway}${path}` })).status, 200, path);
  }
  return refused;
}

const skip = whyNot();

for (const victim of ['order', 'catalog'] as const) {
  t.test(`when the disk of the ${victim} is full, then only selling rests`, { skip }, async (t) => {
    const { shop, disk, folders } = await openOnSmallDisk(t, victim);
    const testimony = createTestimony();
    testimony.stocked.set(1, copies);
    const update = `POST ${shop.urls.catalog}/update/1`;
    await askForSure({ request: update, body: { quantity: copies } });
    await isRefused(t, shop, testimony, randomUUID());

    let refusals = 0;
    for (let level = 0; level < levels; level += 1) {
      disk.fill(level * levelPages);
      const refused = await buyUntilFull(t, shop, testimony);
      refused.push(...(await isOpenForReaders(t, shop, testimony)));
      if (level % 3 === 2) {
        await shop.service(victim).kill();
        await startAgain(shop.service(victim));
        await askForSure({ request: `GET ${shop.urls.gateway}/info/1` });
      }
      disk.empty();
      refusals += refused.length;
      await forEachOf(refused, 20, async (key) => {
        const request = `POST ${shop.urls.gateway}/purchase/1`;
        hear(testimony, key, await askForSure({ request, key }));
      });
    }

    const shown = await interview(shop);
    t.match(shown.audit, { balanced: true, pending: 0, differences: [] });
    t.same(breaches({ testimony, ...shown }), []);
    t.equal(shown.log.length, testimony.told.size, 'everybody got a copy in the end');
    await shop.stop();
    t.same(breaches({ testimony, ...readFiles(folders) }), []);
    t.match(await auditFiles(folders), { audit: { balanced: true, pending: 0 }, notes: [] });
    t.comment(`${levels} levels, ${refusals} refusals, ${shown.log.length} copies sold`);
  });
}
