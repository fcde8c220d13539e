import { readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import fc from 'fast-check';
import t, { type Test } from 'tap';
import { topicOf, writeBooks } from '../src/books.js';
import { createDelays } from '../src/delays.js';
import { goalsOf, isKept } from '../src/goals.js';
import { busyWarning, lookAtMachine } from '../src/machine.js';
import type { Measurement } from '../src/measure.js';
import { barPlot, inDigits, linePlot } from '../src/plot.js';
import { requestsOf } from '../src/requests.js';
import { giveShares } from '../src/share.js';
import { latenciesOf, median, percentile } from '../src/statistics.js';
import { summarize } from '../src/summary.js';
import { forCsv, forMarkdown, forTerminal, tableOf } from '../src/table.js';
import { bucketsOf, type Event, maskOf } from '../src/timeline.js';
import { startWire } from '../src/wire.js';
import { createWitness } from '../src/witness.js';

const seed = process.env['SEED'] === undefined ? undefined : Number(process.env['SEED']);
const runs = { numRuns: Number(process.env['RUNS'] ?? 300), ...(seed !== undefined && { seed }) };

t.test('when numbers are given, then their middle and their percentiles are right', async (t) => {
  t.equal(median([3, 1, 2]), 2);
  t.equal(median([4, 1, 2, 3]), 2.5);
  t.equal(percentile([10, 20, 30, 40], 0.5), 20);
  t.equal(percentile([10, 20, 30, 40], 0.99), 40);
  t.throws(() => median([]), RangeError);
  t.same(latenciesOf([]), { count: 0, p50: 0, p90: 0, p99: 0, max: 0 });
  const numbers = fc.array(fc.double({ min: 0, max: 1e6, noNaN: true }), { minLength: 1 });
  fc.assert(
    fc.property(numbers, fc.double({ min: 0, max: 1, noNaN: true }), (values, share) => {
      const found = percentile(values, share);
      const below = values.filter((value) => value <= found).length;
      const strictlyBelow = values.filter((value) => value < found).length;
      return below >= share * values.length && strictlyBelow < Math.max(1, share * values.length);
    }),
    runs,
  );
});

function measured(contestant: string, round: number, perSecond: number): Measurement {
  const times = { count: 100, p50: 1000 / perSecond, p90: 2, p99: 4, max: 9 };
  return {
    suite: 'purchase',
    label: '/purchase',
    kind: 'purchase',
    connections: 256,
    contestant,
    round,
    perSecond,
    all: times,
    reads: times,
    purchases: times,
    answered: 100,
    acknowledged: 100,
    errors: 0,
    non2xx: 0,
    generatorCores: 0.5,
    cpuMicros: { gateway: 10, order: 20 },
    residentBytes: { gateway: 100e6 },
  };
}

t.test('when rounds differ, then the ratios are of what ran in the same round', async (t) => {
  // The machine was twice as slow in the second round: for both, so that the ratio stays.
  const summaries = summarize([
    measured('floor', 1, 1000),
    measured('Bazar', 1, 500),
    measured('floor', 2, 500),
    measured('Bazar', 2, 250),
    measured('floor', 3, 1000),
    measured('Bazar', 3, 400),
  ]);
  const bazar = summaries.find(({ contestant }) => contestant === 'Bazar');
  t.same(bazar?.ratios['floor'], { median: 0.5, least: 0.4, most: 0.5 });
  t.equal(bazar?.perSecond, 400);
  t.equal(bazar?.cpuMicros, 30);
  const goal = goalsOf(summaries, [], { books: '20', orders: '5' }).find(({ sentence }) =>
    sentence.startsWith('/purchase at 256, of the floor'),
  );
  t.equal(goal?.seen, 0.5);
  if (goal !== undefined) {
    t.equal(isKept(goal, 2), true);
    t.equal(isKept({ ...goal, seen: 0.34 }, 2), false);
    t.equal(isKept({ ...goal, seen: undefined }, 2), undefined);
    t.equal(isKept({ ...goal, better: 'less', must: 0.4 }, 2), false);
    t.equal(isKept({ ...goal, needsCores: 2 }, 2), true);
    t.equal(isKept({ ...goal, needsCores: 6 }, 2), undefined, 'with too few cores nobody knows');
  }
  const table = tableOf(summaries);
  t.match(forTerminal(table), /Bazar +400 +0\.5 of floor \(0\.4 to 0\.5\)/);
  t.match(forMarkdown(table), /^\| workload \| at \|.*\n\| --- \|/);
  t.equal(forCsv([['a,"b"', 1]]), '"a,""b""",1\n');
});

/** The tags of a text that are opened and not closed, or closed and not opened. */
function unbalanced(svg: string): string[] {
  const open: string[] = [];
  for (const [, closing, name = '', empty] of svg.matchAll(/<(\/?)(\w+)[^>]*?(\/?)>/g)) {
    if (empty === '/') continue;
    if (closing !== '/') open.push(name);
    else if (open.pop() !== name) open.push(`not ${name}`);
  }
  return open;
}

t.test('when figures are plotted, then the plot is whole and shows them all', async (t) => {
  const label = fc.string({ minLength: 1, maxLength: 20 });
  const value = fc.oneof(fc.constant(0), fc.double({ min: 1e-3, max: 1e9, noNaN: true }));
  const scale = fc.constantFrom('linear', 'logarithmic');
  const groups = fc.array(fc.record({ label, bars: fc.array(fc.record({ label, value })) }));
  fc.assert(
    fc.property(label, groups, scale, (title, some, kind) => {
      const svg = barPlot({ title, unit: 'of <nothing> & all', groups: some, scale: kind });
      const bars = some.flatMap((group) => group.bars);
      const drawn = svg.match(/<rect /g)?.length ?? 0;
      const names = new Set(bars.map((bar) => bar.label)).size;
      const right = !/NaN|Infinity|undefined/.test(svg.replaceAll(/<t[^>]*>[^<]*/g, ''));
      return right && unbalanced(svg).length === 0 && drawn === bars.length + names + 1;
    }),
    runs,
  );
  const point = fc.tuple(value, fc.option(value, { nil: undefined }));
  const series = fc.array(fc.record({ label, points: fc.array(point) }), { maxLength: 4 });
  fc.assert(
    fc.property(series, scale, (some, kind) => {
      const marks = [{ x: 1, label: 'killed' }];
      const plot = { title: 't', xLabel: 'x', yLabel: 'y', series: some, marks, scale: kind };
      const svg = linePlot(plot);
      return !/NaN|Infinity/.test(svg.replaceAll(/<t[^>]*>[^<]*/g, '')) && !unbalanced(svg).length;
    }),
    runs,
  );
  t.same(unbalanced('<svg><text></svg>'), ['svg', 'not svg'], 'the checker sees what is broken');
  t.same([0, 0.1234, 12.345, 1234.5].map(inDigits), ['0', '0.123', '12.3', '1,235']);
});

t.test(
  'when somebody is killed, then the mask ends with the last wait that comes of it',
  async (t) => {
    const event = (beganMs: number, endedMs: number): Event => {
      return { kind: 'purchase', beganMs, endedMs, attempts: 1, status: 200 };
    };
    const usual = Array.from({ length: 100 }, (_, index) => event(index * 10, index * 10 + 8));
    const between = { killedMs: 1000, untilMs: 4000 };
    const calm = maskOf([...usual, event(1001, 1009)], between);
    t.same(calm, { usualMs: 8, longestMs: 8, silenceMs: 9, maskMs: 0 }, 'nobody noticed');
    const noticed = [event(995, 1200), event(1190, 1500), event(1550, 1600)];
    const later = [event(3000, 3500), event(4500, 6000)];
    t.same(
      maskOf([...usual, ...noticed, ...later], between),
      { usualMs: 8, longestMs: 500, silenceMs: 1900, maskMs: 600 },
      'a hiccup long after is none of it, and what began after the return is not looked at',
    );
    t.same(maskOf([], between), { usualMs: 0, longestMs: 0, silenceMs: 0, maskMs: 0 });
  },
);

t.test('when processes share a core, then each runs in its turn, and all in the end', async (t) => {
  const running = new Set<string>();
  const turns: string[] = [];
  const process = (name: string) => ({
    pause: () => void running.delete(name),
    resume() {
      running.add(name);
      turns.push(name);
    },
  });
  const both = [process('a'), process('b')];
  const shares = giveShares(both, 0.25);
  t.equal(running.size, 0);
  while (turns.length < 6) await new Promise((resolve) => setTimeout(resolve, 5));
  shares.end();
  t.same(turns.slice(0, 6), ['a', 'b', 'a', 'b', 'a', 'b']);
  t.same([...running].sort(), ['a', 'b']);
  t.throws(() => giveShares(both, 0.6), RangeError);
});

t.test('when reads are judged, then exactly those that cannot be right are named', async (t) => {
  const witness = createWitness(new Map([[1, 10]]));
  const judge = (beganMs: number, endedMs: number, quantity: number) =>
    witness.judge({ book: 1, beganMs, endedMs, quantity });
  witness.begin(1, -1, 100)(110);
  const acknowledge = witness.begin(1, -1, 200);
  t.equal(judge(50, 60, 10), undefined, 'nothing had changed');
  t.equal(judge(105, 120, 10), undefined, 'it began before the acknowledgement');
  t.match(judge(111, 120, 10), /1 changes too old/);
  t.equal(judge(210, 220, 9), undefined, 'the second change is not acknowledged');
  t.equal(judge(210, 220, 8), undefined, 'the second change may have happened');
  t.match(judge(150, 160, 8), /showed 8 where 9 was right/, 'nobody had asked for it yet');
  t.match(judge(210, 220, 7), /a state that never was/);
  t.throws(() => witness.begin(1, -1, 230), /no order/);
  acknowledge(300);
  t.match(judge(301, 310, 9), /1 changes too old/);
  t.match(judge(301, 310, 10), /2 changes too old/);
  t.equal(judge(301, 310, 8), undefined);
});

t.test('when a gateway is stopped, then only the writes that met it count', async (t) => {
  const delays = createDelays();
  delays.note({ book: 1, beganMs: 0, endedMs: 9000 });
  const resumed = delays.pause(10_000);
  delays.note({ book: 1, beganMs: 9990, endedMs: 11_200 });
  resumed(12_000);
  delays.note({ book: 1, beganMs: 12_001, endedMs: 20_000 });
  t.same(delays.sum(), { pauses: 1, longestMs: 1210 });
});

t.test('when answers are put on a timeline, then silence is on it as well', async (t) => {
  const event = { kind: 'read', attempts: 1, status: 200 } as const;
  const buckets = bucketsOf(
    [
      { ...event, beganMs: 0, endedMs: 10 },
      { ...event, beganMs: 20, endedMs: 250 },
    ],
    100,
  );
  t.same(
    buckets.map(({ fromMs, count, max }) => [fromMs, count, max]),
    [
      [0, 1, 10],
      [100, 0, 0],
      [200, 1, 230],
    ],
  );
});

t.test('when a load is made up, then it asks for what it is said to', async (t) => {
  const all = (kind: 'info' | 'search' | 'purchase' | 'mixed', books: number) =>
    Array.from({ length: 50 }, (_, client) => requestsOf(kind, books, client)).flat();
  const bought = all('mixed', 4).filter(({ method }) => method === 'POST').length;
  t.equal(bought / all('mixed', 4).length, 0.1);
  const ids = new Set(all('info', 1000).map(({ path }) => Number(path.split('/')[2])));
  t.ok([...ids].every((id) => id >= 1 && id <= 1000));
  t.ok(ids.size > 950, 'nearly all books are asked for');
  t.ok(all('purchase', 1).every(({ path }) => path === '/purchase/1'));
  t.same(new Set(all('search', 4).map(({ path }) => path)).size, 2, 'the topics of the report');
  const path = join(t.testdir(), 'catalog_data.csv');
  await writeBooks(path, 12_000);
  const rows = readFileSync(path, 'utf8').trimEnd().split('\n');
  t.equal(rows.length, 12_001);
  t.match(rows[11], `,${topicOf(11, 12_000)},`);
});

async function echo(t: Test): Promise<string> {
  const server: Server = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.pipe(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => server.close());
  const address = server.address();
  return `http://127.0.0.1:${typeof address === 'object' ? address?.port : 0}`;
}

t.test('when a wire is held, then nothing passes; when it is cut, then all ends', async (t) => {
  const target = await echo(t);
  const wire = await startWire(() => target);
  t.teardown(() => wire.close());
  const { connect } = await import('node:net');
  const socket = connect(Number(new URL(wire.url).port), '127.0.0.1');
  const heard: string[] = [];
  socket.on('data', (chunk) => heard.push(String(chunk)));
  const echoed = () => new Promise((resolve) => socket.once('data', resolve));
  socket.write('a');
  await echoed();
  wire.hold();
  socket.write('b');
  await new Promise((resolve) => setTimeout(resolve, 50));
  t.same(heard, ['a']);
  const released = echoed();
  wire.letGo();
  await released;
  t.same(heard, ['a', 'b']);
  const closed = new Promise((resolve) => socket.once('close', resolve));
  socket.on('error', () => undefined);
  wire.cut();
  await closed;
});

t.test('when a machine is looked at, then its facts can be, and a busy one is named', async (t) => {
  const machine = lookAtMachine(t.testdir());
  t.ok(machine.cores > 0 && machine.syncMs > 0);
  t.equal(busyWarning({ ...machine, cores: 2, loadAverage: 0.3 }), undefined);
  t.match(busyWarning({ ...machine, cores: 2, loadAverage: 3 }), /busy \(load average 3\.00 on 2/);
});
