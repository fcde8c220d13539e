import { cpSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { builtMain } from '../../src/launch.js';
import type { ServiceName } from '../../src/service.js';

/** A rule of a service, as a text of one of its built files, and what stands in its place. */
export interface Mutation {
  readonly service: ServiceName;
  readonly file: string;
  readonly rule: string;
  readonly broken: string;
}

/**
 * Builds a service that breaks a rule: a copy of the built one.
 * @param folder an empty one, for the copy
 * @returns the script to run: a path
 */
export function buildMutant(folder: string, { service, file, rule, broken }: Mutation): string {
  const dist = dirname(builtMain(service));
  const app = dirname(dist);
  cpSync(dist, join(folder, 'dist'), { recursive: true });
  // What it imports, and its statements of SQL, are found where they are.
  for (const name of ['node_modules', 'package.json', 'src']) {
    symlinkSync(join(app, name), join(folder, name));
  }
  const path = join(folder, 'dist', file);
  const parts = readFileSync(path, 'utf8').split(rule);
  if (parts.length !== 2) throw new TypeError(`${file} does not have this rule once: ${rule}`);
  writeFileSync(path, parts.join(broken));
  return join(folder, 'dist', 'main.js');
}
