import { readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import fc from 'fast-check';
import t from 'tap';
import { type Disk, nodeDisk } from '../src/disk.js';
import { StorageBroken, StorageError, StorageFull } from '../src/errors.js';
import { type Journal, openJournal } from '../src/journal.js';
import type { Place } from '../src/journal-scan.js';
import { type Call, crashingDisk, type Fault, hookedDisk, withoutSync } from './hooked-disk.js';

const seed = Number(process.env['SEED'] ?? Date.now() % 2 ** 31);
const quick = withoutSync(nodeDisk);

interface Opened {
  readonly journal: Journal;
  readonly payloads: string[];
  readonly headers: number[];
  readonly cuts: string[];
  readonly broken: StorageBroken[];
  /** Lets go of the files without the seal of a close. */
  readonly crash: () => Promise<void>;
}

async function open(folder: string, disk: Disk = quick): Promise<Opened> {
  const payloads: string[] = [];
  const headers: number[] = [];
  const cuts: string[] = [];
  const broken: StorageBroken[] = [];
  const crashing = crashingDisk(disk);
  const journal = await openJournal({
    disk: crashing.disk,
    folder,
    name: 'catalog',
    header: () => '{"header":true}',
    onRecord(payload, place, isHeader) {
      if (isHeader) headers.push(place.segment);
      else payloads.push(payload);
    },
    onCut: (sentence) => cuts.push(sentence),
    onBroken: (error) => broken.push(error),
  });
  return { journal, payloads, headers, cuts, broken, crash: crashing.crash };
}

const segmentFile = (number: number) => `catalog-00000${number}.log`;
const sample = ['{"id":1}', '{"id":2,"title":"Ἰλιάς"}', '{"id":3}', '{"id":4}', '{"id":5}'];

/** Three batches, of which the last is not vouched for. */
async function writeSample(folder: string): Promise<Buffer> {
  const { journal, crash } = await open(folder);
  await journal.append(sample.slice(0, 2));
  await journal.append(sample.slice(2, 3));
  await journal.append(sample.slice(3));
  await crash();
  return readFile(join(folder, segmentFile(1)));
}

interface Line {
  readonly start: number;
  readonly end: number;
  readonly synced: number;
}

function linesOf(bytes: Buffer): Line[] {
  const lines: Line[] = [];
  for (let start = 0; start < bytes.length; ) {
    const end = bytes.indexOf('\n', start) + 1;
    const [, , synced] = bytes.toString('utf8', start, end).split(' ');
    lines.push({ start, end, synced: Number(synced) });
    start = end;
  }
  return lines;
}

type Outcome = { payloads: string[]; cuts: string[] } | { refusal: string };

/** What a start tells; the journal is let go of again. */
async function reopen(folder: string, disk: Disk = quick) {
  const { crash, payloads, headers, cuts } = await open(folder, disk);
  await crash();
  return { payloads, headers, cuts };
}

async function outcomeOf(folder: string, disk: Disk = quick): Promise<Outcome> {
  try {
    return await reopen(folder, disk);
  } catch (error) {
    if (!(error instanceof StorageError)) throw error;
    return { refusal: error.message };
  }
}

/** Why an outcome is not allowed after damage to a line, if it is not. */
function violation(outcome: Outcome, lines: readonly Line[], damaged: number): string | undefined {
  const witnesses = lines.filter((_, index) => index !== damaged);
  const vouched = Math.max(...witnesses.map(({ synced }) => synced));
  const mustRefuse = (lines[damaged]?.start ?? 0) < vouched;
  if ('refusal' in outcome) {
    if (!mustRefuse) return `refused: ${outcome.refusal}`;
    const place = `line ${damaged + 1} (byte ${lines[damaged]?.start})`;
    return outcome.refusal.includes(place) ? undefined : `names another place: ${outcome.refusal}`;
  }
  if (mustRefuse) return 'not refused';
  const expected = sample.slice(0, Math.max(0, damaged - 1));
  if (JSON.stringify(outcome.payloads) !== JSON.stringify(expected)) return 'misread';
  return outcome.cuts.length === 1 ? undefined : 'cut in silence';
}

t.test('when a journal is opened again, then it tells all records and goes on', async (t) => {
  const folder = t.testdir();
  const first = await open(folder);
  const places = await first.journal.append(sample);
  await first.journal.rotate();
  const [later] = await first.journal.append(['{"id":6}']);
  await first.journal.close();

  const second = await open(folder);
  t.same(second.payloads, [...sample, '{"id":6}']);
  t.same(second.headers, [1, 2]);
  t.same(second.cuts, []);
  // Header, sample, seal, header, one more, seal.
  t.equal(second.journal.nextSequence, 1 + sample.length + 1 + 1 + 1 + 1 + 1);
  for (const [index, place] of places.entries()) {
    t.equal(await second.journal.read(place), sample[index]);
  }
  t.equal(later?.segment, 2);
  t.equal(await second.journal.read(later ?? { segment: 0, offset: 0, length: 0 }), '{"id":6}');

  await second.journal.append(['{"id":7}']);
  await second.journal.retire(1);
  t.same(await readdir(folder), [segmentFile(2)]);
  t.same(
    second.journal.segments.map(({ number }) => number),
    [2],
  );
  await second.journal.close();
  t.same((await reopen(folder)).payloads, ['{"id":6}', '{"id":7}']);
});

t.test('when payloads could not be told apart again, then they are refused', async (t) => {
  const { journal, crash } = await open(t.testdir());
  await t.rejects(journal.append(['']), TypeError);
  await t.rejects(journal.append(['one\ntwo']), TypeError);
  await t.rejects(journal.append(['x'.repeat(33 * 1024 * 1024)]), RangeError);
  t.equal(journal.nextSequence, 2);
  const two = [journal.append(['1']), journal.append(['2'])];
  t.same(
    (await Promise.allSettled(two)).map(({ status }) => status),
    ['fulfilled', 'rejected'],
  );
  await journal.retire(5);
  t.equal(journal.segments.length, 1, 'the segment being written is never retired');
  await crash();
});

t.test('when lines are longer than what is read at once, then they are read whole', async (t) => {
  const folder = t.testdir();
  const { journal } = await open(folder);
  const long = ['a', 'b'].map((letter) => letter.repeat(3 * 1024 * 1024));
  const many = Array.from(
    { length: 20_000 },
    (_, index) => `{"n":${index},"text":"${'é'.repeat(50)}"}`,
  );
  await journal.append([...many, ...long, ...many]);
  await journal.close();
  t.same((await reopen(folder)).payloads, [...many, ...long, ...many]);
});

t.test('when a journal is cut at any byte, then its complete records remain', async (t) => {
  const bytes = await writeSample(t.testdir());
  const lines = linesOf(bytes);
  const folder = t.testdir();
  for (let length = 0; length <= bytes.length; length += 1) {
    await writeFile(join(folder, segmentFile(1)), bytes.subarray(0, length));
    const complete = lines.filter(({ end }) => end <= length).length;
    const { journal, payloads, cuts } = await open(folder);
    const torn = length > 0 && !lines.some(({ end }) => end === length);
    if (JSON.stringify(payloads) !== JSON.stringify(sample.slice(0, Math.max(0, complete - 1)))) {
      t.fail(`cut at ${length}: ${payloads}`);
    }
    if (cuts.length !== (torn ? 1 : 0)) t.fail(`cut at ${length}: said ${cuts}`);
    await journal.append(['{"id":"next"}']);
    await journal.close();
    const again = await reopen(folder);
    const expected = { payloads: [...payloads, '{"id":"next"}'], headers: [1], cuts: [] };
    if (JSON.stringify(again) !== JSON.stringify(expected)) t.fail(`then ${again.payloads}`);
  }
  t.pass(`${bytes.length} bytes`);
});

t.test('when a bit flips at any byte, then nothing is misread in silence', async (t) => {
  const bytes = await writeSample(t.testdir());
  const lines = linesOf(bytes);
  const folder = t.testdir();
  const counts = { refused: 0, cut: 0 };
  for (let position = 0; position < bytes.length; position += 1) {
    for (const bit of [position % 8, (position + 5) % 8]) {
      const flipped = Buffer.from(bytes);
      flipped[position] = (flipped[position] ?? 0) ^ (1 << bit);
      await writeFile(join(folder, segmentFile(1)), flipped);
      const damaged = lines.findIndex(({ end }) => position < end);
      const outcome = await outcomeOf(folder);
      counts['refusal' in outcome ? 'refused' : 'cut'] += 1;
      const problem = violation(outcome, lines, damaged);
      if (problem !== undefined) t.fail(`bit ${bit} of byte ${position}: ${problem}`);
    }
  }
  t.comment(counts);
  t.ok(counts.refused > 0 && counts.cut > 0);
});

t.test('when a checksum is forged, then the check above sees the misreading', async (t) => {
  const bytes = await writeSample(t.testdir());
  const lines = linesOf(bytes);
  const last = lines.at(-1);
  const folder = t.testdir();
  const body = bytes.toString('utf8', (last?.start ?? 0) + 9, (last?.end ?? 0) - 1);
  const forged = body.replace('"id":5', '"id":6');
  const checksum = crc32(forged).toString(16).padStart(8, '0');
  const line = Buffer.from(`${checksum} ${forged}\n`);
  await writeFile(
    join(folder, segmentFile(1)),
    Buffer.concat([bytes.subarray(0, last?.start), line]),
  );
  t.equal(violation(await outcomeOf(folder), lines, lines.length - 1), 'misread');
  t.equal(violation({ payloads: sample, cuts: [] }, lines, 1), 'not refused');
});

t.test('when a refused journal is opened, then nothing at all is written', async (t) => {
  const bytes = await writeSample(t.testdir());
  const folder = t.testdir();
  bytes[30] = 0;
  await writeFile(join(folder, segmentFile(1)), bytes);
  const calls: Call[] = [];
  const disk = hookedDisk(nodeDisk, (call) => void calls.push(call));
  t.match(await outcomeOf(folder, disk), { refusal: /catalog-000001\.log, line \d \(byte \d+\)/ });
  t.same(calls, []);
});

t.test('when the pages of the last batch land out of order, then all of it is cut', async (t) => {
  const bytes = await writeSample(t.testdir());
  const folder = t.testdir();
  const path = join(folder, segmentFile(1));
  const fourth = linesOf(bytes)[4] ?? { start: 0, end: 0 };
  bytes.fill(0, fourth.start, fourth.end);
  await writeFile(path, bytes);
  const { payloads, cuts, journal } = await open(folder);
  t.same(payloads, sample.slice(0, 3), 'the valid record behind the torn one is not told');
  t.match(cuts, [/cut off: catalog-000001\.log, line 5/]);
  await journal.close();
  t.same((await reopen(folder)).payloads, sample.slice(0, 3));
});

t.test('when a file grew but its data was lost, then the NULs are cut off', async (t) => {
  const folder = t.testdir();
  const bytes = await writeSample(folder);
  await truncate(join(folder, segmentFile(1)), bytes.length + 40_000_000);
  const { payloads, cuts } = await reopen(folder);
  t.same(payloads, sample);
  t.match(cuts, [/40000000 bytes of a torn write were cut off/]);
});

t.test('when lines are repeated or taken out, then it counts as damage', async (t) => {
  const bytes = await writeSample(t.testdir());
  const lines = linesOf(bytes).map(({ start, end }) => bytes.subarray(start, end));
  const folder = t.testdir();
  const path = join(folder, segmentFile(1));
  const last = lines.at(-1) ?? bytes;
  await writeFile(path, Buffer.concat([...lines, last]));
  t.match(await outcomeOf(folder), {
    payloads: sample,
    cuts: [/record 7 should stand here, not 6/],
  });
  await writeFile(path, Buffer.concat([...lines.slice(0, 2), ...lines.slice(1)]));
  t.match(await outcomeOf(folder), { refusal: /line 3 .*record 3 should stand here, not 2/ });
  await writeFile(path, Buffer.concat([...lines.slice(0, 2), ...lines.slice(3)]));
  t.match(await outcomeOf(folder), { refusal: /line 3 .*record 3 should stand here, not 4/ });
});

t.test('when an earlier segment is damaged or missing, then the start is refused', async (t) => {
  const folder = t.testdir();
  const { journal } = await open(folder);
  for (const payload of sample.slice(0, 3)) {
    await journal.append([payload]);
    await journal.rotate();
  }
  await journal.close();
  const whole = await readFile(join(folder, segmentFile(2)));
  for (let length = 0; length < whole.length; length += 1) {
    await writeFile(join(folder, segmentFile(2)), whole.subarray(0, length));
    const outcome = await outcomeOf(folder);
    if (!('refusal' in outcome)) t.fail(`cut at ${length}: not refused`);
  }
  await rm(join(folder, segmentFile(2)));
  t.match(await outcomeOf(folder), { refusal: /catalog-000002\.log is missing/ });
  const alone = t.testdir({ [segmentFile(3)]: '' });
  t.match(await outcomeOf(alone), { refusal: /not one valid record/ });
});

t.test('when a crash came before a new segment was ready, then the old one goes on', async (t) => {
  for (const leftover of ['', '0123', '\0\0\0\0']) {
    const folder = t.testdir();
    const first = await open(folder);
    await first.journal.append(sample);
    await first.journal.close();
    await writeFile(join(folder, segmentFile(2)), leftover);
    const { journal, payloads, cuts } = await open(folder);
    t.same(payloads, sample);
    t.match(cuts, [/catalog-000002\.log was never finished/]);
    await journal.append(['{"id":6}']);
    await journal.rotate();
    await journal.close();
    t.match(await reopen(folder), { payloads: [...sample, '{"id":6}'], headers: [1, 2] });
  }
});

t.test('when a journal starts, appends and rotates, then the calls come in order', async (t) => {
  const folder = t.testdir({ data: {} });
  const data = join(folder, 'data');
  const bytes = await writeSample(data);
  await writeFile(join(data, segmentFile(1)), Buffer.concat([bytes, Buffer.from('torn')]));
  const calls: string[] = [];
  const taken = () => calls.splice(0);
  const disk = hookedDisk(nodeDisk, ({ name, file, bytes, position }) => {
    const detail = name === 'write' ? ` ${bytes} at ${position}` : '';
    calls.push(`${name}${detail}${name === 'truncate' ? ` to ${position}` : ''} ${file}`);
    return undefined;
  });
  const { journal } = await open(data, disk);
  const vouched = linesOf(bytes).at(-1)?.synced ?? 0;
  t.same(taken(), [
    `write ${bytes.length - vouched} at ${vouched} ${segmentFile(1)}`,
    `truncate to ${bytes.length} ${segmentFile(1)}`,
    `sync ${segmentFile(1)}`,
    'syncFolder data',
  ]);
  const [place] = await journal.append(['{"id":6}']);
  t.same(taken(), [
    `write ${place?.length} at ${bytes.length} ${segmentFile(1)}`,
    `datasync ${segmentFile(1)}`,
  ]);
  await journal.seal();
  taken();
  await journal.seal();
  t.same(taken(), [], 'a second seal says nothing new');
  await journal.rotate();
  t.match(taken(), [
    `open ${segmentFile(2)}`,
    `truncate to 0 ${segmentFile(2)}`,
    `sync ${segmentFile(2)}`,
    'syncFolder data',
    /^write \d+ at 0 catalog-000002/,
    `datasync ${segmentFile(2)}`,
  ]);
  await journal.retire(1);
  t.same(taken(), [`remove ${segmentFile(1)}`, 'syncFolder data']);
  await journal.close();
});

/** A shop's day: what was acknowledged, and whether the process had to stop. */
async function day(folder: string, disk: Disk) {
  const acknowledged: string[] = [];
  const attempted: string[] = [];
  let opened: Opened;
  try {
    opened = await open(folder, disk);
  } catch (error) {
    if (error instanceof StorageError) return { acknowledged, attempted };
    throw error;
  }
  const { journal } = opened;
  const append = (payloads: string[]) => async () => {
    attempted.push(...payloads);
    await journal.append(payloads);
    acknowledged.push(...payloads);
  };
  const steps = [
    append(['{"n":1}', '{"n":2}']),
    append(['{"n":3}']),
    () => journal.seal(),
    () => journal.rotate(),
    append(['{"n":4}', '{"n":5}']),
    append(['{"n":6}']),
    () => journal.rotate(),
    append(['{"n":7}']),
    () => journal.close(),
  ];
  for (const step of steps) {
    try {
      await step();
    } catch (error) {
      if (error instanceof StorageFull) continue;
      if (error instanceof StorageBroken) break;
      throw error;
    }
  }
  await opened.crash();
  return { acknowledged, attempted };
}

/** Why a restart's records are not those of the day before, if they are not. */
function difference(
  { acknowledged, attempted }: { acknowledged: string[]; attempted: string[] },
  payloads: readonly string[],
): string | undefined {
  const kept = new Set(payloads);
  const lost = acknowledged.filter((payload) => !kept.has(payload));
  if (lost.length > 0) return `lost ${lost}`;
  const known = attempted.filter((payload) => kept.has(payload));
  return JSON.stringify(known) === JSON.stringify(payloads) ? undefined : `told ${payloads}`;
}

t.test('when any call fails, once or for good, then nothing acknowledged is lost', async (t) => {
  const faults: Fault[] = [{ code: 'EIO' }, { code: 'ENOSPC' }, { short: 0 }, { short: 5 }];
  let runs = 0;
  for (const fault of faults) {
    for (const lasting of [false, true]) {
      for (let position = 0, struck = true; struck; position += 1) {
        let calls = 0;
        struck = false;
        const folder = t.testdir();
        const disk = hookedDisk(quick, ({ name }) => {
          calls += 1;
          const hit = calls > position && (lasting || !struck);
          // A disk without room still takes back what it has.
          const harmless = ['truncate', 'remove', 'syncFolder', 'sync', 'datasync'].includes(name);
          if (!hit || ('short' in fault && name !== 'write')) return undefined;
          if (lasting && 'code' in fault && fault.code === 'ENOSPC' && harmless) return undefined;
          struck = true;
          return fault;
        });
        const result = await day(folder, disk);
        const { payloads } = await reopen(folder);
        const problem = difference(result, payloads);
        if (problem !== undefined) t.fail(`${JSON.stringify(fault)} at ${position}: ${problem}`);
        runs += 1;
      }
    }
  }
  t.comment(`${runs} runs`);
  t.ok(runs > 100);
  t.equal(difference({ acknowledged: ['1'], attempted: ['1'] }, []), 'lost 1');
  t.equal(difference({ acknowledged: [], attempted: ['1'] }, ['2']), 'told 2');
});

function isOpened(value: unknown): value is Opened {
  return typeof value === 'object' && value !== null && 'journal' in value;
}

t.test('when fdatasync fails, then the journal is broken for ever', async (t) => {
  for (let position = 0; position < 6; position += 1) {
    const folder = t.testdir();
    const calls: Call[] = [];
    let syncs = 0;
    const disk = hookedDisk(nodeDisk, (call) => {
      calls.push(call);
      if (!call.name.endsWith('sync')) return undefined;
      syncs += 1;
      return syncs > position + 2 ? { code: 'EIO' } : undefined;
    });
    const opened = await open(folder, disk).catch((error: unknown) => error);
    if (opened instanceof Error) {
      t.type(opened, StorageError);
      continue;
    }
    if (!isOpened(opened)) throw opened;
    const { journal, broken } = opened;
    for (let batch = 0; batch < 20 && broken.length === 0; batch += 1) {
      await journal.append(['{}']).catch(() => undefined);
      await journal.rotate().catch(() => undefined);
    }
    t.equal(broken.length, 1, 'it is said once');
    const before = calls.length;
    await t.rejects(journal.append(['{}']), StorageBroken);
    await t.rejects(journal.seal(), StorageBroken);
    await t.rejects(journal.rotate(), StorageBroken);
    await journal.close();
    t.equal(calls.length, before, 'nothing is tried again');
  }
});

t.test('when the disk is full and has room again, then appending goes on', async (t) => {
  const folder = t.testdir();
  let full = false;
  const disk = hookedDisk(nodeDisk, ({ name }) =>
    full && name === 'write' ? { code: 'ENOSPC' } : undefined,
  );
  const { journal, broken } = await open(folder, disk);
  await journal.append(['1']);
  full = true;
  await t.rejects(journal.append(['2', '3']), StorageFull);
  await t.rejects(journal.rotate(), StorageFull);
  full = false;
  await journal.append(['4']);
  await journal.rotate();
  await journal.append(['5']);
  full = true;
  await t.rejects(journal.append(['6']), StorageFull);
  await journal.close();
  t.same(broken, []);
  t.same((await readdir(folder)).sort(), [segmentFile(1), segmentFile(2)]);
  t.match(await reopen(folder), { payloads: ['1', '4', '5'], cuts: [] });
});

t.test('when too many files are open, then a segment is begun later', async (t) => {
  const folder = t.testdir();
  let failing = '';
  const disk = hookedDisk(nodeDisk, ({ name }) =>
    name === failing ? { code: 'EMFILE' } : undefined,
  );
  const { journal, broken } = await open(folder, disk);
  for (failing of ['open', 'syncFolder']) {
    await t.rejects(journal.rotate(), StorageFull);
    await journal.append([failing]);
  }
  failing = '';
  await journal.rotate();
  failing = 'syncFolder';
  await t.rejects(journal.retire(1), { code: 'EMFILE' });
  failing = '';
  await journal.retire(1);
  await journal.append(['after']);
  await journal.close();
  t.same(broken, []);
  t.same(await readdir(folder), [segmentFile(2)]);
  t.match(await reopen(folder), { payloads: ['after'], cuts: [] });
});

t.test('when a second process opens a journal, then it is refused at any moment', async (t) => {
  const folder = t.testdir();
  const inUse = /in use by another process/;
  const refused: boolean[] = [];
  let asking = false;
  // At each call of the writer the second one has a look, amid a rotation as well.
  const disk: Disk = hookedDisk(nodeDisk, () => undefined);
  const ask = async () => {
    if (asking) return;
    asking = true;
    const refusal = await reopen(folder).catch((error: unknown) => String(error));
    refused.push(typeof refusal === 'string' && inUse.test(refusal));
    asking = false;
  };
  const asked: Disk = {
    ...disk,
    async open(path, mode) {
      const file = await disk.open(path, mode);
      const datasync = () => ask().then(file.datasync).then(ask);
      const close = () => ask().then(file.close).then(ask);
      return { ...file, datasync, close };
    },
    syncFolder: (path) => ask().then(() => disk.syncFolder(path)),
  };
  const { journal } = await open(folder, disk);
  await journal.close();
  const second = await open(folder, asked);
  refused.splice(0);
  for (let turn = 0; turn < 5; turn += 1) {
    await second.journal.append([String(turn)]);
    await second.journal.rotate();
  }
  await second.journal.retire(4);
  t.ok(refused.length > 20);
  t.notOk(refused.includes(false));
  await second.journal.close();
  t.match(await reopen(folder), { payloads: ['4'] });
});

t.test('when the segment being written is gone, then the journal is broken', async (t) => {
  const folder = t.testdir();
  const { journal, broken } = await open(folder);
  await journal.rotate();
  await rm(join(folder, segmentFile(1)));
  await journal.append(['a finished one is looked at by the next start']);
  await journal.verify();
  await rm(join(folder, segmentFile(2)));
  await t.rejects(journal.verify(), StorageBroken);
  await t.rejects(journal.append(['lost']), StorageBroken);
  t.match(broken, [{ message: /catalog-000002\.log is not as this process left it/ }]);
});

t.test('when a record is damaged after its writing, then reading it says so', async (t) => {
  const folder = t.testdir();
  const { journal, crash } = await open(folder);
  const [first, second] = await journal.append(['{"id":1}', '{"id":2}']);
  const path = join(folder, segmentFile(1));
  const bytes = await readFile(path);
  bytes[(first?.offset ?? 0) + 15] = 0;
  await writeFile(path, bytes);
  const nowhere: Place = { segment: 1, offset: 0, length: 0, sequence: 0 };
  await t.rejects(journal.read(first ?? nowhere), /catalog-000001\.log, byte \d+: the record was/);
  t.equal(await journal.read(second ?? nowhere), '{"id":2}');
  await t.rejects(journal.read({ segment: 1, offset: 1_000_000, length: 40 }), StorageError);
  await crash();
});

t.test('when records, seals, segments and restarts alternate, then none is lost', async (t) => {
  t.comment(`SEED=${seed}`);
  const command = fc.oneof(
    {
      weight: 4,
      arbitrary: fc.array(fc.string({ unit: 'grapheme', minLength: 1 }), { minLength: 1 }),
    },
    fc.constantFrom('seal', 'rotate', 'close', 'crash'),
  );
  const commands = fc.array(command, { maxLength: 30 });
  await fc.assert(
    fc.asyncProperty(commands, async (list) => {
      const folder = t.testdir();
      const model: string[] = [];
      let { journal, crash } = await open(folder);
      for (const step of list) {
        if (Array.isArray(step)) {
          const payloads = step.map((text) => JSON.stringify(text));
          model.push(...payloads);
          const places = await journal.append(payloads);
          for (const [index, place] of places.entries()) {
            if ((await journal.read(place)) !== payloads[index]) return false;
          }
        } else if (step === 'seal' || step === 'rotate') {
          await journal[step]();
        } else {
          if (step === 'close') await journal.close();
          await crash();
          const again = await open(folder);
          ({ journal, crash } = again);
          if (JSON.stringify(again.payloads) !== JSON.stringify(model)) return false;
        }
      }
      await crash();
      return JSON.stringify((await reopen(folder)).payloads) === JSON.stringify(model);
    }),
    { seed, numRuns: 100 },
  );
});
