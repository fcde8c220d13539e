import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { appendFileSync, cpSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { isDeepStrictEqual } from 'node:util';
import { crc32 } from 'node:zlib';
import { type Operation, openCsvStore as openCatalog } from '@bazar/catalog';
import { openCsvStore as openOrderLog } from '@bazar/order';
import { createRandom, type Random } from '@bazar/simulation';
import { type Disk, type DiskFile, nodeDisk, readFully } from '@bazar/storage';
import t, { type Test } from 'tap';
import { auditFiles } from '../src/conservation.js';
import { overlayDisk } from '../src/overlay.js';

const quiet = {
  disk: nodeDisk,
  log: () => {},
  onBroken: (error: Error) => {
    throw error;
  },
};

const openBooks = (folder: string) =>
  openCatalog({ ...quiet, folder, now: Date.now, after: () => () => {}, newId: randomUUID });
const openLog = (folder: string) =>
  openOrderLog({ ...quiet, folder, monotonic: () => performance.now() });

const sales = (...items: number[]): Operation[] =>
  items.map((itemId) => ({ id: randomUUID(), kind: 'sale', itemId }));

/** Sells copies, and logs all of the sales but those after `logged`. */
async function sell(folder: string, operations: readonly Operation[], logged = operations.length) {
  const catalog = await openBooks(folder);
  const outcomes = await catalog.apply(operations);
  const store = await openLog(folder);
  const { catalogId } = await catalog.operations(0, 1);
  if ((await store.catalogId()) === undefined) await store.adoptCatalog(catalogId);
  for (const [index, outcome] of outcomes.slice(0, logged).entries()) {
    const operation = operations[index];
    if (operation?.kind !== 'sale' || outcome.result !== 'sold') continue;
    const { id: orderId, itemId } = operation;
    await store.append([{ ...outcome, orderId, itemId }]);
  }
  await store.close();
  await catalog.close();
}

/** A folder of the report's shop in which two copies of book 2 and one of book 3 were sold. */
async function soldFolder(t: Test, logged?: number): Promise<string> {
  const folder = t.testdir();
  await sell(folder, sales(2, 3, 2), logged);
  return folder;
}

const audit = (folder: string) => auditFiles({ catalog: folder, order: folder });

/** Every file with its bytes. */
function contents(folder: string): Record<string, string> {
  const names = readdirSync(folder).sort();
  return Object.fromEntries(names.map((name) => [name, readFileSync(join(folder, name), 'hex')]));
}

function rewrite(path: string, change: (text: string) => string): void {
  writeFileSync(path, change(readFileSync(path, 'utf8')));
}

const script = fileURLToPath(new URL('../dist/audit.js', import.meta.url));

async function run(args: readonly string[], env: NodeJS.ProcessEnv = {}) {
  const child = spawn('/usr/bin/env', ['-u', 'NODE_OPTIONS', process.execPath, script, ...args], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
  }
  const code = await new Promise((resolve) => child.once('close', resolve));
  return { code, output };
}

t.test('when the files of a shop are whole, then the law holds and no byte changes', async (t) => {
  const folder = await soldFolder(t);
  const before = contents(folder);
  const { audit: sums, ...rest } = await audit(folder);
  t.same(sums, {
    balanced: true,
    sale: 3,
    books: 4,
    stocked: 21,
    remaining: 18,
    sold: 3,
    logged: 3,
    pending: 0,
    differences: [],
  });
  t.same(rest, { pending: [], contradiction: undefined, notes: [] });
  t.same(contents(folder), before);

  const printed = await run([folder]);
  t.equal(printed.code, 0, printed.output);
  t.match(
    printed.output,
    /^stocked {4}21\nremaining {2}18\nsold {8}3\nlogged {6}3\npending {5}0$/m,
  );
  t.match(printed.output, 'Every copy stocked is either left or sold once.');
  t.equal((await run([], { DATA_DIR: folder })).code, 0, 'DATA_DIR names the folder as well');
  t.same(contents(folder), before);
});

t.test('when a kill left work to a start, then it is done on paper only', async (t) => {
  const folder = await soldFolder(t, 1);
  appendFileSync(join(folder, 'order_log.csv'), '2026-01-01T00:00:00.000Z,2,RPCs fo');
  rmSync(join(folder, 'catalog_data.csv'));
  const before = contents(folder);
  const { audit: sums, pending, notes } = await audit(folder);
  t.match(sums, { balanced: true, logged: 1, pending: 2 });
  t.match(pending, [
    { sale: 2, itemId: 3 },
    { sale: 3, itemId: 2 },
  ]);
  t.match(notes, [/catalog_data.csv was missing/, /order_log.csv: the last \d+ bytes/]);
  const printed = await run([folder]);
  t.equal(printed.code, 0, printed.output);
  t.match(printed.output, /^A start would say: order_log.csv: the last/m);
  t.match(printed.output, /^sale 3 is pending: order [0-9a-f-]{36}, a copy of book 2$/m);
  t.match(printed.output, 'the next start logs what is pending');
  t.same(contents(folder), before);
});

t.test('when a person edited the stock, then the edit counts as stocked', async (t) => {
  const folder = await soldFolder(t);
  rewrite(join(folder, 'catalog_data.csv'), (text) =>
    text.replace(/^1,(.*),10,30$/m, '1,$1,12,30'),
  );
  const before = contents(folder);
  const { audit: sums, notes } = await audit(folder);
  t.match(sums, { balanced: true, stocked: 23, remaining: 20, sold: 3 });
  t.match(notes.join('\n'), /catalog_data.csv was edited while the shop was stopped/);
  t.same(contents(folder), before);
});

t.test('when a row is of another book, then each book is named', async (t) => {
  const folder = await soldFolder(t);
  rewrite(join(folder, 'order_log.csv'), (text) => {
    const lines = text.split('\n');
    const forged = lines[2]?.replace(/Z,3,/, 'Z,4,').slice(0, -13) ?? '';
    lines[2] = `${forged} crc:${crc32(forged).toString(16).padStart(8, '0')}`;
    return lines.join('\n');
  });
  const { audit: sums } = await audit(folder);
  t.match(sums, { balanced: false, sold: 3, logged: 3 });
  t.match(sums.differences, [
    { item_id: 3, sold: 1, logged: 0 },
    { item_id: 4, sold: 0, logged: 1 },
  ]);
  const printed = await run([folder]);
  t.equal(printed.code, 1);
  t.match(printed.output, /^book 3: 1 sold, but 0 logged and 0 pending$/m);
  t.match(printed.output, /^book 4: 0 sold, but 1 logged and 0 pending$/m);
  t.match(printed.output, 'The books do not balance.');
});

t.test('when the two folders do not belong together, then it is said why', async (t) => {
  const shops = t.testdir({ ours: {}, foreign: {} });
  const [ours, foreign] = [join(shops, 'ours'), join(shops, 'foreign')];
  await sell(ours, sales(2, 3, 2));
  await sell(foreign, sales(1, 1));
  const row = /the order log belongs to catalog [0-9a-f-]+, but catalog/;
  const mixed = await auditFiles({ catalog: ours, order: foreign });
  t.match(mixed.contradiction, row);
  const printed = await run([ours, foreign]);
  t.equal(printed.code, 1);
  t.match(printed.output, row);

  rmSync(join(foreign, 'order_log.catalog'));
  const nameless = await auditFiles({ catalog: ours, order: foreign });
  t.match(nameless.contradiction, /sale 1 is order [0-9a-f-]+ in the order log, but/);

  const older = join(shops, 'older');
  cpSync(ours, older, { recursive: true });
  await sell(ours, sales(4));
  const restored = await auditFiles({ catalog: older, order: ours });
  t.match(restored.contradiction, /sales up to 4, but the catalog knows only 3: sales 4 to 4/);
  const behind = await auditFiles({ catalog: ours, order: older });
  t.match(behind, { contradiction: undefined, audit: { balanced: true, pending: 1 } });
});

t.test('when files are damaged, missing or in use, then it is told in a sentence', async (t) => {
  type Spoil = (folder: string) => void | Promise<{ close(): Promise<void> }>;
  const rows: [name: string, says: RegExp, spoil: Spoil][] = [
    [
      'a row is removed',
      /order_log.csv, line 3 \(byte \d+\) is not as it was written/,
      (folder) =>
        rewrite(join(folder, 'order_log.csv'), (text) =>
          text.split('\n').toSpliced(2, 1).join('\n'),
        ),
    ],
    [
      'a row is changed',
      /order_log.csv, line 2 \(byte \d+\) is damaged/,
      (folder) => rewrite(join(folder, 'order_log.csv'), (text) => text.replace('Z,2,', 'Z,1,')),
    ],
    [
      'the journal is changed',
      /catalog_journal-000001.log/,
      (folder) =>
        rewrite(join(folder, 'catalog_journal-000001.log'), (text) => text.replace('sale', 'sole')),
    ],
    [
      'the log is lost',
      /holds no order_log.csv/,
      (folder) => rmSync(join(folder, 'order_log.csv')),
    ],
    [
      'the journal is lost',
      /catalog_image-\d+.csv is here, but the journal/,
      (folder) => rmSync(join(folder, 'catalog_journal-000001.log')),
    ],
    ['a shop has the books', /is in use by another process/, (folder) => openBooks(folder)],
    ['a shop has the log', /is in use by another process/, (folder) => openLog(folder)],
  ];
  const shops = t.testdir({ empty: {} });
  for (const [name, says, spoil] of rows) {
    const folder = join(shops, name);
    await sell(folder, sales(2, 3, 2));
    const holder = await spoil(folder);
    const before = contents(folder);
    await t.rejects(audit(folder), { message: says }, name);
    t.same(contents(folder), before, name);
    await holder?.close();
  }
  const empty = join(shops, 'empty');
  await t.rejects(audit(empty), /holds no catalog/);
  await t.rejects(audit(join(shops, 'nowhere')), /There is no folder .*nowhere/);
  const printed = await run([empty]);
  t.match(printed, { code: 1, output: /^The files cannot be audited: .*holds no catalog\.\n$/ });
  t.match(await run(['a', 'b', 'c']), { code: 1, output: /^Name one folder/ });
});

const seed = process.env['SEED'] ?? randomUUID();

t.test('when an overlay is written to, then it is a disk like any other', async (t) => {
  t.comment(`SEED=${seed}`);
  const random = createRandom(seed);
  const folders = t.testdir({ real: { a: 'abcdefgh', b: '' }, beneath: { a: 'abcdefgh', b: '' } });
  const sides = [
    { disk: nodeDisk, folder: join(folders, 'real') },
    { disk: overlayDisk(nodeDisk), folder: join(folders, 'beneath') },
  ];
  const before = contents(join(folders, 'beneath'));
  for (let step = 0; step < 2000; step += 1) {
    const change = anyChange(random);
    const [real, paper] = await Promise.all(
      sides.map(({ disk, folder }) => change.run(disk, (name) => join(folder, name))),
    );
    if (isDeepStrictEqual(paper, real)) continue;
    t.same(paper, real, `step ${step}: ${change.name}`);
    break;
  }
  t.same(contents(join(folders, 'beneath')), before);
});

type Change = (disk: Disk, pathOf: (name: string) => string) => Promise<unknown>;

/** Something to do with a disk; resolves to an error's code, and to all that the disk shows then. */
function anyChange(random: Random): { readonly name: string; readonly run: Change } {
  const names = ['a', 'b', 'c'];
  const [one, other] = [random.pick(names), random.pick(names)];
  const mode = random.pick(['write', 'create'] as const);
  const position = random.integer(12);
  const bytes = Buffer.from(random.uuid().slice(0, random.integer(12)));
  const inFile = (use: (file: DiskFile) => Promise<unknown>): Change => {
    return async (disk, pathOf) => {
      const file = await disk.open(pathOf(one), mode);
      return use(file).finally(() => file.close());
    };
  };
  const changes: Readonly<Record<string, Change>> = {
    write: inFile((file) => file.write(bytes, position)),
    truncate: inFile((file) => file.truncate(position)),
    rename: (disk, pathOf) => disk.rename(pathOf(one), pathOf(other)),
    link: (disk, pathOf) => disk.link(pathOf(one), pathOf(other)),
    remove: (disk, pathOf) => disk.remove(pathOf(one)),
  };
  const name = random.pick(Object.keys(changes));
  return {
    name: `${name} ${mode} ${one} ${other} ${position} ${bytes}`,
    async run(disk, pathOf) {
      const done = changes[name]?.(disk, pathOf) ?? Promise.resolve();
      const code = await done.then(
        () => 'done',
        (error: unknown) => (error instanceof Error && 'code' in error ? error.code : error),
      );
      return { code, shown: await shownBy(disk, pathOf) };
    },
  };
}

/** The text of every file in a folder, as a disk shows it. */
async function shownBy(disk: Disk, pathOf: (name: string) => string) {
  const shown: Record<string, string> = {};
  for (const name of (await disk.list(pathOf('.'))).sort()) {
    const file = await disk.open(pathOf(name), 'read');
    const buffer = Buffer.alloc(await file.size());
    await readFully(file, buffer, 0);
    await file.close();
    shown[name] = buffer.toString('latin1');
  }
  return shown;
}
