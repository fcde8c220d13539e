import type { Client } from './client.js';

/** A front door, whether it is stopped at the moment, and how often it was. */
export interface Door {
  readonly client: Client;
  readonly pause: () => void;
  readonly resume: () => void;
  paused: boolean;
  pauses: number;
}
