import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect } from './client.js';
import { BenchFailure, breaches } from './conservation.js';
import { type ShopContestant, startBazar, startScript } from './contestant.js';
import { divideCores, keepToCores } from './cores.js';
import { busyWarning, inWords, lookAtMachine } from './machine.js';
import type { Options } from './options.js';
import { inDigits } from './plot.js';
import type { Kind } from './requests.js';
import { sendSlowClients } from './slow-clients.js';
import { latenciesOf, median } from './statistics.js';
import {
  peakOf,
  type Slowness,
  type StrainReport,
  type Surge,
  type SurgeRound,
  strainReport,
} from './strain-report.js';
import { inFolder, type Surroundings } from './surroundings.js';
import { residentBytes } from './usage.js';
import { saysNothingCame, type Visited, visit } from './visit.js';

const policy = {
  books: 4,
  slowClients: 1000,
  /** Nothing counts before what was asked earlier is answered. */
  settle: { lookMs: 500, deadlineMs: 120_000 },
  /** Of what the shop can carry, where nothing but the slow clients shall be in anybody's way. */
  easyShare: 0.5,
  surgeFactor: 3,
  surgeKinds: ['purchase', 'mixed', 'info'],
  /** Enough to keep the shop busy, few enough to be answered soon. */
  peakConnections: [256, 1024],
  connections: 9000,
  patienceMs: 2000,
  probeMs: 20,
  /** Nobody notices less. */
  bearableMs: 100,
  /** How long is looked for a recovery, which must take less. */
  afterMs: 8000,
  sampleMs: 200,
} as const;

/**
 * What strain does to the shop: a thousand slow and half-open connections beside normal clients,
 * and three times as many requests as it can answer. The shop has one half of the cores and those
 * who load it the other.
 *
 * @throws BenchFailure when the conservation law was broken
 */
export async function strain(
  { rounds, seconds, quick }: Options,
  { reportFolder, say }: Surroundings,
): Promise<StrainReport> {
  return inFolder(async (folder) => {
    const machine = lookAtMachine(folder);
    say(`On ${inWords(machine)}.`);
    const warning = busyWarning(machine);
    if (warning !== undefined) say(warning);
    const shop = await startBazar({ folder: join(folder, 'shop'), books: policy.books });
    const crowd = await startScript('crowd', 'crowd');
    try {
      const isDivided = divide(Object.values(shop.pids()), crowd.pid);
      if (!isDivided) say('The shop shares its cores with the load: a busy load slows it down.');
      const trial: Trial = { shop, crowdUrl: crowd.url, seconds, say };
      say('Warming up.');
      for (const kind of policy.surgeKinds) {
        await goThrough(trial, kind, { seconds: quick ? 2 : 10, connections: 64 });
      }
      // So does the crowd: one that is slow itself hangs up on a shop that is not.
      await goThrough(trial, 'purchase', {
        seconds: quick ? 2 : 10,
        connections: policy.connections,
      });
      const slowness = await bearSlowClients(trial, rounds);
      const surges: Surge[] = [];
      for (const kind of policy.surgeKinds) surges.push(await bearSurge(trial, kind, rounds));
      const report = { machine, warning, isDivided, seconds, policy, slowness, surges };
      const text = strainReport(report);
      await mkdir(reportFolder, { recursive: true });
      await writeFile(join(reportFolder, 'strain.md'), text.markdown);
      await writeFile(join(reportFolder, 'strain.json'), JSON.stringify(report, null, 2));
      say(`\n${text.terminal}\n\nThe report is ${join(reportFolder, 'strain.md')}.`);
      return report;
    } finally {
      await crowd.stop();
      await shop.stop();
    }
  });
}

function divide(shop: readonly number[], load: number): boolean {
  const cores = divideCores();
  if (cores === undefined) return false;
  return keepToCores(shop, cores.shop) && keepToCores([load], cores.load);
}

interface Trial {
  readonly shop: ShopContestant;
  readonly crowdUrl: string;
  readonly seconds: number;
  readonly say: (sentence: string) => void;
}

interface Way {
  readonly perSecond?: number;
  readonly connections?: number;
  readonly seconds?: number;
}

function send({ shop, crowdUrl, seconds }: Trial, kind: Kind, way: Way = {}): Promise<Visited> {
  const { books, patienceMs, peakConnections } = policy;
  const [connections] = peakConnections;
  return visit(crowdUrl, {
    ...{ url: shop.url, kind, books, connections, seconds, patienceMs },
    ...way,
  });
}

/** Sends a crowd, and sees to it that the shop did with everybody what it said. */
async function goThrough(trial: Trial, kind: Kind, way?: Way): Promise<Visited> {
  const checked = await account(trial.shop);
  const seen = await send(trial, kind, way);
  await checked(kind === 'purchase' ? seen : undefined);
  return seen;
}

/**
 * Opens an account. What is returned closes it: whoever hung up may have bought all the same, and
 * whoever was turned away has not.
 *
 * @throws BenchFailure when the shop did not keep it
 */
async function account(shop: ShopContestant) {
  const rowsBefore = await rowsAtRest(shop);
  return async (bought: Visited | undefined, others: readonly Probe[] = []): Promise<void> => {
    const rowsAfter = await rowsAtRest(shop);
    const audit = await shop.ledger?.audit();
    const logged = rowsAfter - rowsBefore;
    const found = breaches({ acknowledged: logged, rowsBefore, rowsAfter, audit });
    if (bought !== undefined) {
      const { came, served, shed, kept } = bought;
      // Who was told neither may have bought: only a refusal says that nothing was.
      const least = served + others.filter(({ ok }) => ok).length;
      const most = came - shed - kept + others.filter(({ isRefused }) => !isRefused).length;
      if (logged < least) found.push(`${least} bought, but ${logged} rows were logged`);
      if (logged > most) found.push(`${most} can have bought, but ${logged} rows were logged`);
    }
    if (found.length > 0) throw new BenchFailure(`${found.join('; ')}.`);
  };
}

/**
 * How many orders were logged once nothing is under way: what somebody wanted who has hung up since is
 * done all the same.
 *
 * @throws BenchFailure when something is under way for too long
 */
async function rowsAtRest(shop: ShopContestant): Promise<number> {
  let before: number | undefined;
  await eventually(async () => {
    const figures = await (await fetch(`${shop.url}/metrics`)).text();
    const busy = /^bazar_(requests|connections)\{state="(under way|waiting|resting)"\} [1-9]/m;
    // A sale that the order service gave up waiting for is pending until it looks for such.
    await shop.ledger?.audit();
    const rows = (await shop.ledger?.rows()) ?? 0;
    const isOver = rows === before && !busy.test(figures);
    before = rows;
    return isOver;
  }, 'What was asked of the shop has no end.');
  return before ?? 0;
}

/** @throws BenchFailure with a sentence when it does not come */
async function eventually(isSo: () => Promise<boolean>, complaint: string): Promise<void> {
  const { lookMs, deadlineMs } = policy.settle;
  const until = performance.now() + deadlineMs;
  while (performance.now() < until) {
    if (await isSo()) return;
    await sleep(lookMs);
  }
  throw new BenchFailure(complaint);
}

async function bearSlowClients(trial: Trial, rounds: number): Promise<Slowness> {
  const { shop, say } = trial;
  const peak = await goThrough(trial, 'mixed');
  const perSecond = policy.easyShare * peak.servedPerSecond;
  const [alone, beside]: [number[], number[]] = [[], []];
  let open: Slowness['open'] = {};
  let ended = 0;
  for (let round = 1; round <= rounds; round += 1) {
    alone.push((await goThrough(trial, 'mixed', { perSecond })).waits.p99);
    const slow = sendSlowClients(shop.url, policy.slowClients);
    try {
      await settled(shop.url);
      const seen = await goThrough(trial, 'mixed', { perSecond });
      beside.push(seen.waits.p99);
      open = slow.open();
      ended += slow.ended();
    } finally {
      slow.leave();
    }
    say(
      `Slow clients, round ${round}: p99 ${inDigits(alone.at(-1) ?? 0)} ms alone, ${inDigits(beside.at(-1) ?? 0)} ms beside.`,
    );
  }
  const ratios = beside.map((value, round) => value / (alone[round] ?? Number.NaN));
  return {
    perSecond,
    aloneP99: median(alone),
    besideP99: median(beside),
    ratio: median(ratios),
    ratios,
    open,
    ended,
  };
}

/**
 * Resolves once no book is asked for any more.
 *
 * @throws BenchFailure when that does not come
 */
async function settled(url: string): Promise<void> {
  let before: number | undefined;
  await eventually(async () => {
    const figures = await (await fetch(`${url}/metrics`)).text();
    const answers = /^bazar_http_requests_total\{route="\/info\/:item_id".*status="200"\} (\d+)$/m;
    const now = Number(answers.exec(figures)?.[1]);
    const isOver = now === before;
    before = now;
    return isOver;
  }, 'What slow clients had asked was never answered to the end.');
}

async function bearSurge(trial: Trial, kind: Kind, rounds: number): Promise<Surge> {
  const { say } = trial;
  const peaks: number[] = [];
  for (const connections of policy.peakConnections) peaks.push(await peakOver(connections));
  const best = peaks.indexOf(Math.max(...peaks));
  const connections = policy.peakConnections[best] ?? policy.peakConnections[0];
  const seen: SurgeRound[] = [];
  let before = peaks[best] ?? Number.NaN;
  for (let number = 1; number <= rounds; number += 1) {
    const surge = await surgeOnce(trial, kind, policy.surgeFactor * before);
    const after = await peakOver(connections);
    const round = { ...surge, peaks: { before, after } };
    say(
      `${kind}, round ${number}: ${Math.round(peakOf(round))}/s at the peak, ` +
        `${Math.round(round.during.servedPerSecond)}/s in the surge, ` +
        `recovered after ${Math.round(round.recoveryMs)} ms.`,
    );
    seen.push(round);
    before = after;
  }
  return { kind, rounds: seen };

  async function peakOver(connections: number): Promise<number> {
    return (await goThrough(trial, kind, { connections })).servedPerSecond;
  }
}

async function surgeOnce(trial: Trial, kind: Kind, perSecond: number) {
  const { shop, seconds } = trial;
  const usual = await probe(shop.url, kind, 2000);
  const memory = watchMemory(shop);
  const checked = await account(shop);
  const [during, after] = await Promise.all([
    send(trial, kind, { perSecond, connections: policy.connections }),
    sleep(seconds * 1000).then(() => probe(shop.url, kind, policy.afterMs)),
  ]);
  const bearableMs = Math.max(2 * latenciesOf(usual.map(waitOf)).max, policy.bearableMs);
  const lastBad = after.findLast((one) => !one.ok || waitOf(one) > bearableMs);
  const seen = {
    during,
    memory: memory.end(),
    // The surge began when its connections were open, and ended as much later.
    recoveryMs: Math.max(0, (lastBad?.endedMs ?? 0) - during.openingMs),
  };
  await checked(kind === 'purchase' ? during : undefined, after);
  return seen;
}

interface Probe {
  readonly beganMs: number;
  readonly endedMs: number;
  readonly ok: boolean;
  /** Told for certain that nothing was done. */
  readonly isRefused: boolean;
}

const waitOf = ({ beganMs, endedMs }: Probe) => endedMs - beganMs;

/** Somebody who asks at a leisurely pace; in milliseconds from the start. */
async function probe(url: string, kind: Kind, forMs: number): Promise<Probe[]> {
  const client = connect(url);
  const fromMs = performance.now();
  const probes: Promise<Probe>[] = [];
  const question =
    kind === 'purchase'
      ? ({ method: 'POST', path: '/purchase/1' } as const)
      : ({ method: 'GET', path: '/info/1' } as const);

  async function ask(): Promise<Probe> {
    const beganMs = performance.now() - fromMs;
    const { ok, isRefused } = await client.ask(question).then(
      ({ status, body }) => ({
        ok: status === 200,
        isRefused: status === 503 && saysNothingCame(JSON.stringify(body)),
      }),
      () => ({ ok: false, isRefused: false }),
    );
    return { beganMs, endedMs: performance.now() - fromMs, ok, isRefused };
  }

  while (performance.now() - fromMs < forMs) {
    probes.push(ask());
    await sleep(policy.probeMs);
  }
  const all = await Promise.all(probes);
  await client.close();
  return all;
}

/** The most memory that each process held, in bytes. */
function watchMemory(shop: ShopContestant) {
  const most: Record<string, number> = {};
  const look = () => {
    for (const [name, pid] of Object.entries(shop.pids())) {
      most[name] = Math.max(most[name] ?? 0, residentBytes(pid));
    }
  };
  look();
  const before = { ...most };
  const looking = setInterval(look, policy.sampleMs);
  return {
    end() {
      clearInterval(looking);
      look();
      return { before, most };
    },
  };
}
