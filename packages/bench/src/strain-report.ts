import { type Goal, isKept } from './goals.js';
import { inWords, type Machine } from './machine.js';
import { inDigits } from './plot.js';
import type { Kind } from './requests.js';
import { median } from './statistics.js';
import { forMarkdown, forTerminal } from './table.js';
import type { Visited } from './visit.js';

/** Normal clients beside slow ones; milliseconds. */
export interface Slowness {
  readonly perSecond: number;
  readonly aloneP99: number;
  readonly besideP99: number;
  /** The median of the ratios of each round. */
  readonly ratio: number;
  readonly ratios: readonly number[];
  /** Slow connections at the end, by their manners, and how many the shop has ended. */
  readonly open: Readonly<Record<string, number>>;
  readonly ended: number;
}

/** More than the shop can do, once. */
export interface SurgeRound {
  /** What it served in closed loops before and after, a second. */
  readonly peaks: { readonly before: number; readonly after: number };
  readonly during: Visited;
  /** Bytes by process: before the surge, and the most during it. */
  readonly memory: {
    readonly before: Readonly<Record<string, number>>;
    readonly most: Readonly<Record<string, number>>;
  };
  /** From the end of the surge to the end of the last answer that was wrong or unusually late. */
  readonly recoveryMs: number;
}

/** More than the shop can do, of one kind, several times. */
export interface Surge {
  readonly kind: Kind;
  readonly rounds: readonly SurgeRound[];
}

export interface StrainReport {
  readonly machine: Machine;
  readonly warning: string | undefined;
  /** Whether shop and load had cores of their own. */
  readonly isDivided: boolean;
  readonly seconds: number;
  readonly policy: {
    readonly slowClients: number;
    readonly surgeFactor: number;
    readonly patienceMs: number;
    readonly connections: number;
    readonly peakConnections: readonly number[];
  };
  readonly slowness: Slowness;
  readonly surges: readonly Surge[];
}

const recoveryMs = 5000;
/** What compose.yaml gives each container. */
const memoryMB = 1000;

/** The surge stands between two peaks, for the machine may become slower or faster meanwhile. */
export function peakOf({ peaks }: SurgeRound): number {
  return (peaks.before + peaks.after) / 2;
}

function shareServed(round: SurgeRound): number {
  return round.during.servedPerSecond / peakOf(round);
}

function goalsOf({ slowness, surges, policy }: StrainReport): Goal[] {
  const { slowClients, surgeFactor } = policy;
  return [
    {
      sentence: `p99 beside ${slowClients} slow connections, of p99 without`,
      must: 2,
      better: 'less',
      seen: slowness.ratio,
    },
    ...surges.flatMap(({ kind, rounds }) => {
      const what = `${kind}, ${surgeFactor} times the load`;
      const mostBytes = rounds.flatMap(({ memory }) => Object.values(memory.most));
      return [
        {
          sentence: `${what}: served, of the peak`,
          must: 0.8,
          better: 'more',
          seen: median(rounds.map(shareServed)),
        },
        {
          sentence: `${what}: recovery, ms`,
          must: recoveryMs,
          better: 'less',
          seen: Math.max(...rounds.map((round) => round.recoveryMs)),
        },
        {
          sentence: `${what}: most memory, MB`,
          must: memoryMB,
          better: 'less',
          seen: Math.max(...mostBytes) / 1e6,
        },
      ] as const;
    }),
  ];
}

function surgeTable({ surges, seconds }: StrainReport): string[][] {
  const share = (part: number, whole: number) => `${inDigits((100 * part) / whole)} %`;
  return [
    [
      'what',
      'peak before/s',
      'after/s',
      'came/s',
      'served/s',
      'of the peak',
      'turned away',
      'hung up',
      'failed',
      'not sent',
      'sent late ms',
      'p99 ms',
    ],
    ...surges.flatMap(({ kind, rounds }) => rounds.map((round) => lineOf(kind, round))),
  ];

  function lineOf(kind: Kind, round: SurgeRound): string[] {
    const { during, peaks } = round;
    return [
      kind,
      inDigits(peaks.before),
      inDigits(peaks.after),
      inDigits(during.came / seconds),
      inDigits(during.servedPerSecond),
      inDigits(shareServed(round)),
      share(during.shed, during.came),
      share(during.gaveUp, during.came),
      share(during.failed, during.came),
      share(during.kept, during.came),
      inDigits(during.lateMs),
      inDigits(during.waits.p99),
    ];
  }
}

/** The same for a file and for a terminal. */
export function strainReport(report: StrainReport): { markdown: string; terminal: string } {
  const { machine, warning, isDivided, policy, slowness, seconds } = report;
  const goals = [
    ['promised', 'must be', 'seen', ''],
    ...goalsOf(report).map((goal) => [
      goal.sentence,
      `${goal.better === 'more' ? 'at least' : 'at most'} ${goal.must}`,
      inDigits(goal.seen ?? Number.NaN),
      isKept(goal, machine.cores) ? 'kept' : 'missed',
    ]),
  ];
  const surges = surgeTable(report);
  const markdown = [
    '# Bazar under strain',
    '',
    `On ${inWords(machine)}. ${
      isDivided
        ? 'The shop had one half of the cores, and those who loaded it the other.'
        : 'The shop shared its cores with those who loaded it.'
    }`,
    '',
    ...(warning === undefined ? [] : [`**${warning}**`, '']),
    forMarkdown(goals),
    '',
    `**Slow clients.** ${inDigits(slowness.perSecond)} normal requests a second, 90 % of them reads: ` +
      `p99 ${inDigits(slowness.aloneP99)} ms, and ${inDigits(slowness.besideP99)} ms beside ` +
      `${policy.slowClients} connections that say nothing, send their headers or their body a byte ` +
      `a second, or read none of their answers; each that the shop ended (${slowness.ended} times) ` +
      'came again at once.',
    '',
    `**Surges.** For ${seconds} s, ${policy.surgeFactor} times as many as were served at the peak ` +
      'before came at random times (a closed loop of ' +
      `${policy.peakConnections.join(' or ')} connections, whichever was better at first, as long), each ` +
      `with a patience of ${policy.patienceMs} ms. What was served is compared with the mean of the peaks ` +
      'before and after; the median of the rounds counts, and of recovery and memory the worst. Those ' +
      `who found all ${policy.connections} connections of the crowd in ` +
      'use were not sent. Recovery is the time from the last of them to the end of the last answer ' +
      'that was wrong or unusually late, of fifty that are asked for a second.',
    '',
    forMarkdown(surges),
    '',
  ].join('\n');
  return { markdown, terminal: `${forTerminal(surges)}\n\n${forTerminal(goals)}` };
}
