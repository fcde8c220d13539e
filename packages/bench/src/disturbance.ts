import { setTimeout as sleep } from 'node:timers/promises';
import type { Delays } from './delays.js';
import type { Door } from './door.js';
import type { Wire } from './wire.js';

export interface DisturbanceOptions {
  readonly doors: readonly Door[];
  readonly wires: readonly Wire[];
  readonly random: () => number;
  readonly delays: Delays;
}

const [shortestMs, longestMs] = [100, 5000];
const maxQuietMs = 1500;
const maxHoldMs = 3000;

/** Stops gateways and breaks connections, one trouble after the other, until it is stopped. */
export function startDisturbing({ doors, wires, random, delays }: DisturbanceOptions) {
  const giveUp = new AbortController();
  const wait = (ms: number) => sleep(ms, undefined, { signal: giveUp.signal });
  const pick = <Item>(items: readonly Item[]) => items[Math.floor(random() * items.length)];

  async function stopGateway(): Promise<void> {
    const door = pick(doors);
    if (door === undefined) return;
    const resumed = delays.pause(performance.now());
    door.paused = true;
    door.pauses += 1;
    door.pause();
    try {
      // As many short pauses as long ones, by orders of magnitude.
      await wait(shortestMs * (longestMs / shortestMs) ** random());
    } finally {
      door.resume();
      door.paused = false;
      resumed(performance.now());
    }
  }

  async function holdConnections(): Promise<void> {
    const wire = pick(wires);
    wire?.hold();
    try {
      await wait(random() * maxHoldMs);
    } finally {
      wire?.letGo();
    }
  }

  async function cutConnections(): Promise<void> {
    pick(wires)?.cut();
  }

  const troubles = [stopGateway, stopGateway, holdConnections, cutConnections];
  async function disturb(): Promise<void> {
    try {
      for (;;) {
        await wait(random() * maxQuietMs);
        await pick(troubles)?.();
      }
    } catch (error) {
      if (!giveUp.signal.aborted) throw error;
    }
  }
  const disturbed = disturb();

  return {
    async stop(): Promise<void> {
      giveUp.abort();
      await disturbed;
    },
  };
}
