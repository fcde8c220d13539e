import { randomUUID } from 'node:crypto';
import { createRandom, readMeasure } from '@bazar/simulation';
import t from 'tap';
import { auditFiles } from '../src/conservation.js';
import { launchShop } from '../src/index.js';
import { interview, readFiles } from './crash/holdings.js';
import { breaches } from './crash/law.js';
import { createTestimony } from './crash/testimony.js';
import { accountOf, differences } from './edits/account.js';
import { startBuyers } from './edits/buyers.js';
import { editAndRestart } from './edits/editing.js';
import { adoptionsOf, complaintsAbout, type Edit } from './edits/fates.js';
import { createPerson } from './edits/person.js';
import { readTable, type Table } from './edits/table.js';

// Kills are real, so a seed repeats what is written and who is killed, not every moment of it.
const seed = process.env['SEED'] ?? randomUUID();
const edits = readMeasure('EDITS', process.env['EDITS'], 16);

/** How many edits there were of each kind. */
function countsOf(made: readonly Edit[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { wish, save, way, moment, fate, isFromCopy, isInterrupted } of made) {
    const kinds: string[] = [save === 'whole' ? wish : save, way, moment, fate];
    if (isFromCopy) kinds.push('from a copy');
    if (isInterrupted) kinds.push('interrupted');
    for (const kind of kinds) counts[kind] = (counts[kind] ?? 0) + 1;
  }
  return counts;
}

function tableIn(text: string): Table {
  const table = readTable(text);
  if (table === undefined) throw new Error(`This is no table: ${text}`);
  return table;
}

t.test('when a person edits amid kills, stops and sales, then each edit counts once', async (t) => {
  const random = createRandom(seed);
  const dataDir = t.testdir();
  const lines: string[] = [];
  const shop = await launchShop({
    dataDir,
    env: { LOG_LEVEL: 'warn' },
    onLine: (service, line) => {
      if (service === 'catalog') lines.push(line);
    },
  });
  t.teardown(() => shop.kill());
  const testimony = createTestimony();
  const failing = new AbortController();
  t.teardown(() => failing.abort());
  const { read } = createPerson(dataDir, random);
  const first = tableIn(read());
  const buyers = startBuyers({
    urls: shop.urls,
    random: random.fork('buyers'),
    testimony,
    buyers: 6,
    books: first.keys(),
    giveUp: failing.signal,
  });
  const { edits: made, asides } = await editAndRestart({
    shop,
    dataDir,
    random: random.fork('editing'),
    edits,
    lines,
    answered: () => buyers.answered,
    onBooks: buyers.offer,
  });
  await buyers.stop();
  t.comment(`SEED=${seed} EDITS=${edits} ${JSON.stringify(countsOf(made))}`);
  t.same(complaintsAbout(made, asides), []);

  await shop.ready();
  const shown = await interview(shop);
  t.match(shown.audit, { balanced: true, pending: 0, differences: [] });
  await shop.stop();
  const written = readFiles({ catalog: dataDir, order: dataDir });
  const account = accountOf(first, adoptionsOf(made), written.log);
  t.same(account.breaches, []);
  t.same(differences(account.books, tableIn(read())), [], 'the file is as adopted and sold');
  const stocked = new Map(account.stocked);
  t.same(breaches({ testimony: { ...testimony, stocked }, ...written }), []);
  const found = await auditFiles({ catalog: dataDir, order: dataDir });
  t.match(found, { audit: { balanced: true, pending: 0 }, contradiction: undefined, notes: [] });
  t.comment(`${testimony.told.size} buyers answered, ${written.log.length} copies sold`);
});

t.test('when evidence is doctored, then the checkers say so', async (t) => {
  const book = { id: 1, title: 'One', topic: 'x', quantity: 3, price: 2 };
  const shown: Table = new Map([[1, book]]);
  const text = 'id,title,topic,quantity,price\n';
  const wanted = tableIn(`${text}1,One,x,5,2.5\n2,Two,x,1,1\n`);
  const adoption = { number: 1, afterSale: 1, shown, wanted };
  const row = { orderId: 'a', itemId: 1, title: 'One', price: 2, timestamp: 'now', sale: 1 };
  const log = [row, { ...row, sale: 2, price: 2.5 }];
  const honest = accountOf(shown, [adoption], log);
  const left = tableIn(`${text}1,One,x,3,2.5\n2,Two,x,1,1\n`);
  t.same(honest.breaches, []);
  t.same(differences(honest.books, left), []);
  t.same(
    [...honest.stocked],
    [
      [1, 5],
      [2, 1],
    ],
  );

  const at = (rows: typeof log, adoptions = [adoption]) => accountOf(shown, adoptions, rows);
  t.match(at([row, { ...row, sale: 2 }]).breaches, [
    /sale 2: "One" at 2, where it was "One" at 2.5/,
  ]);
  t.match(at([...log, { ...row, sale: 3, itemId: 3 }]).breaches, [/no copy of book 3/]);
  t.match(
    at(
      [1, 2, 3, 4].map((sale) => ({ ...row, sale })),
      [],
    ).breaches,
    [/sale 4: there was no/],
  );
  const twice = at(log, [adoption, { ...adoption, number: 2 }]);
  t.same(
    differences(twice.books, left),
    ['book 1: quantity 3, which should be 5'],
    'adopted twice',
  );
  t.same(differences(at(log, []).books, left).length, 3, 'adopted, though it should not be');
  t.same(differences(honest.books, shown), [
    'book 1: price 2, which should be 2.5',
    'book 2 is not there',
  ]);

  const edit: Edit = {
    number: 1,
    wish: 'much',
    save: 'whole',
    way: 'rename',
    isFromCopy: false,
    text: `${text}1,One,x,5,2.5\n`,
    replaced: text,
    isRace: false,
    moment: 'killed',
    fate: 'adopted',
    isInterrupted: false,
    afterSale: 1,
    said: ['it was edited'],
  };
  t.same(complaintsAbout([edit], []), []);
  t.same(complaintsAbout([{ ...edit, said: [], isInterrupted: true }], []), []);
  const doctored: [complaint: RegExp, change: Partial<Edit>, asides?: readonly string[]][] = [
    [/edit 1 \(killed\): it is lost/, { fate: 'lost' }],
    [/adopted without a word/, { said: [] }],
    [/adopted 2 times/, { said: ['once', 'twice'] }],
    [/adopted, though it is no table/, { text: `${text}1,One` }],
    [/refused, though it is a table/, { fate: 'refused' }],
    [/not what was set aside/, { fate: 'set aside' }],
    [/not what was set aside/, { fate: 'set aside' }, [text]],
    [/not what was set aside/, {}, [edit.text]],
  ];
  for (const [complaint, change, asides = []] of doctored) {
    t.match(complaintsAbout([{ ...edit, ...change }], asides).join(), complaint);
  }
});
