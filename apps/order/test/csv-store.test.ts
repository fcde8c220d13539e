import { execFileSync } from 'node:child_process';
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { type Disk, nodeDisk } from '@bazar/storage';
import fc from 'fast-check';
import t, { type Test } from 'tap';
import { openCsvStore } from '../src/store/csv.js';
import type { LoggedOrder, OrderStore } from '../src/store.js';
import { type Call, faultyDisk, withoutSync } from './faulty-disk.js';
import { differences, orderOf, ordersOf, type Place, storeSuite, textOf } from './store-suite.js';

const header = 'timestamp,item_id,title,order_id,price,sale,checksum\n';
const base = t.testdir();
const makeFolder = () => mkdtempSync(join(base, 'data-'));
const logIn = (folder: string) => join(folder, 'order_log.csv');
const sizeOf = (path: string) => statSync(path, { throwIfNoEntry: false })?.size ?? 0;

interface Opened {
  readonly store: OrderStore;
  readonly lines: string[];
  readonly broken: Error[];
}

async function openIn(folder: string, disk: Disk = withoutSync(nodeDisk)): Promise<Opened> {
  const lines: string[] = [];
  const broken: Error[] = [];
  const store = await openCsvStore({
    disk,
    folder,
    monotonic: () => 0,
    log: (level, sentence) => lines.push(`${level}: ${sentence}`),
    onBroken: (error) => broken.push(error),
  });
  return { store, lines, broken };
}

/** A folder with an order log of these bytes. */
function folderWith(bytes: string | Buffer): string {
  const folder = makeFolder();
  writeFileSync(logIn(folder), bytes);
  return folder;
}

/** A row as it must stand in the file, with the offset up to which all was synced before it. */
function row(order: LoggedOrder, synced: number): string {
  const { timestamp, itemId, title, orderId, price, sale } = order;
  const cell = /[",]/.test(title) ? `"${title.replaceAll('"', '""')}"` : title;
  const body = `${timestamp},${itemId},${cell},${orderId},${price},${sale},synced:${synced}`;
  return `${body} crc:${crc32(body).toString(16).padStart(8, '0')}\n`;
}

/** A log of batches as one process writes it. */
function logOf(...batches: readonly (readonly LoggedOrder[])[]): string {
  let text = header;
  for (const batch of batches) {
    const synced = Buffer.byteLength(text);
    for (const order of batch) text += row(order, synced);
  }
  return text;
}

async function ordersIn(folder: string): Promise<readonly LoggedOrder[]> {
  const { store } = await openIn(folder);
  try {
    return await store.list(0, 1000);
  } finally {
    await store.close();
  }
}

/** That a start is refused with this sentence, and that it changed nothing in the folder. */
async function isRefused(t: Test, bytes: string | Buffer, sentence: RegExp, what: string) {
  const folder = folderWith(bytes);
  await t.rejects(openIn(folder), { message: sentence }, what);
  t.ok(readFileSync(logIn(folder)).equals(Buffer.from(bytes)), `${what}: the file is untouched`);
  t.same(readdirSync(folder).sort(), ['order.lock', 'order_log.csv'], `${what}: no other file`);
}

function csvPlace(): Place {
  const folder = makeFolder();
  const { disk, crash } = faultyDisk(nodeDisk);
  return { open: async () => (await openIn(folder, disk)).store, crash };
}

t.test('when the store is a CSV file, then it passes the suite', async (t) => {
  storeSuite(t, csvPlace);
});

t.test('when orders are appended, then the file has exactly these bytes', async (t) => {
  const folder = join(makeFolder(), 'new', 'folder');
  const { store, lines } = await openIn(folder, nodeDisk);
  t.equal(readFileSync(logIn(folder), 'utf8'), header, 'a new log begins with its header');
  const odd = [
    orderOf(2, { title: 'Pride, Prejudice and "Zombies"', price: 50 }),
    orderOf(3, { title: 'Über 書籍 📚 l’été', price: 0 }),
    orderOf(4, { title: '@home; semi', itemId: 999_999_999_999_999, price: 1_000_000_000 }),
    orderOf(5, { title: ' ends in a space ', price: 0.1 }),
  ];
  await store.append(ordersOf(1));
  await store.append(odd);
  t.match(readFileSync(logIn(folder), 'utf8'), logOf(ordersOf(1), odd.slice(0, 3)));
  t.match(
    readFileSync(logIn(folder), 'utf8'),
    `${header}2024-05-01T10:00:00.000Z,2,Book 2,0190a6f0-0000-7000-8000-000000000001,19.99,1,` +
      'synced:53 crc:0df5e320\n',
    'in the report’s order, then what it lacks',
  );
  t.same(await differences(store, [orderOf(1), ...odd]), []);
  await store.close();
  t.same(await ordersIn(folder), [orderOf(1), ...odd], 'and reads back what was written');
  t.same(lines, []);
});

const reportRows = [
  '2024-04-30 09:15:00.123456,1,How to get a good grade in DOS in 40 minutes a day',
  '2024-04-30 09:16:00.000001,2,"RPCs, for ""Noobs"""',
];
const reportHeader = 'timestamp,item_id,title';
const reports: Record<string, { readonly text: string; readonly rows: number }> = {
  'with a header': { text: `${[reportHeader, ...reportRows].join('\n')}\n`, rows: 2 },
  'without a header': { text: `${reportRows.join('\n')}\n`, rows: 2 },
  'without a final newline': { text: reportRows.join('\n'), rows: 2 },
  'with CRLF': { text: `${[reportHeader, ...reportRows].join('\r\n')}\r\n`, rows: 2 },
  'with CRLF, cut in its last one': { text: `${reportRows.join('\r\n')}\r`, rows: 2 },
  'with a BOM': { text: `\ufeff${[reportHeader, ...reportRows].join('\r\n')}\r\n`, rows: 2 },
  'with a BOM and no header': { text: `\ufeff${reportRows.join('\n')}`, rows: 2 },
  'with empty lines at its end': { text: `${reportRows.join('\n')}\n\r\n\n`, rows: 2 },
  'with only a header': { text: `${reportHeader}\r\n`, rows: 0 },
  'with numbers as spreadsheets write them': { text: '2024-04-30,40.0,A\n', rows: 1 },
};

t.test('when the log is of the report’s shape, then it is kept and carried on', async (t) => {
  for (const [shape, { text, rows }] of Object.entries(reports)) {
    const folder = folderWith(text);
    const first = await openIn(folder);
    await first.store.append(ordersOf(1, 2));
    await first.store.close();
    t.same(
      first.lines,
      rows === 0 ? [] : [`info: order_log.csv: ${rows} rows of the report are kept`],
      shape,
    );
    const again = await openIn(folder);
    t.same(await differences(again.store, ordersOf(1, 2)), [], `${shape}: read again`);
    await again.store.append(ordersOf(3));
    await again.store.close();
    t.same(await ordersIn(folder), ordersOf(1, 2, 3), shape);
    const start = `${text}${text.endsWith('\n') ? '' : '\n'}${header}`;
    const written = readFileSync(logIn(folder), 'utf8');
    t.ok(written.startsWith(`${start}${row(orderOf(1), Buffer.byteLength(start))}`), shape);
  }
});

t.test('when the step behind a report is torn at any byte, then it is taken again', async (t) => {
  for (const [shape, { text }] of Object.entries(reports)) {
    const whole = Buffer.from(`${text}${text.endsWith('\n') ? '' : '\n'}${header}`);
    const written = Buffer.from(row(orderOf(1), whole.length));
    let torn = 0;
    for (let size = Buffer.byteLength(text); size <= whole.length; size += 1) {
      const folder = folderWith(whole.subarray(0, size));
      const { store } = await openIn(folder);
      await store.append(ordersOf(1));
      await store.close();
      if (!readFileSync(logIn(folder)).equals(Buffer.concat([whole, written]))) torn += 1;
    }
    t.equal(torn, 0, shape);
  }
});

t.test('when a log is no order log, then the start is refused and names the line', async (t) => {
  const first = `${reportRows[0]}\n`;
  const refused: Record<string, readonly [string, RegExp]> = {
    'a cell too few': [`${first}2024-04-30,2\n`, /order_log\.csv, line 2: has 2 cells/],
    'a cell too many': [`${first}a,2,b,c`, /order_log\.csv, line 2: has 4 cells/],
    'no id': [`${first}a,b,c\n`, /line 2: item_id must be a whole number, not "b"/],
    'a negative id': ['a,-1,c\n', /line 1: item_id/],
    'an open quote': [`a,1,"c\n${first}`, /line 1: has 0 cells/],
    'no title': ['a,1,\n', /line 1: timestamp or title is empty/],
    'no timestamp': [',1,c\n', /line 1: timestamp or title is empty/],
    'another table': ['id,title,topic,quantity,price\n', /line 1: has 5 cells/],
    'a header further down': [`${first}${reportHeader}\n`, /line 2: item_id/],
    'rows of ours without our header': [row(orderOf(1), 0), /line 1: has 7 cells/],
  };
  for (const [what, [text, sentence]] of Object.entries(refused)) {
    await isRefused(t, text, sentence, what);
  }
});

/** Three batches, as after a kill: nothing vouches for the last one. */
const batches = [
  [orderOf(1), orderOf(2, { title: 'Pride, "and" Prejudice' })],
  [orderOf(4), orderOf(3, { title: 'L’été 📚' })],
  [orderOf(5), orderOf(6)],
];
const everyOrder = batches.flat();
const prefixOf = (count: number) => textOf(everyOrder.slice(0, count));

const wholeRows = (text: string) => header + text.slice(header.length).replace(/[^\n]*$/, '');

t.test('when a log is cut off at any byte, then its whole rows are left', async (t) => {
  const whole = Buffer.from(logOf(...batches));
  const wrong: string[] = [];
  for (let size = 0; size <= whole.length; size += 1) {
    const folder = folderWith(whole.subarray(0, size));
    const kept = Buffer.from(wholeRows(whole.subarray(0, size).toString('latin1')), 'latin1');
    const rows = kept.toString().split('\n').length - 2;
    const { store, lines } = await openIn(folder);
    if (textOf(await store.list(0, 100)) !== prefixOf(rows)) wrong.push(`${size}: the orders`);
    if (!readFileSync(logIn(folder)).equals(kept)) wrong.push(`${size}: the file`);
    const cut = kept.length < size ? size - kept.length : 0;
    if (cut > 0 && !lines[0]?.includes(`the last ${cut} bytes`)) wrong.push(`${size}: no word`);
    await store.append(everyOrder);
    if (textOf(await store.list(0, 100)) !== prefixOf(6)) wrong.push(`${size}: not carried on`);
    await store.close();
  }
  t.same(wrong, []);
});

type Verdict = 'prefix' | 'refused' | 'misread';

/** Flips one bit of every byte of a log, and says what became of each. */
async function flipBits(
  bitOf: () => number,
  read: (bytes: Buffer) => Promise<readonly LoggedOrder[] | undefined>,
) {
  const whole = Buffer.from(logOf(...batches));
  const prefixes = new Set(everyOrder.concat(orderOf(0)).map((_order, count) => prefixOf(count)));
  const verdicts: Record<Verdict, number> = { prefix: 0, refused: 0, misread: 0 };
  for (const [place, byte] of whole.entries()) {
    const bytes = Buffer.from(whole);
    bytes[place] = byte ^ (1 << bitOf());
    const orders = await read(bytes);
    const isPrefix = orders !== undefined && prefixes.has(textOf(orders));
    verdicts[orders === undefined ? 'refused' : isPrefix ? 'prefix' : 'misread'] += 1;
  }
  return verdicts;
}

t.test('when any bit of a log flips, then a prefix is read or the start refused', async (t) => {
  const seed = Number(process.env['SEED'] ?? Date.now() % 2 ** 31);
  t.comment(`SEED=${seed}`);
  const [bits] = fc.sample(fc.infiniteStream(fc.integer({ min: 0, max: 7 })), { seed, numRuns: 1 });
  const bitOf = () => Number(bits?.next().value);
  const verdicts = await flipBits(bitOf, async (bytes) => {
    const folder = folderWith(bytes);
    try {
      return await ordersIn(folder);
    } catch (error) {
      const sentence = error instanceof Error ? error.message : '';
      if (!/^order_log\.csv, line \d+/.test(sentence)) t.fail(sentence);
      if (!readFileSync(logIn(folder)).equals(bytes)) t.fail('the file was touched');
      return undefined;
    }
  });
  t.comment(verdicts);
  t.equal(verdicts.misread, 0);
  t.ok(verdicts.refused > verdicts.prefix, 'what is behind the last batch is refused');
  const trusting = await flipBits(bitOf, async (bytes) => {
    const rows = bytes.toString().split('\n').slice(1, -1);
    return rows.map((text, index) => ({
      ...(everyOrder[index] ?? orderOf(9)),
      orderId: text.match(/[0-9a-f-]{36}/)?.[0] ?? '',
    }));
  });
  t.ok(trusting.misread > 0, 'a reader that checks nothing is caught');
});

t.test('when somebody changed the log, then it is refused and says where', async (t) => {
  const text = logOf(...batches);
  const rows = text.split(/(?<=\n)/);
  const without = (index: number) => rows.filter((_row, place) => place !== index).join('');
  const [second = '', third = ''] = [rows[2], rows[3]];
  const last = rows.at(-1) ?? '';
  const at = (index: number) =>
    `line ${index + 1} \\(byte ${Buffer.byteLength(rows.slice(0, index).join(''))}\\)`;
  const changed: Record<string, readonly [string, RegExp]> = {
    'a row that later ones vouch for': [
      text.replace('Prejudice', 'prejudice'),
      new RegExp(`order_log\\.csv, ${at(2)} is damaged, and later rows say`),
    ],
    'a title in the last row': [text.replace(/6,synced/, '7,synced'), new RegExp(at(6))],
    'all line ends, by a spreadsheet': [text.replaceAll('\n', '\r\n'), /line 2 \(byte 54\)/],
    'all line ends of a single batch': [
      logOf(ordersOf(1, 2)).replaceAll('\n', '\r\n'),
      /line 2 \(byte 54\)/,
    ],
    'a row taken out of the middle': [without(3), /line [45] \(byte/],
    'the first row taken out': [without(1), /line [23] \(byte/],
    'a row taken out of single batches': [
      logOf(ordersOf(1), ordersOf(2), ordersOf(3)).replace(/.*Book 3.*\n/, ''),
      /line 3 \(byte/,
    ],
    'two rows exchanged': [
      text.replace(second + third, third + second),
      new RegExp(at(2).replace(/byte.*/, 'byte')),
    ],
    'a row copied to the end': [text + second, /stands there twice/],
    'a row of the report at the end': [`${text}${reportRows[0]}\n`, /line 8 \(byte/],
    'an empty line inside': [text.replace(last, `\n${last}`), /line 7 \(byte/],
  };
  for (const [what, [bytes, sentence]] of Object.entries(changed)) {
    await isRefused(t, bytes, sentence, what);
  }
});

t.test('when a power loss left holes in the last batch, then it is cut off', async (t) => {
  const [first = []] = batches;
  const synced = logOf(first).length;
  const lost = logOf(first, ordersOf(3, 4, 5, 6));
  const holes = {
    'from its beginning': [0, 300],
    'at its start': [0, 1],
    inside: [150, 300],
    'at its end': [300, lost.length - synced],
  } as const;
  for (const [where, [from, to]] of Object.entries(holes)) {
    const bytes = Buffer.from(lost);
    bytes.fill(0, synced + from, synced + to);
    const { store, lines } = await openIn(folderWith(bytes));
    const rows = lost.slice(0, synced + from).split('\n').length - 2;
    t.same((await store.list(0, 100)).length, rows, `a hole ${where}`);
    t.match(lines, [/never finished and are cut off/]);
    await store.append(ordersOf(3, 4, 5, 6));
    t.same(await differences(store, first.concat(ordersOf(3, 4, 5, 6))), []);
    await store.close();
  }
});

t.test('when a power loss left holes in the header, then it is written again', async (t) => {
  const [reported = ''] = reportRows;
  for (const before of ['', `${reported}\n`]) {
    for (let from = 0; from < header.length; from += 1) {
      for (const to of [from + 1, header.length]) {
        const bytes = Buffer.from(before + header);
        bytes.fill(0, before.length + from, before.length + to);
        const folder = folderWith(bytes);
        const { store } = await openIn(folder);
        await store.append(ordersOf(1));
        await store.close();
        const expected = before + header + row(orderOf(1), before.length + header.length);
        if (readFileSync(logIn(folder), 'utf8') !== expected) t.fail(`from ${from} to ${to}`);
      }
    }
  }
  const holed = `\0${header.slice(1)}`;
  await isRefused(t, `${holed}${reported}\n`, /line 1 .* not as it was written/, 'rows behind it');
});

t.test('when the disk is full, then purchases are refused until it has room', async (t) => {
  const folder = makeFolder();
  const faulty = faultyDisk(nodeDisk);
  const calls: string[] = [];
  const lines: string[] = [];
  let now = 1000;
  let room = Number.POSITIVE_INFINITY;
  faulty.onCall = ({ name, file, bytes }) => {
    if (name !== 'write') return undefined;
    calls.push(file);
    if (room === 0) return 'ENOSPC';
    const written = Math.min(bytes, room);
    room -= written;
    return written;
  };
  const broken: Error[] = [];
  const store = await openCsvStore({
    disk: faulty.disk,
    folder,
    monotonic: () => now,
    log: (level, sentence) => lines.push(`${level}: ${sentence}`),
    onBroken: (error) => broken.push(error),
  });
  await store.append(ordersOf(1));
  const reserve = join(folder, 'order_log.reserve');
  t.equal(readFileSync(reserve).length, 1024 * 1024, 'room for what is on its way is reserved');
  room = 150;
  const full = { name: 'Failure', code: 'storage_full' };
  await t.rejects(store.append(ordersOf(2, 3)), full);
  t.equal(existsSync(reserve), false, 'it did not suffice on this disk');
  t.equal(readFileSync(logIn(folder), 'utf8'), logOf(ordersOf(1)), 'the half row is taken back');
  t.same(await differences(store, ordersOf(1)), [], 'what was there can be read');
  calls.length = 0;
  await t.rejects(store.assertRoom(), full);
  t.same(calls, [], 'the next look waits a moment');
  now += 300;
  await Promise.all([t.rejects(store.assertRoom(), full), t.rejects(store.assertRoom(), full)]);
  t.same(calls, ['order_log.reserve'], 'a look found no room');
  now += 200;
  await t.rejects(store.assertRoom(), full);
  t.equal(calls.length, 1, 'the next one waits a moment, too');
  now += 100;
  room = Number.POSITIVE_INFINITY;
  await store.assertRoom();
  t.ok(existsSync(reserve), 'the room is reserved again');
  await store.append(ordersOf(2, 3));
  t.same(await differences(store, ordersOf(1, 2, 3)), []);
  t.same(lines, [
    'warn: order_log.csv has no room to grow: purchases are refused',
    'info: order_log.csv has room again: purchases are accepted',
  ]);
  t.same(broken, []);
  await store.close();
  t.equal(readFileSync(logIn(folder), 'utf8'), logOf(ordersOf(1), ordersOf(2, 3)));
});

t.test('when the disk is found to be full, then what was sold by then is logged', async (t) => {
  const folder = makeFolder();
  const faulty = faultyDisk(withoutSync(nodeDisk));
  const reserve = join(folder, 'order_log.reserve');
  let now = 0;
  let others = 0;
  // A disk on which others took all that was free: only what the reserve gives back is there.
  const used = () => [reserve, logIn(folder)].reduce((sum, path) => sum + sizeOf(path), 0);
  const capacity = 1024 * 1024 + header.length;
  faulty.onCall = ({ name, bytes }) =>
    name === 'write' && used() + others + bytes > capacity ? 'ENOSPC' : undefined;
  const store = await openCsvStore({
    disk: faulty.disk,
    folder,
    monotonic: () => now,
    log: () => {},
    onBroken: t.fail,
  });
  await store.append(ordersOf(1, 2, 3));
  await store.append(ordersOf(4));
  t.same(await differences(store, ordersOf(1, 2, 3, 4)), [], 'it was sold, and it is logged');
  const full = { name: 'Failure', code: 'storage_full' };
  now += 300;
  await t.rejects(store.assertRoom(), full, 'nobody else is let in');
  await store.close();
  const again = await openIn(folder, faulty.disk);
  await t.rejects(again.store.assertRoom(), full, 'nor after a start');
  await again.store.append(ordersOf(5));
  t.match(again.lines, ['warn: order_log.csv has no room to grow: purchases are refused']);
  t.same(await differences(again.store, ordersOf(1, 2, 3, 4, 5)), []);
  others = capacity;
  await t.rejects(again.store.append(ordersOf(6)), full, 'when nothing at all is left');
  await again.store.close();
});

t.test('when a sync fails, then nothing is acknowledged and the process must stop', async (t) => {
  for (const name of ['datasync', 'write'] as const) {
    const folder = makeFolder();
    const faulty = faultyDisk(nodeDisk);
    const { store, broken } = await openIn(folder, faulty.disk);
    await store.append(ordersOf(1));
    faulty.onCall = (call) => (call.name === name ? 'EIO' : undefined);
    await t.rejects(store.append(ordersOf(2)), { name: 'StorageBroken' }, name);
    t.match(broken, [{ name: 'StorageBroken', message: /^order_log\.csv could not be/ }]);
    faulty.onCall = () => undefined;
    await t.rejects(store.append(ordersOf(3)), { name: 'StorageBroken' }, 'and never again');
    t.equal(await store.find(orderOf(2).orderId), undefined, 'it is not visible');
    await faulty.crash();
    const orders = await ordersIn(folder);
    t.same(orders.slice(0, 1), ordersOf(1), 'the next start is clean');
    t.notOk(orders.some(({ sale }) => sale === 3));
  }
});

t.test('when the disk fails at any call of a start, then the next start is whole', async (t) => {
  const text = `${reportRows.join('\n')}`;
  const torn = `${logOf(...batches)}2024-`;
  for (const bytes of [undefined, text, torn, logOf([])]) {
    let failed = true;
    for (let limit = 0; failed; limit += 1) {
      const folder = bytes === undefined ? makeFolder() : folderWith(bytes);
      const faulty = faultyDisk(nodeDisk);
      let count = 0;
      faulty.onCall = () => {
        count += 1;
        return count > limit ? 'EIO' : undefined;
      };
      const sells = async () => {
        const { store } = await openIn(folder, faulty.disk);
        await store.adoptCatalog('3f2b1c00-1111-4222-8333-444455556666');
        await store.append(ordersOf(7));
      };
      failed = await sells().then(
        () => false,
        () => true,
      );
      await faulty.crash();
      const { store } = await openIn(folder);
      const before = bytes === torn ? everyOrder : [];
      const after = failed ? await store.list(6, 1) : ordersOf(7);
      t.same(await differences(store, [...before, ...after]), [], `call ${limit} failed`);
      await store.close();
    }
  }
});

t.test('when a start fails, then the file is closed and the folder free again', async (t) => {
  const folder = makeFolder();
  const faulty = faultyDisk(nodeDisk);
  faulty.onCall = ({ name, file }: Call) =>
    name === 'write' && file === 'order_log.csv' ? 'ENOSPC' : undefined;
  await t.rejects(openIn(folder, faulty.disk), { name: 'StorageFull', message: /no room/ });
  t.equal(faulty.openFiles, 0);
  t.same(await ordersIn(folder), []);
});

t.test('when a second process opens the folder, then it is refused', async (t) => {
  const folder = makeFolder();
  const { store } = await openIn(folder);
  await t.rejects(openIn(folder), { name: 'StorageError', message: /in use by another process/ });
  await store.append(ordersOf(1));
  await store.close();
  t.same(await ordersIn(folder), ordersOf(1));
});

t.test('when the file of the catalog’s id is damaged, then the start is refused', async (t) => {
  for (const text of ['', 'x\n', '3f2b1c00-1111-4222-8333-44445555666\n']) {
    const folder = makeFolder();
    writeFileSync(join(folder, 'order_log.catalog'), text);
    await t.rejects(openIn(folder), { name: 'StorageError', message: /order_log\.catalog/ });
  }
});

t.test('when somebody removes the lock file, then a second process is refused', async (t) => {
  const folder = makeFolder();
  const { store, broken } = await openIn(folder);
  await store.append(ordersOf(1));
  rmSync(join(folder, 'order.lock'));
  const inUse = { name: 'StorageError', message: /in use .* \(it holds order_log\.csv\)/ };
  await t.rejects(openIn(folder), inUse);
  await store.append(ordersOf(2));
  t.same(broken, []);
  await store.close();
  t.same(await ordersIn(folder), ordersOf(1, 2));
});

t.test('when the log is tampered with under its store, then nothing is acknowledged', async (t) => {
  const tampers = {
    removed: (path: string) => rmSync(path),
    moved: (path: string) => renameSync(path, `${path}.old`),
    emptied: (path: string) => truncateSync(path, 0),
    lengthened: (path: string) => appendFileSync(path, '2024-01-01,1,x\n'),
    replaced(path: string) {
      writeFileSync(`${path}.new`, readFileSync(path));
      renameSync(`${path}.new`, path);
    },
    'saved by a spreadsheet'(path: string) {
      writeFileSync(path, readFileSync(path, 'utf8').replaceAll('\n', '\r\n'));
    },
  };
  for (const [what, tamper] of Object.entries(tampers)) {
    const folder = makeFolder();
    const { store, broken } = await openIn(folder);
    await store.append(ordersOf(1));
    await store.reach();
    tamper(logIn(folder));
    await t.rejects(store.append(ordersOf(2)), { name: 'StorageBroken' }, what);
    await t.rejects(store.append(ordersOf(3)), { name: 'StorageBroken' }, what);
    t.match(broken[0], { message: /^order_log\.csv is not as this process left it/ });
    t.equal(await store.find(orderOf(2).orderId), undefined);
    await store.close();
  }
});

t.test('when the log of an idle store is removed, then the next look finds it', async (t) => {
  const folder = makeFolder();
  const { store, broken } = await openIn(folder);
  await store.append(ordersOf(1));
  rmSync(logIn(folder));
  await t.rejects(store.reach(), { name: 'StorageBroken' });
  t.match(broken, [{ message: /order_log\.csv was removed or replaced/ }]);
  await store.close();
});

t.test('when a log is missing that was begun before, then that is said', async (t) => {
  const folder = makeFolder();
  const { store, lines } = await openIn(folder);
  t.same(lines, [], 'a first start has nothing to say');
  await store.adoptCatalog('3f2b1c00-1111-4222-8333-444455556666');
  await store.close();
  rmSync(logIn(folder));
  const again = await openIn(folder);
  t.match(again.lines, [/^warn: order_log\.csv was missing/]);
  await again.store.close();
});

t.test('when a row is damaged while the store is open, then it is not served', async (t) => {
  const folder = makeFolder();
  const { store } = await openIn(folder);
  await store.append(ordersOf(1, 2));
  const text = readFileSync(logIn(folder), 'utf8');
  writeFileSync(logIn(folder), text.replace('Book 2', 'Book X'));
  const unreadable = {
    name: 'Failure',
    code: 'unavailable',
    cause: { message: 'order_log.csv, byte 53: the row was damaged after its writing' },
  };
  await t.rejects(store.find(orderOf(1).orderId), unreadable);
  await t.rejects(store.list(0, 2), unreadable);
  t.same(await store.find(orderOf(2).orderId), orderOf(2));
  await store.close();
});

t.test('when a file or folder is something else, then the start names it', async (t) => {
  const folder = makeFolder();
  mkdirSync(logIn(folder));
  await t.rejects(openIn(folder), {
    name: 'StorageError',
    message: `${logIn(folder)} is a folder where a file should be`,
  });
  rmSync(logIn(folder), { recursive: true });
  execFileSync('mkfifo', [logIn(folder)]);
  await t.rejects(openIn(folder), { name: 'StorageError', message: /is a pipe or a device/ });
  const file = logIn(folderWith(''));
  await t.rejects(openIn(file), {
    name: 'StorageError',
    message: `${file} is a file where a folder should be`,
  });
});
