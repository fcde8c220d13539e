import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { startBazar, startScript } from './contestant.js';
import { type CrashStory, crash } from './crash.js';
import { answersPlot, type Drawn, waitsPlot } from './crash-plots.js';
import { type Counts, measureCost, measureTimes, type Sample } from './lab-times.js';
import { busyWarning, inWords, lookAtMachine, type Machine } from './machine.js';
import { killReplicas, type MaskingStory } from './masking.js';
import type { Options } from './options.js';
import { barPlot, inDigits } from './plot.js';
import { latenciesOf } from './statistics.js';
import { inFolder, type Surroundings } from './surroundings.js';
import { forCsv, forMarkdown, forTerminal } from './table.js';

/** How much is asked: enough for a 99th percentile, or only to see that all works. */
const sizes = {
  full: { samples: 2000, loadSeconds: 5, quietSeconds: 3, awaySeconds: 4 },
  quick: { samples: 60, loadSeconds: 1, quietSeconds: 0.7, awaySeconds: 2 },
} as const;

/** Enough books that one book is asked about once for the first time, and never by accident. */
const books = 10_000;

/**
 * Answers the three questions of the assignment that Bazar comes from: how long a query and a
 * purchase take with and without the cache, what it costs to keep the cache consistent, and what
 * becomes of a crash. Writes `lab.md`, its plots and the raw samples as CSV.
 *
 * @throws BenchFailure when a purchase was lost or made twice
 */
export async function runLab(options: Options, { reportFolder, say }: Surroundings) {
  const size = options.quick ? sizes.quick : sizes.full;
  await inFolder(async (folder) => {
    const machine = lookAtMachine(folder);
    say(`On ${inWords(machine)}.`);
    const samples: Sample[] = [];
    const counts: Counts = { hits: 0, misses: 0, untold: 0 };
    const shop = await startBazar({ folder: join(folder, 'lab'), books });
    const generator = await startScript('load generator', 'generator');
    try {
      say('How long do a query and a purchase take, with the cache and without?');
      await measureTimes({ shop, samples, counts, count: size.samples });
      say('What does it cost to keep the cache consistent?');
      const load = { generatorUrl: generator.url, seconds: size.loadSeconds };
      await measureCost({ shop, samples, counts, count: size.samples, ...load });
    } finally {
      await generator.stop();
      await shop.stop();
    }
    const stories: CrashStory[] = [];
    for (const victim of ['order', 'catalog'] as const) {
      say(`The ${victim} service is killed under load, and started again.`);
      const quietMs = size.quietSeconds * 1000;
      stories.push(await crash({ victim, folder: join(folder, victim), quietMs }));
    }
    say('One of two of each service is killed under load, over PostgreSQL and behind the front.');
    const [quietMs, awayMs] = [size.quietSeconds * 1000, size.awaySeconds * 1000];
    const maskings = await killReplicas({ quietMs, awayMs }, say);
    const findings = { machine, samples, counts, stories, maskings };
    say(`\n${forTerminal(timesTable(samples))}\n`);
    for (const story of stories) say(inSentences(story));
    say(`\n${forTerminal(maskingTable(maskings))}\n`);
    await writeLab(reportFolder, findings);
    say(`The report is ${join(reportFolder, 'lab.md')}.`);
  });
}

interface Findings {
  readonly machine: Machine;
  readonly samples: readonly Sample[];
  readonly counts: Counts;
  readonly stories: readonly CrashStory[];
  readonly maskings: readonly MaskingStory[];
}

function seriesOf(samples: readonly Sample[]): Map<string, number[]> {
  const series = new Map<string, number[]>();
  for (const { what, ms } of samples) {
    const values = series.get(what);
    if (values === undefined) series.set(what, [ms]);
    else values.push(ms);
  }
  return series;
}

function timesTable(samples: readonly Sample[]): string[][] {
  return [
    ['what', 'samples', 'p50 ms', 'p90 ms', 'p99 ms', 'most ms'],
    ...[...seriesOf(samples)].map(([what, values]) => {
      const { count, p50, p90, p99, max } = latenciesOf(values);
      return [what, String(count), ...[p50, p90, p99, max].map(inDigits)];
    }),
  ];
}

async function writeLab(folder: string, findings: Findings): Promise<void> {
  const { machine, samples, counts, stories, maskings } = findings;
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, 'lab-times.svg'), timesPlot(samples));
  await writeFile(
    join(folder, 'lab-times.csv'),
    forCsv([['what', 'ms'], ...samples.map(({ what, ms }) => [what, ms])]),
  );
  const crashes = stories.map((story) => ({
    ...{ ...story, title: `The ${story.victim} service is killed` },
    name: `lab-crash-${story.victim}`,
  }));
  const masked = maskings.map((story) => ({
    ...{ ...story, title: `One of two is killed (${story.victim})`, backMs: story.readyMs },
    name: `lab-replica-${story.victim}`,
  }));
  for (const drawn of [...crashes, ...masked]) await writeStory(folder, drawn);
  const warning = busyWarning(machine);
  const lines = [
    '# Three questions',
    '',
    `On ${inWords(machine)}. One client, one request at a time, unless a load is named.`,
    '',
    ...(warning === undefined ? [] : [`**${warning}**`, '']),
    '## How long do a query and a purchase take, with and without the cache?',
    '',
    'Without the cache means: the first read of a book that nobody has read, so that the gateway ' +
      'has to ask the catalog; nothing is switched off for it. The kinds take turns, book by ' +
      `book. Of the queries here, ${counts.hits} said that they came from the cache, ` +
      `${counts.misses} that they did not, and ${counts.untold} said nothing.`,
    '',
    forMarkdown(timesTable(samples)),
    '',
    '![the times](lab-times.svg)',
    '',
    '## What does it cost to keep the cache consistent?',
    '',
    'Two things: a query right after a purchase has to ask the catalog again, and a purchase is ' +
      'answered only when every gateway has forgotten the book. The second is what purchases at ' +
      'the order service take while a gateway runs, less what they take while none does.',
    '',
    '## What becomes of a crash?',
    '',
    ...crashes.flatMap((story) => [inSentences(story), '', ...plotsOf(story.name)]),
    '## And of one of two?',
    '',
    ...maskingInWords(maskings),
    ...masked.flatMap(({ name }) => plotsOf(name)),
    `Raw samples: ${['lab-times', ...[...crashes, ...masked].map(({ name }) => name)]
      .map((name) => `\`${name}.csv\``)
      .join(', ')}.`,
    '',
  ];
  await writeFile(join(folder, 'lab.md'), lines.join('\n'));
}

async function writeStory(folder: string, drawn: Drawn & { readonly name: string }) {
  const name = join(folder, drawn.name);
  await writeFile(`${name}-answers.svg`, answersPlot(drawn));
  await writeFile(`${name}-waits.svg`, waitsPlot(drawn));
  await writeFile(
    `${name}.csv`,
    forCsv([
      ['kind', 'began_ms', 'ended_ms', 'attempts', 'status'],
      ...drawn.events.map((one) => [
        ...[one.kind, one.beganMs, one.endedMs, one.attempts, one.status],
      ]),
    ]),
  );
}

function plotsOf(name: string): string[] {
  return [`![answers](${name}-answers.svg)`, '', `![waits](${name}-waits.svg)`, ''];
}

function maskingInWords(stories: readonly MaskingStory[]): string[] {
  return [
    'Two gateways, order services and catalogs over one PostgreSQL, behind the front; 16 buyers and ' +
      '16 readers use `@bazar/client` with nothing set, as if there were one shop. One replica of ' +
      'each kind was killed with SIGKILL, and started again after a while. No customer saw an ' +
      'error, every acknowledged purchase was logged once, and the audit balanced.',
    '',
    forMarkdown(maskingTable(stories)),
    '',
    '- **usual**: the 99th percentile of the waits before the kill. **Longest** and **silence**: ' +
      'the longest wait, and the longest time without any answer, while the replica was away.',
    '- **masked**: from the kill to the end of the last wait that was more than twice as long as ' +
      'usual and longer than 10 ms, of those that follow each other from the kill on. A purchase ' +
      'that meets a dead gateway waits for the end of its lease, about a second.',
    '- **ready**: from the start of the new process until it says that it can work. **Serves**: ' +
      'until it has answered a customer, as its metrics show; a gateway is met by new connections.',
    '',
  ];
}

function maskingTable(stories: readonly MaskingStory[]): string[][] {
  return [
    [
      'killed',
      'what',
      'usual ms',
      'longest ms',
      'silence ms',
      'masked ms',
      'ready ms',
      'serves ms',
    ],
    ...stories.flatMap(({ victim, restartedMs, readyMs, servedMs, purchases, reads }) =>
      Object.entries({ purchases, reads }).map(([what, mask]) => [
        victim,
        what,
        ...[mask.usualMs, mask.longestMs, mask.silenceMs, mask.maskMs].map(inDigits),
        inDigits(readyMs - restartedMs),
        servedMs === undefined ? 'not seen' : inDigits(servedMs - restartedMs),
      ]),
    ),
  ];
}

function inSentences(story: CrashStory): string {
  const { victim, killedMs, backMs, soldAgainMs, events } = story;
  const purchases = events.filter(({ kind }) => kind === 'purchase');
  const reads = events.filter(({ kind }) => kind === 'read');
  const waits = latenciesOf(purchases.map(({ beganMs, endedMs }) => endedMs - beganMs));
  const repeated = purchases.filter(({ attempts }) => attempts > 1).length;
  const refused = reads.filter(({ status }) => status !== 200).length;
  return (
    `The ${victim} service was killed with SIGKILL at ${inDigits(killedMs)} ms and was back ` +
    `${inDigits(backMs - killedMs)} ms later; the first purchase begun after the kill was ` +
    `answered ${inDigits(soldAgainMs - killedMs)} ms after it. ${purchases.length} purchases ` +
    `were made, ${repeated} of them by asking again under the same key: none was lost and none ` +
    `made twice, and the longest wait was ${inDigits(waits.max)} ms. Of ${reads.length} reads, ` +
    `each asked once, ${refused} were refused.`
  );
}

function timesPlot(samples: readonly Sample[]): string {
  return barPlot({
    title: 'Response times',
    unit: 'milliseconds, logarithmic',
    scale: 'logarithmic',
    groups: [...seriesOf(samples)].map(([label, values]) => {
      const { p50, p99 } = latenciesOf(values);
      return {
        label,
        bars: [
          { label: 'median', value: p50 },
          { label: '99th percentile', value: p99 },
        ],
      };
    }),
  });
}
