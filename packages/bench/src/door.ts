import type { Client } from './client.js';

/** A front door, and whether it is stopped at the moment. */
export interface Door {
  readonly client: Client;
  readonly pause: () => void;
  readonly resume: () => void;
  paused: boolean;
}
