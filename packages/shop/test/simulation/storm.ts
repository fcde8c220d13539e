import type { Clock, Node, Random, SimulatedDisk } from '@bazar/simulation';
import { count, type Evidence } from './evidence.js';
import type { Kept } from './keeping.js';
import { gateways } from './people.js';
import type { Life } from './services.js';
import type { Weather } from './wire.js';

/** What can be struck. */
export interface Targets {
  readonly clock: Clock;
  readonly catalog: Kept<Life>;
  readonly orders: Kept<Life>;
  readonly gateways: readonly Kept<Life>[];
  readonly catalogDisk: SimulatedDisk;
  readonly orderDisk: SimulatedDisk;
  readonly partition: (one: string, other: string) => void;
  readonly heal: () => void;
  readonly evidence: Evidence;
}

export function drawWeather(random: Random): Weather {
  const isRough = random.chance(0.6);
  return {
    loss: isRough ? random.next() * 0.06 : 0,
    duplication: random.chance(0.5) ? random.next() * 0.1 : 0,
    delayMs: random.pick([
      [0.1, 2],
      [0.1, 2],
      [0.1, 30],
      [0.1, 250],
    ] as const),
  };
}

/** Strikes the shop at random moments for about as long as its people are busy. */
export async function rage(targets: Targets, random: Random): Promise<void> {
  const strikes = random.integer(12);
  for (let strike = 0; strike < strikes; strike += 1) {
    await targets.clock.sleep(random.next() * 400);
    const name = random.pick(strikeNames);
    count(targets.evidence, name);
    await strikeTable[name](targets, random);
  }
}

/** One of the two services that keep something, with its disk. */
function pickStored({ catalog, orders, catalogDisk, orderDisk }: Targets, random: Random) {
  return random.chance(0.5)
    ? { kept: catalog, disk: catalogDisk }
    : { kept: orders, disk: orderDisk };
}

function pickAny(targets: Targets, random: Random): Kept<Life> {
  return random.pick([targets.catalog, targets.orders, ...targets.gateways]);
}

/** Loses power: what was not synced may be gone. */
function losePower(kept: Kept<Life>, disk: SimulatedDisk): void {
  disk.powerLoss();
  kept.crash();
}

/**
 * Runs once, at one of the next calls to the disk, or of its writes, behind which answers wait; a
 * disk at rest ends the wait for it.
 */
function atSomeCall({ clock }: Targets, disk: SimulatedDisk, random: Random, run: () => void) {
  const writesOnly = random.chance(0.5);
  let calls = 1 + random.integer(writesOnly ? 2 : 8);
  return new Promise<void>((resolve) => {
    const end = () => {
      forget();
      cancel();
      resolve();
    };
    const cancel = clock.after(2000, end);
    const forget = disk.watch(({ name }) => {
      if (writesOnly && name !== 'write' && name !== 'datasync') return;
      calls -= 1;
      if (calls > 0) return;
      end();
      run();
    });
  });
}

type Strike = (targets: Targets, random: Random) => Promise<void> | void;

const strikeTable = {
  kill: (targets, random) => pickAny(targets, random).crash(),
  'kill at a disk call'(targets, random) {
    const { kept, disk } = pickStored(targets, random);
    return atSomeCall(targets, disk, random, kept.crash);
  },
  stop(targets, random) {
    // It may be killed on the way, and then this is never heard of again.
    void pickAny(targets, random).stop();
  },
  'kill both'({ catalog, orders }) {
    catalog.crash();
    orders.crash();
  },
  'power loss'(targets, random) {
    const { kept, disk } = pickStored(targets, random);
    losePower(kept, disk);
  },
  'power loss at a disk call'(targets, random) {
    const { kept, disk } = pickStored(targets, random);
    return atSomeCall(targets, disk, random, () => losePower(kept, disk));
  },
  async pause(targets, random) {
    const { node } = pickAny(targets, random);
    node.pause();
    await targets.clock.sleep(random.next() * 1500);
    resume(node);
  },
  async 'full disk'(targets, random) {
    const { disk } = pickStored(targets, random);
    const { clock, evidence, orderDisk } = targets;
    const used = [...disk.files().values()].reduce((sum, bytes) => sum + bytes.length, 0);
    disk.resize(used + random.integer(2048));
    const shortage = { from: clock.now(), to: Number.POSITIVE_INFINITY };
    if (disk === orderDisk) evidence.shortages.push(shortage);
    await clock.sleep(200 + random.next() * 1500);
    shortage.to = clock.now();
    disk.resize(undefined);
  },
  'failing sync'(targets, random) {
    const { disk } = pickStored(targets, random);
    const forget = disk.fail({
      at({ name }) {
        if (name !== 'datasync' && name !== 'sync') return false;
        forget();
        return true;
      },
      error: 'EIO',
    });
  },
  async partition(targets, random) {
    const [one, other] = random.pick([
      ['order', 'catalog'] as const,
      ...gateways.map((name) => [name, 'order'] as const),
      ...gateways.map((name) => [name, 'catalog'] as const),
    ]);
    targets.partition(one, other);
    await targets.clock.sleep(random.next() * 1500);
    targets.heal();
  },
} satisfies Record<string, Strike>;

const strikeNames = Object.keys(strikeTable) as (keyof typeof strikeTable)[];

function resume(node: Node): void {
  if (node.alive) node.resume();
}
