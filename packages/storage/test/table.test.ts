import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import fc from 'fast-check';
import t, { type Test } from 'tap';
import { money, wholeNumber } from '../src/cells.js';
import { nodeDisk } from '../src/disk.js';
import { BadFile } from '../src/errors.js';
import { createIdIndex } from '../src/id-index.js';
import { parseRows, type Row, readTable, writeRows } from '../src/table.js';
import { sha256OfFile, writeNext } from '../src/whole-file.js';

const seed = Number(process.env['SEED'] ?? Date.now() % 2 ** 31);
/** Few enough to be drawn twice. */
const knownIds = Array.from('01234', (digit) => `0199c0de-0000-7000-8000-00000000000${digit}`);
const columns = ['id', 'title', 'price'] as const;
type Book = Row<(typeof columns)[number]>;

async function read(t: Test, content: string | Buffer) {
  const path = join(t.testdir({ 'catalog_data.csv': content }), 'catalog_data.csv');
  const rows: Book[] = [];
  const lines: number[] = [];
  const summary = await readTable({
    disk: nodeDisk,
    path,
    columns,
    onRow(row, line) {
      rows.push(row);
      lines.push(line);
    },
  });
  return { ...summary, path, found: rows, lines };
}

const two = [
  { id: '1', title: 'RPCs, for "Noobs"', price: '50' },
  { id: '2', title: 'Ἰλιάς', price: '7.5' },
];

t.test('when a table was made by any program, then it is read as it is', async (t) => {
  const plain = 'id,title,price\n1,"RPCs, for ""Noobs""",50\n2,Ἰλιάς,7.5\n';
  const forms = {
    plain,
    'no last newline': plain.slice(0, -1),
    CRLF: plain.replaceAll('\n', '\r\n'),
    'CRLF, no last newline': plain.replaceAll('\n', '\r\n').slice(0, -2),
    'torn CRLF': plain.replaceAll('\n', '\r\n').slice(0, -1),
    'mixed line ends': plain.replace('\n', '\r\n'),
    'byte order mark': `\ufeff${plain}`,
    'all quoted': plain.replace('id,title,price', '"id","title","price"').replace('50', '"50"'),
    'mark and quotes': `\ufeff${plain.replace('id,title', '"id","title"')}`,
    'empty lines': `\n${plain.replaceAll('\n', '\n\r\n')}\n\n\n`,
    'other order': 'price,id,title\n50,1,"RPCs, for ""Noobs"""\n7.5,2,Ἰλιάς\n',
  };
  for (const [form, text] of Object.entries(forms)) {
    const { found, rows, sha256, path } = await read(t, text);
    t.same(found, two, form);
    t.equal(rows, 2);
    t.equal(sha256, await sha256OfFile(nodeDisk, path));
  }
  t.same((await read(t, 'id,title,price')).found, []);
  t.same((await read(t, forms['empty lines'])).lines, [4, 6]);
});

t.test('when a table is bad, then the file, the line and the reason are named', async (t) => {
  const header = 'id,title,price\n';
  const cases: readonly (readonly [string | Buffer, RegExp])[] = [
    ['', /line 1: the header id,title,price is missing/],
    ['\n\n', /line 1: the header/],
    ['id,title\n1,x\n', /line 1: the column "price" is missing/],
    ['id,title,price,shelf\n', /line 1: the column "shelf" is unknown/],
    ['id,title,price,\n', /line 1: the column "" is unknown/],
    ['id,title,price,title\n', /line 1: the column "title" stands there twice/],
    ['1,RPCs,50\n', /line 1: the column "id" is missing/],
    [`${header}1,RPCs,50\n2,x\n`, /line 3: there are 2 cells where the header has 3/],
    [`${header}1,RPCs,50,\n`, /line 2: there are 4 cells where the header has 3/],
    [`${header}\n\n,,\n`, /line 4: all cells are empty; delete the line/],
    [`${header}1,"RPCs,50\n2,x,3\n`, /line 2: a quote is not closed/],
    [`${header}1,x,3\n1,"RPCs\nNoobs",50\n`, /line 3: a quote is not closed/],
    [`${header}1,"RPCs" for Noobs,50\n`, /line 2: a quote is not closed, or is followed/],
    [`${header}1,RP\rCs,50\n`, /line 2: there is a carriage return inside the line/],
    [Buffer.concat([Buffer.from(`${header}1,`), Buffer.of(0xff, 0x0a)]), /line 2: .* not UTF-8/],
    [`\0\0\0\0`, /line 1: the column "id" is missing/],
    [`${header}1,x,3\n${'y'.repeat(40_000_000)}`, /line 3: the line has no end/],
  ];
  for (const [content, message] of cases) {
    const error = await read(t, content).catch((reason: unknown) => reason);
    if (!(error instanceof BadFile)) throw error;
    t.match(error.message, message);
    t.equal(error.message, `catalog_data.csv, line ${error.line}: ${error.reason}`);
  }
});

t.test('when one line of a large table is odd, then only that one is refused', async (t) => {
  const row = `1,${'x'.repeat(90)},2.5\n`;
  const rows = row.repeat(30_000);
  const { lines } = await read(t, `id,title,price\n${rows}`);
  t.equal(lines.length, 30_000);
  t.equal(lines.at(-1), 30_001);
  await t.rejects(read(t, `id,title,price\n${rows}9,"x,2\n${rows}`), /line 30002: a quote/);
});

t.test('when rows are written, then the same rows are read', async (t) => {
  t.comment(`SEED=${seed}`);
  const cell = fc.string({ unit: 'grapheme', minLength: 1 }).filter((text) => !/[\r\n]/.test(text));
  const rows = fc.array(fc.record({ id: cell, title: cell, price: cell }));
  await fc.assert(
    fc.asyncProperty(rows, async (list) => {
      const path = join(t.testdir(), 'catalog_data.csv');
      const text = writeRows([columns, ...list.map((row) => columns.map((name) => row[name]))]);
      await writeNext({ disk: nodeDisk, path, slices: [text] });
      const found: Book[] = [];
      await readTable({ disk: nodeDisk, path, columns, onRow: (row) => found.push(row) });
      return JSON.stringify(found) === JSON.stringify(list);
    }),
    { seed, numRuns: 200 },
  );
  t.equal(writeRows([]), '');
  t.same(parseRows('1,"a,b"\n2,c'), [
    ['1', 'a,b'],
    ['2', 'c'],
  ]);
  t.same(parseRows('1,"a'), []);
});

t.test('when cells hold numbers, then only plain ones are taken', async (t) => {
  const wholes = {
    '40': 40,
    '40.0': 40,
    '040': 40,
    ' 7 ': 7,
    '0': 0,
    '999999999999999': 999999999999999,
  };
  for (const [text, value] of Object.entries(wholes)) t.equal(wholeNumber(text), value, text);
  const notWhole = [
    '3.5',
    '-1',
    '',
    ' ',
    '+1',
    '1e3',
    '0x10',
    '1,000',
    '9999999999999999',
    'NaN',
    '٣',
  ];
  for (const text of notWhole) t.equal(wholeNumber(text), undefined, text);
  const prices = {
    '50': 50,
    '50.0': 50,
    '19.99': 19.99,
    '0.5': 0.5,
    '19.990': 19.99,
    '007.10': 7.1,
  };
  for (const [text, value] of Object.entries(prices)) t.equal(money(text), value, text);
  const notMoney = ['19.999', '-1', '', '.5', '5.', '1e3', '$5', '5 €', '1,50', 'Infinity'];
  for (const text of notMoney) t.equal(money(text), undefined, text);
});

t.test('when ids are set and asked for, then the index agrees with a Map', async (t) => {
  t.comment(`SEED=${seed}`);
  const id = fc.oneof(fc.uuid(), fc.constantFrom(...knownIds));
  const pairs = fc.array(fc.tuple(id, fc.nat(Number.MAX_SAFE_INTEGER)), { maxLength: 500 });
  fc.assert(
    fc.property(pairs, fc.boolean(), (list, colliding) => {
      // Without random bits all ids collide: slow, and still right.
      const index = createIdIndex(colliding ? { randomize: () => {} } : {});
      const model = new Map<string, number>();
      for (const [key, value] of list) {
        index.set(key, value);
        model.set(key, value);
      }
      const entries = Array.from(model.keys(), (_, entry) => [
        index.idAt(entry),
        index.valueAt(entry),
      ]);
      return (
        index.size === model.size &&
        JSON.stringify(entries) === JSON.stringify([...model]) &&
        [...model].every(([key, value]) => index.get(key) === value && index.find(key) !== -1)
      );
    }),
    { seed, numRuns: 200 },
  );
});

t.test('when there are many ids, then each is found and no other', async (t) => {
  const index = createIdIndex();
  const ids = Array.from({ length: 50_000 }, () => randomUUID());
  for (const [entry, id] of ids.entries()) {
    if (index.set(id, entry * 2 ** 20) !== entry) t.fail(`entry ${entry}`);
  }
  const wrong = ids.filter((id, entry) => index.get(id) !== entry * 2 ** 20);
  t.same(wrong, []);
  t.equal(
    ids.filter((id) => index.find(id.replace(/.$/, (end) => (end === '0' ? '1' : '0'))) !== -1)
      .length,
    0,
  );
  t.equal(index.get(randomUUID()), undefined);
  t.equal(index.find('not an id'), -1);
  const [id = ''] = ids;
  t.equal(index.find(id.replaceAll('-', '_')), -1);
  t.throws(() => index.set(`${id}0`, 1), RangeError);
  t.throws(() => index.set('A'.repeat(36), 1), RangeError);
  t.throws(() => index.idAt(50_000), RangeError);
  t.throws(() => index.valueAt(-1), RangeError);
});
