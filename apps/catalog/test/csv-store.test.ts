import { execFileSync } from 'node:child_process';
import { readdir, readFile, rename, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { BadFile, StorageError } from '@bazar/storage';
import t, { type Test } from 'tap';
import type { CatalogStore, Operation, Outcome } from '../src/store.js';
import { idOf } from './ids.js';
import { type Ledger, lawBreaches, readLedger } from './law.js';
import { type Call, createMachine, type Fault, type Machine } from './machine.js';
import { sale, snapshotOf, storeSuite } from './store-suite.js';

const seed = Number(process.env['SEED'] ?? Date.now() % 2 ** 31);

/** Longer than the files need to follow the stock, and the journal to be sealed. */
const snapshotMs = 1000;

const header = 'id,title,topic,quantity,price';
const report = `${header}
1,How to get a good grade in DOS in 40 minutes a day,distributed,10,30
2,RPCs for Noobs,distributed,2,50
3,Xen and the Art of Surviving Undergraduate School,undergrad,3,40
4,Cooking for the Impatient Undergrad,undergrad,6,35
`;

const dataPath = ({ folder }: Machine) => join(folder, 'catalog_data.csv');
const readData = (machine: Machine) => readFile(dataPath(machine), 'utf8');
const ownFiles = /^(catalog_(image|journal)-.*|catalog\.lock|catalog_data\.csv\..*)$/;

async function filesOf({ folder }: Machine, pattern: RegExp): Promise<string[]> {
  return (await readdir(folder)).filter((name) => pattern.test(name)).sort();
}

/** What the file should show. */
function tableOf(stocks: Ledger['stocks']): string {
  const rows = stocks.map(({ id, title, topic, quantity, price }) =>
    [id, title, topic, quantity, price].join(','),
  );
  return `${[header, ...rows].join('\n')}\n`;
}

/** As an editor does that writes a new file and puts it in the place of the old one. */
async function edit(machine: Machine, change: (text: string) => string): Promise<string> {
  const text = change(await readData(machine));
  await writeFile(`${dataPath(machine)}.swp`, text);
  await rename(`${dataPath(machine)}.swp`, dataPath(machine));
  return text;
}

async function stocksOf(store: CatalogStore) {
  const { stocks } = await readLedger(store);
  return Object.fromEntries(stocks.map((stock) => [stock.id, stock]));
}

/** What the next start finds; it is stopped again. */
async function stocksAfter(machine: Machine): Promise<Ledger> {
  const store = await machine.open();
  const ledger = await readLedger(store);
  await store.close();
  return ledger;
}

/** A store on a file as somebody else wrote it; closed at the end of the test. */
async function openOn(t: Test, content: string | Buffer) {
  const machine = createMachine(t.testdir({ 'catalog_data.csv': content }));
  const store = await machine.open();
  t.teardown(() => store.close());
  return { machine, store };
}

t.test('the CSV store is a store', async (t) => {
  storeSuite(t, (t) => createMachine(t.testdir()));
});

t.test('when there is no file, then the books of the report are laid down', async (t) => {
  const machine = createMachine(t.testdir());
  const store = await machine.open();
  t.equal(await readData(machine), report);
  await store.close();
  t.equal(await readData(machine), report);
  t.match(machine.log, [/4 books are laid down/]);
  const calls = machine.calls.length;
  await (await machine.open()).close();
  const written = machine.calls.slice(calls).filter(({ name }) => name === 'write');
  t.ok(
    written.every(({ file }) => file.startsWith('catalog_journal')),
    'a start that finds nothing new writes no picture',
  );
});

t.test('when another program wrote the file, then it is taken over as it is', async (t) => {
  const files: Record<string, string> = {
    'with a byte order mark': `\ufeff${report}`,
    'with CRLF': report.replaceAll('\n', '\r\n'),
    'without a last line end': report.trimEnd(),
    'with floats and zeros': report.replace(',10,30', ',10.0,30.00').replace(',2,50', ',02,50.0'),
    'with quotes around everything': report.replaceAll(/[^,\n]+/g, '"$&"'),
    'with empty lines': report.replaceAll('\n', '\n\n'),
    'in another order': `${header}\n${report.split('\n').slice(1, 5).reverse().join('\n')}\n`,
    'with columns in another order': report.replaceAll(
      /^(.*),(.*),(.*),(.*),(.*)$/gm,
      '$5,$4,$3,$2,$1',
    ),
  };
  for (const [name, content] of Object.entries(files)) {
    await t.test(name, async (t) => {
      const { machine, store } = await openOn(t, content);
      t.equal(tableOf((await readLedger(store)).stocks), report);
      await machine.advance(snapshotMs);
      t.equal(await readData(machine), content, 'nothing is rewritten before it has to be');
      await store.apply([sale(1, 1)]);
      await machine.advance(snapshotMs);
      t.equal(await readData(machine), report.replace(',10,', ',9,'));
      t.same(await filesOf(machine, /edited/), []);
    });
  }
  await t.test('with commas, quotes, a leading @, and a book 0', async (t) => {
    const { machine, store } = await openOn(
      t,
      `${header}\n0,"a, ""b""",@home,1,0.1\n7, x ,ΔΣ,999,19.99\n999,-,y,0,1\n`.replace(
        '-,y',
        '–,y',
      ),
    );
    const expected = [
      { id: 0, title: 'a, "b"', topic: '@home', quantity: 1, price: 0.1 },
      { id: 7, title: ' x ', topic: 'ΔΣ', quantity: 999, price: 19.99 },
      { id: 999, title: '–', topic: 'y', quantity: 0, price: 1 },
    ];
    const books = async (store: CatalogStore) =>
      Promise.all(expected.map(({ id }) => store.book(id)));
    t.same(await books(store), expected);
    t.same(await store.search('@HOME', -1, 5), [{ id: 0, title: 'a, "b"' }]);
    await store.apply([sale(1, 0)]);
    await store.close();
    const again = await machine.open();
    t.same(await books(again), [{ ...expected[0], quantity: 0 }, ...expected.slice(1)]);
    await again.close();
  });
});

t.test('when a table is bad, then the start names the place and touches nothing', async (t) => {
  const row = (cells: string) => `${header}\n1,A,b,1,1\n\n${cells}\n`;
  const files: Record<string, [content: string | Buffer, line: number, reason: RegExp]> = {
    'an empty file': ['', 1, /header id,title,topic,quantity,price is missing/],
    'a missing column': ['id,title,topic,price\n1,A,b,1\n', 1, /"quantity" is missing/],
    'an unknown column': [`${header},isbn\n1,A,b,1,1,x\n`, 1, /"isbn" is unknown/],
    'a missing cell': [row('2,A,b,1'), 4, /4 cells where the header has 5/],
    'one cell too many': [row('2,A,b,1,1,1'), 4, /6 cells/],
    'a duplicate id': [row('1,B,b,1,1'), 4, /id 1 stands on line 2 already/],
    'a duplicate far away': [
      `${row('9,B,b,1,1')}3,C,c,1,1\n9,D,d,1,1\n`,
      6,
      /id 9 stands on line 4/,
    ],
    'a negative id': [row('-2,A,b,1,1'), 4, /id must be a whole number.*"-2"/],
    'an id of 16 digits': [row('1234567890123456,A,b,1,1'), 4, /id must be/],
    'a negative quantity': [row('2,A,b,-1,1'), 4, /quantity must be a whole number from 0.*"-1"/],
    'a fractional quantity': [row('2,A,b,1.5,1'), 4, /quantity must be.*"1\.5"/],
    'a quantity in letters': [row('2,A,b,many,1'), 4, /quantity must be.*"many"/],
    'too large a quantity': [row('2,A,b,1000000001,1'), 4, /quantity must be/],
    'a negative price': [row('2,A,b,1,-1'), 4, /price must be at least 0/],
    'a price of three decimals': [row('2,A,b,1,1.234'), 4, /at most two decimals/],
    'a price with a currency': [row('2,A,b,1,€1'), 4, /price must be/],
    'an empty title': [row('2,,b,1,1'), 4, /title is empty/],
    'a blank topic': [row('2,A,  ,1,1'), 4, /topic is empty/],
    'too long a title': [row(`2,${'a'.repeat(501)},b,1,1`), 4, /title has more than 500/],
    'a formula': [row('2,=1+1,b,1,1'), 4, /title begins with =/],
    'a plus': [row('2,A,+b,1,1'), 4, /topic begins with \+/],
    'a minus': [row('2,-A,b,1,1'), 4, /title begins with -/],
    'a control character': [row('2,A\u0007,b,1,1'), 4, /control character/],
    'a line break in a cell': [row('2,"A\nB",b,1,1'), 4, /quote is not closed/],
    'a cell of Latin-1': [Buffer.from(row('2,Ä,b,1,1'), 'latin1'), 4, /not UTF-8/],
  };
  for (const [name, [content, line, reason]] of Object.entries(files)) {
    await t.test(name, async (t) => {
      const bytes = Buffer.from(content);
      const machine = createMachine(t.testdir({ 'catalog_data.csv': bytes }));
      for (const attempt of ['first', 'second']) {
        const error = await machine.open().catch((error: unknown) => error);
        t.ok(error instanceof BadFile, `${attempt}: ${error}`);
        t.match(error, { file: 'catalog_data.csv', line, reason });
        t.ok(bytes.equals(await readFile(dataPath(machine))), 'the file is untouched');
      }
      t.same(await filesOf(machine, /image|next|replaced|edited/), []);
      await writeFile(dataPath(machine), report);
      const store = await machine.open();
      t.equal(tableOf((await readLedger(store)).stocks), report, 'once mended, it is read');
      await store.close();

      await writeFile(dataPath(machine), bytes);
      await t.rejects(machine.open(), { name: 'BadFile', message: reason });
      t.ok(bytes.equals(await readFile(dataPath(machine))));
      await writeFile(dataPath(machine), report);
      await (await machine.open()).close();
    });
  }
});

t.test('when the stock changes, then the file follows it, and is exact at a stop', async (t) => {
  const machine = createMachine(t.testdir());
  const store = await machine.open();
  await store.apply([sale(1, 1)]);
  t.equal(await readData(machine), report);
  await machine.advance(snapshotMs);
  t.equal(await readData(machine), report.replace(',10,', ',9,'));
  t.same(await filesOf(machine, ownFiles), [
    'catalog.lock',
    'catalog_image-000002.csv',
    'catalog_journal-000001.log',
  ]);
  const calls = machine.calls.length;
  await machine.advance(60_000);
  t.equal(machine.calls.length, calls, 'where nothing happens, nothing is written');
  await store.apply([sale(2, 1), sale(3, 2)]);
  await store.close();
  t.equal(await readData(machine), report.replace(',10,', ',8,').replace(',2,50', ',1,50'));
});

t.test('when a process has the folder, then a second one refuses to start', async (t) => {
  const folder = t.testdir();
  const first = createMachine(folder);
  const second = createMachine(folder);
  const store = await first.open();
  await t.rejects(second.open(), { name: 'StorageError', message: /in use by another process/ });
  t.match(await store.apply([sale(1, 1)]), [{ result: 'sold', sale: 1 }], 'the first goes on');
  await rm(join(folder, 'catalog.lock'));
  const inUse = { name: 'StorageError', message: /it holds catalog_journal-000001\.log/ };
  await t.rejects(second.open(), inUse, 'also when the lock file was removed');
  t.match(await store.apply([sale(2, 1)]), [{ result: 'sold', sale: 2 }]);
  t.same(first.broken, []);
  await first.kill();
  const next = await second.open();
  t.match(await next.operations(0, 1), { lastSale: 2 });
  await next.close();
});

t.test('when the journal is tampered with under its store, then it sells no more', async (t) => {
  const tampers: Record<string, (path: string) => Promise<void>> = {
    removed: (path) => rm(path),
    moved: (path) => rename(path, `${path}.old`),
    emptied: (path) => truncate(path, 0),
    lengthened: (path) => writeFile(path, 'x', { flag: 'a' }),
  };
  for (const [what, tamper] of Object.entries(tampers)) {
    const machine = createMachine(t.testdir());
    const store = await machine.open();
    await store.apply([sale(1, 1)]);
    await tamper(join(machine.folder, 'catalog_journal-000001.log'));
    await t.rejects(store.apply([sale(2, 1)]), { name: 'StorageBroken' }, what);
    t.match(machine.broken, [{ message: /^catalog_journal-000001\.log is not as this process/ }]);
    await machine.advance(10_000);
    t.equal(await readData(machine), report, 'no snapshot is taken any more');
    t.match(await store.book(1), { quantity: 9 }, 'nor is it shown');
    await machine.kill();
  }
});

t.test('when an idle shop loses its folder, then it leaves the next one alone', async (t) => {
  const folder = t.testdir({ data: {} });
  const machine = createMachine(join(folder, 'data'));
  const store = await machine.open();
  await store.apply([sale(1, 1)]);
  await rename(machine.folder, join(folder, 'away'));
  const other = createMachine(machine.folder);
  const next = await other.open();
  await machine.advance(snapshotMs);
  t.equal(machine.broken.length, 1);
  t.equal(await readData(other), report);
  await t.rejects(store.operations(0, 1), { name: 'StorageBroken' });
  await machine.kill();
  await next.close();
});

t.test('when an old file of the shop is put back, then no sold copy comes with it', async (t) => {
  const retention = { outcomes: 1, ageMs: 0 };
  for (const isForgotten of [false, true]) {
    const machine = createMachine(t.testdir());
    let store = await machine.open({ retention });
    await store.apply([sale(1, 1)]);
    await machine.advance(snapshotMs);
    const old = await readData(machine);
    await store.apply([sale(2, 1), sale(3, 3)]);
    await machine.advance(snapshotMs);
    if (isForgotten) {
      // The segments with the checkpoints of the old file are retired.
      await store.operations(3, 1);
      for (const n of [4, 5]) {
        await store.apply([sale(n, 4)]);
        await store.operations(n, 1);
        await machine.advance(snapshotMs);
      }
      t.notOk((await filesOf(machine, /journal/)).includes('catalog_journal-000001.log'));
    }
    const before = await snapshotOf(store);
    const shown = await readData(machine);
    await store.close();
    await writeFile(dataPath(machine), old);
    store = await machine.open({ retention });
    t.same(await snapshotOf(store), before);
    const [aside = ''] = await filesOf(machine, /edited/);
    t.equal(await readFile(join(machine.folder, aside), 'utf8'), old, 'nothing is lost');
    t.match(
      machine.log.at(-1),
      /was the shop's own file of 2025-05-17T10:30:00.500Z \(journal record/,
    );
    t.match(machine.log.at(-1), new RegExp(`is kept as ${aside.replaceAll('.', '\\.')}`));
    await machine.advance(snapshotMs);
    t.equal(await readData(machine), shown, 'the file shows the stock again');
    await store.close();
    await edit(machine, () => old.replace(',9,', ',90,'));
    const { stocks } = await stocksAfter(machine);
    t.equal(stocks[0]?.quantity, 90, 'an edit of it is a wish');
  }
});

t.test('when a file of ours is missing or damaged, then the start is refused', async (t) => {
  const image = 'catalog_image-000002.csv';
  const journal = 'catalog_journal-000001.log';
  const damages: Record<string, [(folder: string) => Promise<unknown>, RegExp]> = {
    'no journal': [
      (folder) => rm(join(folder, journal)),
      /image-000002.csv is here, but the journ/,
    ],
    'an empty journal': [
      (folder) => truncate(join(folder, journal), 0),
      /is here, but the journal/,
    ],
    'half a header': [(folder) => truncate(join(folder, journal), 20), /is here, but the journal/],
    'a header only': [
      async (folder) => {
        const text = await readFile(join(folder, journal), 'utf8');
        await truncate(join(folder, journal), text.indexOf('\n') + 1);
      },
      /no checkpoint to begin from/,
    ],
    'an old journal': [
      async (folder) => {
        const lines = (await readFile(join(folder, journal), 'utf8')).split('\n');
        await writeFile(join(folder, journal), `${lines.slice(0, 3).join('\n')}\n`);
      },
      /image-000001.csv is missing/,
    ],
    'a hole in the journal': [
      async (folder) => {
        const text = await readFile(join(folder, journal), 'utf8');
        await writeFile(join(folder, journal), text.replace('"quantity":9', '"quantity":8'));
      },
      /catalog_journal-000001.log, line \d+ \(byte \d+\)/,
    ],
    'no image': [(folder) => rm(join(folder, image)), /image-000002.csv is missing/],
    'another image': [
      async (folder) => {
        const text = await readFile(join(folder, image), 'utf8');
        await writeFile(join(folder, image), text.replace(',9,30,10,1', ',10,30,11,1'));
      },
      /is not the file that the journal's checkpoint names/,
    ],
    'an image that does not add up': [
      async (folder) => {
        const text = await readFile(join(folder, image), 'utf8');
        await writeFile(join(folder, image), text.replace(',9,30,10,1', ',8,30,10,1'));
      },
      /line 2: stocked is not quantity \+ sold/,
    ],
    'half an image': [(folder) => truncate(join(folder, image), 80), /image-000002.csv/],
  };
  for (const [name, [damage, reason]] of Object.entries(damages)) {
    await t.test(name, async (t) => {
      const machine = createMachine(t.testdir());
      const store = await machine.open();
      await store.apply([sale(1, 1)]);
      await machine.advance(snapshotMs);
      await store.apply([sale(2, 1)]);
      await machine.advance(100);
      await machine.kill();
      const data = await readData(machine);
      await damage(machine.folder);
      const files = await readdir(machine.folder);
      for (const attempt of ['first', 'second']) {
        const error = await machine.open().catch((error: unknown) => error);
        t.ok(error instanceof StorageError, `${attempt}: ${error}`);
        t.match(error, { message: reason });
      }
      t.equal(await readData(machine), data);
      t.same(await readdir(machine.folder), files);
    });
  }
});

t.test('when a person edits the file of a stopped shop, then it is merged', async (t) => {
  const machine = createMachine(t.testdir());
  let store = await machine.open();
  await store.apply([sale(1, 1)]);
  await machine.advance(snapshotMs);
  // What comes now is in the journal only; the person sees 9 copies where there are 7.
  await store.apply([
    sale(2, 1),
    sale(3, 1),
    sale(4, 3),
    { id: idOf(5), kind: 'change', itemId: 4, change: { price: 36 } },
    { id: idOf(6), kind: 'change', itemId: 2, change: { price: 51 } },
  ]);
  await machine.kill();
  await edit(machine, (text) =>
    text
      .replace(',9,30', ',14,30')
      .replace('Xen', 'Xenon')
      .replace(',distributed,2,50', ',RPC,2,55')
      .replace(/4,Cooking.*\n/, '')
      .concat('9,"Brand, new",fresh,3,1.5\n'),
  );
  const merged = {
    1: { quantity: 12, price: 30, stocked: 15, sold: 3 },
    2: { topic: 'RPC', quantity: 2, price: 55, stocked: 2, sold: 0 },
    3: { title: /^Xenon and the Art/, quantity: 2, price: 40, stocked: 3, sold: 1 },
    4: { quantity: 0, price: 36, stocked: 0, sold: 0 },
    9: { title: 'Brand, new', topic: 'fresh', quantity: 3, price: 1.5, stocked: 3, sold: 0 },
  };
  store = await machine.open();
  t.match(await stocksOf(store), merged);
  t.same(lawBreaches(await readLedger(store)), []);
  const adopted = machine.log.filter((sentence) => /edited|adopted/.test(sentence));
  t.same(adopted, [
    'catalog_data.csv was edited while the shop was stopped; books changed: 5',
    'adopted: book 1: stock +5: 7 is now 12',
    'adopted: book 2: topic is now "RPC", price is now 55',
    'adopted: book 3: title is now "Xenon and the Art of Surviving Undergraduate School"',
    'adopted: book 9 is new, with a stock of 3',
    'adopted: book 4 was removed: its stock of 6 is now 0',
  ]);
  t.same(
    (await store.topics('', 9)).map(({ topic }) => topic),
    ['distributed', 'fresh', 'RPC', 'undergrad'],
  );
  for (const end of [() => machine.kill(), () => store.close(), () => store.close()]) {
    await end();
    store = await machine.open();
    t.match(await stocksOf(store), merged, 'adopted once');
    t.equal(machine.log.filter((sentence) => /was edited/.test(sentence)).length, 1);
  }
  t.match(await store.apply([sale(7, 9)]), [{ result: 'sold', sale: 5, title: 'Brand, new' }]);
  await store.close();
  t.equal(await readData(machine), tableOfText(await readLedger(store)));
  t.same(await filesOf(machine, /edited/), []);
});

/** As `tableOf`, where one title has a comma. */
function tableOfText({ stocks }: Ledger): string {
  return tableOf(stocks).replace('Brand, new', '"Brand, new"');
}

t.test(
  'when a person edits again before the file was rewritten, then each counts once',
  async (t) => {
    const machine = createMachine(t.testdir());
    await (await machine.open()).close();
    for (const round of [1, 2, 3]) {
      await edit(machine, (text) =>
        text
          .replace(/,(\d+),30\n/, (_, quantity) => `,${Number(quantity) + 5},30\n`)
          .concat(`${100 + round},Round ${round},new,1,1\n`),
      );
      const store = await machine.open();
      const { 1: stock } = await stocksOf(store);
      t.match(stock, { quantity: 10 + 5 * round }, `round ${round}`);
      t.equal((await readLedger(store)).stocks.length, 4 + round);
      await machine.kill();
    }
    // The person takes all of it back, which the shop has not shown yet either.
    await writeFile(dataPath(machine), report);
    const store = await machine.open();
    const { stocks } = await readLedger(store);
    t.same(
      stocks.map(({ quantity }) => quantity),
      [10, 2, 3, 6, 0, 0, 0],
    );
    await machine.advance(snapshotMs);
    t.equal(await readData(machine), tableOf(stocks));
    await store.close();
  },
);

t.test('when an edit takes more than there is, then none is left', async (t) => {
  const machine = createMachine(t.testdir());
  const first = await machine.open();
  await first.apply([sale(1, 2), sale(2, 2)]);
  await machine.kill();
  await edit(machine, (text) => text.replace(',2,50', ',1,50').replace(',10,30', ',1000000000,30'));
  const store = await machine.open();
  t.match(await stocksOf(store), {
    1: { quantity: 1_000_000_000 },
    2: { quantity: 0, stocked: 2, sold: 2 },
  });
  t.match(machine.log, [/laid/, /changed: 2/, /book 1/, /book 2.*1 of the copies .* sold before/]);
  const add = {
    id: idOf(3),
    kind: 'change',
    itemId: 1,
    change: { quantity: 999_999_999 },
  } as const;
  await machine.advance(snapshotMs);
  await store.apply([add]);
  await machine.kill();
  await edit(machine, (text) => text.replace(',1000000000,30', ',999999999,30'));
  const next = await machine.open();
  t.match((await stocksOf(next))[1], { quantity: 999_999_998 });
  await next.close();
  await (await machine.open()).close();
});

t.test(
  'when a sum of edits is more than a stock may be, then the files stay readable',
  async (t) => {
    const machine = createMachine(t.testdir());
    const first = await machine.open();
    const quantity = 900_000_000;
    await first.apply([{ id: idOf(1), kind: 'change', itemId: 1, change: { quantity } }]);
    await machine.kill();
    await edit(machine, (text) => text.replace(',10,30', `,${quantity},30`));
    await (await machine.open()).close();
    const store = await machine.open();
    t.match((await stocksOf(store))[1], { quantity: 1_000_000_000 });
    await store.close();
  },
);

t.test('when a new row has an id that was given away, then the start is refused', async (t) => {
  const machine = createMachine(t.testdir());
  const store = await machine.open();
  const book = { title: 'Ours', topic: 'x', quantity: 1, price: 1 };
  await store.apply([{ id: idOf(1), kind: 'addition', book }]);
  await machine.kill();
  const text = await edit(machine, (text) => `${text}5,Theirs,x,1,1\n`);
  await t.rejects(machine.open(), {
    name: 'StorageError',
    message: /book 5 is new in the file, but the shop has given that id to "Ours" meanwhile/,
  });
  t.equal(await readData(machine), text);
  await edit(machine, (text) => text.replace('5,Theirs', '6,Theirs'));
  const next = await machine.open();
  t.match(await stocksOf(next), { 5: { title: 'Ours' }, 6: { title: 'Theirs' } });
  await next.close();
});

t.test('when the file is missing, then it is written again', async (t) => {
  const machine = createMachine(t.testdir());
  const first = await machine.open();
  await first.apply([sale(1, 1)]);
  await first.close();
  await rm(dataPath(machine));
  const store = await machine.open();
  await machine.advance(snapshotMs);
  t.equal(await readData(machine), report.replace(',10,', ',9,'));
  t.match(machine.log.at(-1), /was missing/);
  await rm(dataPath(machine));
  await store.apply([sale(2, 1)]);
  await machine.advance(snapshotMs);
  t.equal(await readData(machine), report.replace(',10,', ',8,'));
  await store.close();
});

t.test('when a crash leaves a snapshot of the same books, then it is no edit', async (t) => {
  const machine = createMachine(t.testdir());
  const first = await machine.open();
  await first.apply([sale(1, 1)]);
  await first.close();
  const stocks = tableOf((await stocksAfter(machine)).stocks);
  await writeFile(`${dataPath(machine)}.next`, stocks);
  const { stocks: again } = await stocksAfter(machine);
  t.equal(tableOf(again), stocks);
  t.notMatch(machine.log.join(), /edited/);
});

t.test('when the file is edited while the shop runs, then the edit is set aside', async (t) => {
  const ways: Record<string, (machine: Machine) => Promise<string>> = {
    'by rename': (machine) => edit(machine, (text) => text.replace(',2,50', ',7,50')),
    'in place': async (machine) => {
      const text = (await readData(machine)).replace(',2,50', ',7,50');
      await writeFile(dataPath(machine), text);
      return text;
    },
    'half-saved': async (machine) => {
      await truncate(dataPath(machine), 100);
      return readData(machine);
    },
    'without hard links': async (machine) => {
      machine.fault = ({ name }) => (name === 'link' ? { code: 'EPERM' } : undefined);
      return edit(machine, (text) => text.replace(',2,50', ',7,50'));
    },
  };
  for (const [name, change] of Object.entries(ways)) {
    await t.test(name, async (t) => {
      const machine = createMachine(t.testdir());
      let store = await machine.open();
      const edited = await change(machine);
      await store.apply([sale(1, 1)]);
      await machine.advance(snapshotMs);
      t.equal(await readData(machine), report.replace(',10,', ',9,'));
      const [aside = '', ...others] = await filesOf(machine, /edited/);
      t.match(aside, /^catalog_data\.edited-2025-05-17T10-30-00\.500Z\.csv$/);
      t.same(others, []);
      t.equal(await readFile(join(machine.folder, aside), 'utf8'), edited);
      t.match(machine.log.at(-1), `kept as ${aside} and is not in force`);
      await store.close();
      store = await machine.open();
      t.match((await stocksOf(store))[2], { quantity: 2 });
      t.equal(machine.log.length, 2);
      await store.close();
    });
  }
  await t.test('and stopped before the stock changes, then it is adopted', async (t) => {
    const machine = createMachine(t.testdir());
    await machine.open().then(async (store) => {
      await edit(machine, (text) => text.replace(',2,50', ',7,50'));
      await store.close();
    });
    const store = await machine.open();
    t.match((await stocksOf(store))[2], { quantity: 7 });
    await store.close();
  });
  await t.test('twice at one time by the clock, then both are kept', async (t) => {
    const machine = createMachine(t.testdir());
    const store = await machine.open({ now: () => 0 });
    for (const round of [1, 2, 3]) {
      await edit(machine, (text) => `${text}\n`.repeat(round));
      await store.apply([sale(round, 1)]);
      await machine.advance(snapshotMs);
    }
    t.equal((await filesOf(machine, /edited-1970/)).length, 3);
    await store.close();
  });
});

t.test(
  'when a batch cannot be synced, then it is not acknowledged and the process ends',
  async (t) => {
    for (const failing of ['write', 'datasync']) {
      const machine = createMachine(t.testdir({ [failing]: {} }));
      const { folder } = createMachine(join(machine.folder, failing));
      const place = createMachine(folder);
      const store = await place.open();
      await store.apply([sale(1, 2)]);
      place.fault = ({ name }) => (name === failing ? { code: 'EIO' } : undefined);
      await t.rejects(store.apply([sale(2, 2)]), { name: 'StorageBroken' });
      t.equal(place.broken.length, 1);
      place.fault = () => undefined;
      await t.rejects(store.apply([sale(3, 2)]), { name: 'StorageBroken' }, 'not even later');
      t.match(await store.book(2), { quantity: 1 }, 'nor is it shown');
      await place.advance(10_000);
      t.equal(place.broken.length, 1, 'told once');
      t.notOk(place.log.some((sentence) => /full/.test(sentence)));
      await place.kill();
      const next = await place.open();
      t.same(lawBreaches(await readLedger(next)), []);
      t.match(await next.apply([sale(2, 2), sale(3, 2)]), [{ result: 'sold', sale: 2 }, {}]);
      await next.close();
    }
  },
);

t.test('when a snapshot fails, then the process ends, and nothing is lost', async (t) => {
  const machine = createMachine(t.testdir());
  const store = await machine.open();
  await store.apply([sale(1, 1)]);
  machine.fault = ({ file }) => (file.endsWith('.next') ? { code: 'EIO' } : undefined);
  await machine.advance(snapshotMs);
  t.match(machine.broken, [/EIO/]);
  await machine.advance(10_000);
  t.equal(machine.broken.length, 1);
  machine.fault = () => undefined;
  await store.close();
  const next = await machine.open();
  t.match((await stocksOf(next))[1], { quantity: 9 });
  await next.close();
});

t.test('when too many files are open, then only the file stays behind', async (t) => {
  // The first of them finds none left, or any later one, for ever or for once.
  for (let first = 0; ; first += 1) {
    const machine = createMachine(t.testdir());
    const store = await machine.open();
    let calls = 0;
    machine.fault = machine.lookFault = ({ name }) => {
      if (!['open', 'list', 'syncFolder'].includes(name)) return undefined;
      calls += 1;
      return calls > first ? { code: 'EMFILE' } : undefined;
    };
    for (const n of [1, 2, 3]) {
      t.match(await store.apply([sale(n, 1)]), [{ result: 'sold' }]);
      await machine.advance(snapshotMs);
    }
    const isReached = calls > first;
    if (isReached) t.match(machine.log.at(-1), /catalog_data\.csv cannot follow .* EMFILE/);
    machine.fault = machine.lookFault = () => undefined;
    await machine.advance(2 * snapshotMs);
    t.same(machine.broken, []);
    t.equal(await readData(machine), report.replace(',10,', ',7,'));
    t.same(await filesOf(machine, /next|replaced|edited/), []);
    t.equal((await filesOf(machine, /image/)).length, 1, 'nothing is left behind');
    await machine.kill();
    t.equal((await stocksAfter(machine)).stocks[0]?.quantity, 7);
    t.notMatch(machine.log.join(), /edited/);
    if (!isReached) break;
  }
});

t.test('when too many files are open, then an outcome is read later', async (t) => {
  const machine = createMachine(t.testdir());
  const store = await machine.open();
  const [sold] = await store.apply([sale(1, 1)]);
  machine.lookFault = () => ({ code: 'EMFILE' });
  const unread = { result: 'failed', failure: { code: 'unavailable', cause: Error } };
  t.match(await store.apply([sale(1, 1)]), [unread]);
  machine.lookFault = () => undefined;
  t.same(await store.apply([sale(1, 1)]), [{ ...sold, replayed: true }]);
  await store.close();
});

t.test('when a file or folder is something else, then the start names it', async (t) => {
  const machine = createMachine(t.testdir({ 'catalog_data.csv': {} }));
  const { folder } = machine;
  const strange = (what: string) => ({ name: 'StorageError', message: new RegExp(what) });
  await t.rejects(machine.open(), strange(`${dataPath(machine)} is a folder`));
  await rm(dataPath(machine), { recursive: true });
  execFileSync('mkfifo', [dataPath(machine)]);
  await t.rejects(machine.open(), strange(`${dataPath(machine)} is a pipe or a device`));
  await rm(dataPath(machine));
  await (await machine.open()).close();
  await rm(join(folder, 'catalog_journal-000001.log'));
  execFileSync('mkfifo', [join(folder, 'catalog_journal-000001.log')]);
  await t.rejects(machine.open(), strange('catalog_journal-000001.log is a pipe or a device'));
  const inner = createMachine(dataPath(machine));
  await t.rejects(inner.open(), strange(`${dataPath(machine)} is a file where a folder should be`));
});

const full: Fault = { code: 'ENOSPC' };

t.test(
  'when the disk is full, then nothing is kept, and selling resumes when it is not',
  async (t) => {
    const machine = createMachine(t.testdir());
    const store = await machine.open();
    const [first] = await store.apply([sale(1, 2)]);
    const before = await snapshotOf(store);
    for (const torn of [false, true]) {
      machine.fault = ({ name }) => (name === 'write' ? { code: 'ENOSPC', torn } : undefined);
      await t.rejects(store.apply([sale(2, 2), sale(3, 1)]), { code: 'storage_full' });
      t.same(await snapshotOf(store), before, 'reads go on');
      t.same(await store.apply([sale(1, 2)]), [{ ...first, replayed: true }], 'so do repeats');
      await machine.advance(30_000);
      t.same(await filesOf(machine, ownFiles), [
        'catalog.lock',
        'catalog_image-000001.csv',
        'catalog_journal-000001.log',
      ]);
    }
    t.equal(
      machine.log.filter((sentence) => /cannot follow the stock .* ENOSPC/.test(sentence)).length,
      1,
      'said once',
    );
    machine.fault = () => undefined;
    t.match(await store.apply([sale(3, 2), sale(2, 2)]), [
      { result: 'sold', sale: 2 },
      { result: 'sold_out' },
    ]);
    await machine.advance(snapshotMs);
    t.equal(await readData(machine), report.replace(',2,50', ',0,50'));
    t.same(machine.broken, []);
    t.same(lawBreaches(await readLedger(store)), []);
    await store.close();
  },
);

t.test(
  'when the disk fills up amid a snapshot, then it is taken back or finished later',
  async (t) => {
    const scenes: Record<string, (call: Call) => boolean> = {
      'while the image is written': ({ file }) => file.includes('image'),
      'while the data is written': ({ file }) => file.endsWith('.next'),
      'while the checkpoint is written': ({ file }) => file.endsWith('.log'),
    };
    for (const [name, isFull] of Object.entries(scenes)) {
      await t.test(name, async (t) => {
        const machine = createMachine(t.testdir());
        const store = await machine.open();
        await store.apply([sale(1, 1)]);
        machine.fault = (call) => (call.name === 'write' && isFull(call) ? full : undefined);
        await machine.advance(20_000);
        t.equal((await filesOf(machine, /image/)).length, 1, 'attempts leave nothing behind');
        t.same(await filesOf(machine, /next|replaced/), []);
        t.equal(await readData(machine), report);
        machine.fault = () => undefined;
        await machine.advance(snapshotMs);
        t.equal(await readData(machine), report.replace(',10,', ',9,'));
        t.same(machine.broken, []);
        await store.close();
      });
    }
    await t.test('so at a stop, then the next start makes up for it', async (t) => {
      const machine = createMachine(t.testdir());
      const store = await machine.open();
      await store.apply([sale(1, 1)]);
      machine.fault = ({ name }) => (name === 'write' ? full : undefined);
      await store.close();
      t.equal(await readData(machine), report);
      machine.fault = () => undefined;
      const next = await machine.open();
      t.match((await stocksOf(next))[1], { quantity: 9 });
      await machine.advance(snapshotMs);
      t.equal(await readData(machine), report.replace(',10,', ',9,'));
      await next.close();
    });
    await t.test('so at the very first start, then it is refused and works later', async (t) => {
      const machine = createMachine(t.testdir());
      machine.fault = ({ name }) => (name === 'write' ? full : undefined);
      await t.rejects(machine.open(), { name: 'StorageFull' });
      machine.fault = () => undefined;
      await (await machine.open()).close();
      t.equal(await readData(machine), report);
    });
  },
);

t.test('when outcomes need not be remembered, then they are forgotten, and no sale', async (t) => {
  const machine = createMachine(t.testdir());
  const retention = { outcomes: 8, ageMs: 60_000 };
  let store = await machine.open({ retention });
  let n = 0;
  async function trade(batches: number, itemId: number) {
    for (let batch = 0; batch < batches; batch += 1) {
      await store.apply([sale(++n, itemId), sale(++n, itemId)]);
      await machine.advance(snapshotMs);
    }
  }
  await store.apply([{ id: idOf(999), kind: 'change', itemId: 1, change: { quantity: 1000 } }]);
  await trade(10, 1);
  const segments = () => filesOf(machine, /journal/);
  const kept = (await segments()).length;
  t.ok(kept > 4, 'the order log has reported nothing yet');
  await store.operations(12, 100);
  await trade(1, 1);
  t.equal((await segments()).length, kept + 1, 'they are too young');
  await machine.advance(60_000);
  await trade(1, 1);
  const { firstSale, lastSale } = await store.operations(12, 100);
  t.ok(firstSale > 1 && firstSale <= 13, `sales ${firstSale} to ${lastSale} can be named`);
  t.ok((await segments()).length < kept);
  const again = await store.apply([sale(firstSale - 1, 1), sale(lastSale, 1)]);
  t.match(again, [
    { sale: lastSale + 1, replayed: false },
    { sale: lastSale, replayed: true },
  ]);

  await t.test('nor do sold-out answers fill the disk', async (t) => {
    await store.apply([{ id: idOf(998), kind: 'change', itemId: 2, change: { quantity: 0 } }]);
    for (let round = 0; round < 30; round += 1) {
      await trade(1, 2);
      await store.operations((await store.operations(0, 1)).lastSale, 1);
      await machine.advance(30_000);
    }
    t.ok((await segments()).length < kept);
  });
  await t.test('nor does a start need what was forgotten', async (t) => {
    for (const end of [() => machine.kill(), () => store.close()]) {
      const before = await snapshotOf(store);
      await end();
      store = await machine.open({ retention });
      t.same(await snapshotOf(store), before);
    }
    await store.close();
  });
  await t.test('nor where nothing has to be remembered at all', async (t) => {
    const machine = createMachine(t.testdir());
    for (let round = 1; round < 5; round += 1) {
      const store = await machine.open({ retention: { outcomes: 1, ageMs: 0 } });
      t.match(await store.apply([sale(round, 1)]), [{ sale: round }]);
      await store.operations(round, 1);
      await machine.advance(snapshotMs);
      await machine.kill();
    }
  });
});

t.test('when a text is as long as the contract allows, then the files can be read', async (t) => {
  const machine = createMachine(t.testdir());
  const store = await machine.open();
  const book = { title: '📚'.repeat(500), topic: '🐟'.repeat(100), quantity: 1, price: 0.01 };
  await store.apply([{ id: idOf(1), kind: 'addition', book }]);
  await store.close();
  const next = await machine.open();
  t.same(await next.book(5), { id: 5, ...book });
  await next.close();
});

t.test('when no id is left, then no book is added', async (t) => {
  const { machine, store } = await openOn(t, `${header}\n999999999999999,Last,x,1,1\n`);
  const book = { title: 'One more', topic: 'x', quantity: 1, price: 1 };
  const [outcome] = await store.apply([{ id: idOf(1), kind: 'addition', book }]);
  t.match(outcome, { result: 'failed', failure: { code: 'malformed_request' } });
  await machine.advance(snapshotMs);
  t.match(await store.apply([sale(2, 999_999_999_999_999)]), [{ result: 'sold' }]);
});

const batches: readonly (readonly Operation[])[] = [
  [sale(1, 2), sale(2, 1)],
  [
    sale(3, 2),
    sale(4, 2),
    { id: idOf(5), kind: 'change', itemId: 3, change: { price: 41.5, quantity_delta: 2 } },
  ],
  [
    {
      id: idOf(6),
      kind: 'addition',
      book: { title: 'Late', topic: 'Distributed', quantity: 1, price: 9.99 },
    },
    sale(7, 5),
    sale(8, 5),
  ],
];

/** Trades until the end or until the disk fails, and tells what was acknowledged. */
async function trade(machine: Machine): Promise<Map<string, Outcome>> {
  const acknowledged = new Map<string, Outcome>();
  try {
    const store = await machine.open();
    for (const batch of batches) {
      const outcomes = await store.apply(batch);
      for (const [index, { id }] of batch.entries()) {
        const outcome = outcomes[index];
        if (outcome !== undefined) acknowledged.set(id, outcome);
      }
      await machine.advance(snapshotMs);
    }
    await store.close();
  } catch (error) {
    if (!(error instanceof Error && /EIO/.test(error.message))) throw error;
  }
  return acknowledged;
}

/** Lets so many calls of the disk succeed and no more; true once it has failed. */
function failAfter(machine: Machine, calls: number, torn = false): () => boolean {
  let left = calls;
  machine.fault = () => {
    left -= 1;
    return left < 0 ? { code: 'EIO', torn: torn && left === -1 } : undefined;
  };
  return () => left < 0;
}

function withoutTime(outcome: Outcome | undefined) {
  if (outcome === undefined || outcome.result === 'failed') return outcome;
  const { replayed: _, ...rest } = outcome;
  return rest.result === 'sold' ? { ...rest, timestamp: 'some time' } : rest;
}

/** A catalog begun anew after a crash has another id. */
async function stateOf(store: CatalogStore) {
  const { feed, ...rest } = await snapshotOf(store);
  return { ...rest, feed: { ...feed, catalogId: 'any' } };
}

/** Starts on what a crash left, and finishes what the callers wanted. */
async function finish(machine: Machine, acknowledged: ReadonlyMap<string, Outcome | undefined>) {
  await machine.kill();
  machine.fault = () => undefined;
  const store = await machine.open();
  const breaches = lawBreaches(await readLedger(store));
  const outcomes: unknown[] = [];
  for (const batch of batches) {
    for (const [index, outcome] of (await store.apply(batch)).entries()) {
      const { id = '' } = batch[index] ?? {};
      const known = acknowledged.get(id);
      outcomes.push([id, withoutTime(known ?? outcome)]);
      if (known !== undefined && !isRepeat(outcome, known)) breaches.push(`${id} is lost`);
    }
  }
  const state = await stateOf(store);
  await store.close();
  // No person did anything, so nothing may look as if one had.
  breaches.push(...machine.log.filter((sentence) => /edited|adopted|missing/.test(sentence)));
  return { breaches, state, data: await readData(machine), outcomes };
}

function isRepeat(outcome: Outcome, known: Outcome): boolean {
  return JSON.stringify(outcome) === JSON.stringify({ ...known, replayed: true });
}

/** A row of numbers that looks random and depends on the seed alone (Park and Miller, 1988). */
function createRandom(): (below: number) => number {
  let state = (seed % 2_147_483_646) + 1;
  return (below) => {
    state = (state * 48_271) % 2_147_483_647;
    return state % below;
  };
}

t.test('when a process dies at any call of the disk, then nothing is lost', async (t) => {
  t.comment(`SEED=${seed}`);
  const calm = createMachine(t.testdir());
  const expected = await finish(calm, await trade(calm));
  t.same(expected.breaches, []);
  const random = createRandom();
  let dead = true;
  for (let calls = 0; dead; calls += 1) {
    for (const torn of calm.calls[calls]?.name === 'write' ? [false, true] : [false]) {
      // The start after it dies as well, at a random call.
      const second = random(24);
      const name = `at call ${calls + 1}${torn ? ', half done' : ''}, then at call ${second + 1}`;
      await t.test(name, async (t) => {
        const machine = createMachine(t.testdir());
        const hasFailed = failAfter(machine, calls, torn);
        const acknowledged = await trade(machine);
        dead = hasFailed();
        await machine.kill();
        failAfter(machine, second, torn);
        for (const [id, outcome] of await trade(machine)) {
          const known = acknowledged.get(id);
          if (known === undefined) acknowledged.set(id, outcome);
          else t.ok(isRepeat(outcome, known), id);
        }
        t.strictSame(await finish(machine, acknowledged), expected);
      });
    }
  }
});

t.test('when a disk forgets what it wrote, then the check above tells', async (t) => {
  const machine = createMachine(t.testdir());
  const store = await machine.open();
  const [batch = []] = batches;
  const outcomes = await store.apply(batch);
  await machine.kill();
  const journal = join(machine.folder, 'catalog_journal-000001.log');
  const text = await readFile(journal, 'utf8');
  await truncate(journal, text.lastIndexOf('\n', text.length - 2) + 1);
  const acknowledged = new Map(batch.map(({ id }, index) => [id, outcomes[index]]));
  const { breaches } = await finish(machine, acknowledged);
  t.same(breaches, [`${batch.at(-1)?.id} is lost`]);
});

/** A person who changes one number of one row, whatever the file shows at that time. */
function addCopies(machine: Machine, id: number, copies: number): Promise<string> {
  return edit(machine, (text) =>
    text.replace(
      new RegExp(`^(${id},.*,)(\\d+)(,[\\d.]+)$`, 'm'),
      (_, before, quantity, price) => `${before}${Number(quantity) + copies}${price}`,
    ),
  );
}

t.test('when a process dies while it adopts an edit, then every edit counts once', async (t) => {
  t.comment(`SEED=${seed}`);
  const random = createRandom();
  let dead = true;
  for (let calls = 0; dead; calls += 1) {
    const second = random(24);
    await t.test(`at call ${calls + 1}, then at call ${second + 1}`, async (t) => {
      const machine = createMachine(t.testdir());
      const first = await machine.open();
      await first.apply([sale(101, 1)]);
      await machine.advance(snapshotMs);
      await first.apply([sale(102, 1), sale(103, 3)]);
      await machine.kill();
      await addCopies(machine, 1, 5);
      await edit(machine, (text) => `${text}9,Brand new,fresh,3,1.5\n`);
      const acknowledged = new Map<string, Outcome>();
      for (const [round, limit] of [calls, second].entries()) {
        const hasFailed = failAfter(machine, limit);
        for (const [id, outcome] of await trade(machine)) {
          if (!acknowledged.has(id)) acknowledged.set(id, outcome);
        }
        if (round === 0) dead = hasFailed();
        await machine.kill();
        await addCopies(machine, 3, 2);
      }
      machine.fault = () => undefined;
      const store = await machine.open();
      t.same(lawBreaches(await readLedger(store)), []);
      const stocked = Object.entries(await stocksOf(store)).map(([id, stock]) => [
        id,
        stock.stocked,
      ]);
      const { 3: { price = 0 } = {} } = await stocksOf(store);
      // Book 3 gets 2 copies twice from the person, and 2 if the change was made.
      t.match(Object.fromEntries(stocked), { 1: 15, 3: price === 40 ? 7 : 9, 9: 3 });
      for (const batch of batches) {
        for (const [index, outcome] of (await store.apply(batch)).entries()) {
          const known = acknowledged.get(batch[index]?.id ?? '');
          if (known !== undefined) t.same(withoutTime(outcome), withoutTime(known));
        }
      }
      await machine.advance(snapshotMs);
      t.equal(await readData(machine), tableOf((await readLedger(store)).stocks));
      t.same(await filesOf(machine, /edited|next|replaced/), []);
      await store.close();
    });
  }
});
