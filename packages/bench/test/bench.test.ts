import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { runBench } from '../src/bench.js';
import { breaches } from '../src/conservation.js';
import { startBazar, startPlainChain, startScript } from '../src/contestant.js';
import { crash } from '../src/crash.js';
import { killReplicas } from '../src/masking.js';
import { measure } from '../src/measure.js';
import { readOptions, suiteNames, UsageError } from '../src/options.js';
import { overPostgres, perPurchase } from '../src/over-postgres.js';
import { huntStale } from '../src/stale.js';
import { strain } from '../src/strain.js';
import { visit } from '../src/visit.js';

const quick = readOptions(['--quick']);

t.test('when the benchmark runs, then all are measured and the report is written', async (t) => {
  const reportFolder = t.testdir();
  const said: string[] = [];
  const options = { ...quick, only: ['mixed'] as const };
  const { measurements } = await runBench(options, {
    reportFolder,
    say: (sentence) => said.push(sentence),
  });
  for (const contestant of ['floor', 'plain chain', 'Bazar']) {
    const mine = measurements.filter((one) => one.contestant === contestant);
    t.equal(mine.length, 2, `${contestant} at 64 and at 256 connections`);
    t.ok(
      mine.every(({ perSecond, all }) => perSecond > 0 && all.p50 <= all.p99),
      'figures that can be',
    );
    t.ok(
      mine.every(({ residentBytes }) => Object.values(residentBytes).every((bytes) => bytes > 0)),
      'the memory of each process',
    );
  }
  t.ok(
    measurements.some(({ reads, purchases }) => reads.count > purchases.count * 4),
    'a mixed load reads more than it buys',
  );
  const report = readFileSync(join(reportFolder, 'report.md'), 'utf8');
  t.match(report, /90\/10 at 64, of the floor/);
  for (const plot of report.matchAll(/\((\S+\.svg)\)/g)) {
    t.match(readFileSync(join(reportFolder, plot[1] ?? ''), 'utf8'), /^<svg [\s\S]*<\/svg>\n$/);
  }
  t.ok(
    Array.isArray(JSON.parse(readFileSync(join(reportFolder, 'results.json'), 'utf8')).summaries),
  );
  const csv = readFileSync(join(reportFolder, 'results.csv'), 'utf8').trimEnd().split('\n');
  t.equal(csv.length, measurements.length + 1);
  t.match(said.join('\n'), /a small fdatasync takes/);
});

t.test('when a shop has no such book, then the run fails instead of being fast', async (t) => {
  const generator = await startScript('load generator', 'generator');
  t.teardown(() => generator.stop());
  const shop = await startPlainChain(t.testdir(), 4);
  t.teardown(() => shop.stop());
  const task = { suite: 'info', label: 'info', kind: 'info', connections: 2, books: 9 } as const;
  const options = { generatorUrl: generator.url, seconds: 0.3, rounds: 1 };
  await t.rejects(
    measure([{ contestant: shop, task }], { ...options, onMeasurement: () => undefined }),
    /answers that are no 200/,
  );
});

t.test('when a shop forgets to log a sale, then the run fails', async (t) => {
  const generator = await startScript('load generator', 'generator');
  t.teardown(() => generator.stop());
  const shop = await startBazar({ folder: t.testdir(), books: 4 });
  t.teardown(() => shop.stop());
  const { ledger } = shop;
  if (ledger === undefined) throw new Error('Bazar has a ledger.');
  let counted = 0;
  const forgetful = {
    ...shop,
    ledger: {
      ...ledger,
      async rows() {
        counted += 1;
        return (await ledger.rows()) - (counted === 2 ? 1 : 0);
      },
    },
  };
  const task = { suite: 'purchase', label: 'purchase', kind: 'purchase', connections: 4 } as const;
  const options = { generatorUrl: generator.url, seconds: 0.3, rounds: 1 };
  await t.rejects(
    measure([{ contestant: forgetful, task }], { ...options, onMeasurement: () => undefined }),
    /purchases were acknowledged, but \d+ rows were logged/,
  );
});

t.test('when the order service is killed, then the story is told and none is lost', async (t) => {
  const story = await crash({ victim: 'order', folder: t.testdir(), quietMs: 300 });
  t.ok(story.killedMs < story.backMs);
  t.ok(story.soldAgainMs > story.killedMs);
  t.ok(story.events.some(({ kind, attempts }) => kind === 'purchase' && attempts > 1));
});

t.test('when a crowd is answered late, then it counts for no rate, or not as served', async (t) => {
  const server = createServer((_request, response) => {
    // After the second in which they come, before or after their patience is over.
    setTimeout(() => response.end('late'), 1500);
  }).listen(0, '127.0.0.1');
  t.teardown(() => server.close());
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const crowd = await startScript('crowd', 'crowd');
  t.teardown(() => crowd.stop());
  const plan = {
    ...{ url: `http://127.0.0.1:${port}`, kind: 'info' as const, books: 1 },
    ...{ connections: 1, seconds: 1 },
  } as const;
  const patient = await visit(crowd.url, { ...plan, patienceMs: 60_000 });
  t.match(patient, { came: 1, served: 1, servedPerSecond: 0, gaveUp: 0 });
  const impatient = await visit(crowd.url, { ...plan, patienceMs: 1200 });
  t.match(impatient, { served: 0, servedPerSecond: 0, failed: 0 });
  t.equal(impatient.gaveUp + impatient.kept, impatient.came, 'they have hung up');
});

t.test('when a shop is strained, then it is told what became of whom', async (t) => {
  const reportFolder = t.testdir();
  const options = { ...quick, seconds: 1 };
  const { slowness, surges } = await strain(options, { reportFolder, say: () => undefined });
  t.equal(
    Object.values(slowness.open).reduce((sum, one) => sum + one, 0),
    1000,
    'all slow clients were there',
  );
  t.ok(slowness.ratio > 0);
  t.same(
    surges.map(({ kind }) => kind),
    ['purchase', 'mixed', 'info'],
  );
  const all = surges.flatMap(({ kind, rounds }) => rounds.map((round) => ({ kind, ...round })));
  t.equal(all.length, 3);
  for (const { kind, during, peaks, memory } of all) {
    const { came, served, shed, gaveUp, kept, failed } = during;
    t.equal(came, served + shed + gaveUp + kept + failed, `${kind}: each is counted once`);
    t.ok(during.servedPerSecond > 0, `${kind}: some were served`);
    t.ok(came > 2 * peaks.before, `${kind}: many came`);
    t.same(Object.keys(memory.most).sort(), ['catalog', 'gateway', 'order']);
  }
  const report = readFileSync(join(reportFolder, 'strain.md'), 'utf8');
  t.match(report, /purchase, 3 times the load: served, of the peak/);
});

t.test('when rows are in PostgreSQL, then batches and replicas are compared', async (t) => {
  const reportFolder = t.testdir();
  const only = ['postgres', 'replicas'] as const;
  const { measurements } = await runBench(
    { ...quick, only },
    { reportFolder, say: () => undefined },
  );
  const names = new Set(measurements.map(({ contestant }) => contestant));
  t.same(
    [...names],
    [perPurchase, overPostgres, 'one catalog', 'two catalogs', 'one gateway', 'two gateways'],
  );
  t.ok(
    measurements.every(({ perSecond }) => perSecond > 0),
    'all were at work',
  );
  if (process.platform === 'linux') {
    const two = measurements.filter(({ contestant }) => contestant === 'two catalogs');
    for (const name of ['catalog 1', 'catalog 2', 'PostgreSQL']) {
      t.ok(two.length > 0 && two.every(({ cpuMicros }) => (cpuMicros[name] ?? 0) > 0), name);
    }
  }
  const report = readFileSync(join(reportFolder, 'report.md'), 'utf8');
  t.match(report, /one hot book over PostgreSQL, of a transaction per purchase \| ≥ 5 /);
  t.match(report, /This machine has \d+ cores for all/);
});

t.test('when one of two of each is killed, then no customer sees an error', async (t) => {
  const stories = await killReplicas({ quietMs: 500, awayMs: 1500 }, () => undefined);
  t.same(
    stories.map(({ victim }) => victim),
    ['catalog', 'order', 'gateway'],
  );
  for (const { victim, killedMs, restartedMs, readyMs, servedMs, events } of stories) {
    t.ok(killedMs < restartedMs && restartedMs < readyMs, `the ${victim} was away and came back`);
    t.ok(servedMs !== undefined && servedMs > restartedMs, `the ${victim} served again`);
    const meanwhile = events.filter(({ endedMs }) => endedMs > killedMs && endedMs < restartedMs);
    t.ok(meanwhile.length > 0, 'the other one served meanwhile');
  }
});

t.test('when two gateways are hunted through, then no read is stale', async (t) => {
  const said: string[] = [];
  const { reads } = await huntStale({ reads: 2000 }, { say: (sentence) => said.push(sentence) });
  t.ok(reads >= 2000);
  t.match(said.join('\n'), /0 stale/);
});

t.test('when accounts do not balance, then the checker says why', async (t) => {
  const audit = { balanced: true, stocked: 9, remaining: 5, sold: 4, logged: 4, pending: 0 };
  const kept = { acknowledged: 3, rowsBefore: 1, rowsAfter: 4, audit };
  t.same(breaches(kept), []);
  t.match(breaches({ ...kept, acknowledged: 4 }), [/4 purchases .* 3 rows/]);
  t.match(breaches({ ...kept, rowsBefore: 0 }), [/3 purchases .* 4 rows/]);
  t.match(breaches({ ...kept, audit: { ...audit, balanced: false } }), [/not balanced/]);
  t.match(breaches({ ...kept, audit: { ...audit, pending: 1 } }), [/1 sales are pending/]);
  t.match(breaches({ ...kept, audit: { ...audit, stocked: 10 } }), [/10 copies were stocked/]);
  t.match(breaches({ ...kept, audit: { ...audit, logged: 3 } }), [/4 copies .* 3 orders logged/]);
  t.match(breaches({ ...kept, audit: 'nothing' }), [/the audit is none/]);
});

t.test('when options are given, then they are taken or refused in a sentence', async (t) => {
  t.match(readOptions([]), { command: 'bench', only: [...suiteNames], rounds: 3, seconds: 5 });
  t.match(readOptions(['lab', '--quick']), { command: 'lab', quick: true, rounds: 1, seconds: 1 });
  t.match(readOptions(['--only', 'info,hot', '--rounds=7']), { only: ['info', 'hot'], rounds: 7 });
  const refused: readonly (readonly [args: string[], says: RegExp])[] = [
    [['--fast'], /^Unknown option '--fast'\.$/],
    [['--only', 'info,tea'], /^--only tea: the suites are /],
    [['--rounds', '0'], /^--rounds is "0", but it takes a whole number from 1 to 100\.$/],
    [['--seconds', '1e1'], /^--seconds is "1e1"/],
    [['stale', '--only', 'info'], /^--only chooses among the suites/],
    [['faster'], /^"faster" is nothing to do/],
  ];
  for (const [args, says] of refused) {
    const refusal = refusalOf(args);
    t.ok(refusal instanceof UsageError, args.join(' '));
    t.match(refusal, { message: says });
  }
  const main = fileURLToPath(new URL('../dist/main.js', import.meta.url));
  const { status, stderr } = spawnSync(process.execPath, [main, '--fast'], { encoding: 'utf8' });
  t.equal(status, 2);
  t.match(stderr, /^Unknown option '--fast'\.\n\npnpm bench/);
});

function refusalOf(args: readonly string[]): unknown {
  try {
    return readOptions(args);
  } catch (error) {
    return error;
  }
}
