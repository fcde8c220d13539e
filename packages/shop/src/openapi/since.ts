import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { ServiceName } from '../service.js';
import { type Change, compareDocuments } from './changes.js';
import { described, pathOf } from './document.js';

const run = promisify(execFile);
const maxBytes = 64 * 1024 * 1024;

/** A comparison that could not be made; the message is a sentence. */
export class NoComparison extends Error {
  override readonly name = 'NoComparison';
}

async function git(folder: string, ...args: readonly string[]): Promise<string> {
  const { stdout } = await run('git', args, { cwd: folder, maxBuffer: maxBytes });
  return stdout.trim();
}

/** `origin/main`, or the last commit where there is none. */
export async function usualReference(folder: string): Promise<string> {
  const main = 'origin/main';
  const isKnown = git(folder, 'rev-parse', '--verify', '--quiet', main).then(
    () => true,
    () => false,
  );
  return (await isKnown) ? main : 'HEAD';
}

/**
 * What has changed in the documents of all services between a commit and the files as they are now.
 * A document that the commit has not got counts as one without routes.
 *
 * @param reference a commit as git knows it
 * @throws NoComparison when git does not know it, or a document cannot be read
 */
export async function changesSince(
  reference: string,
  folder: string,
): Promise<Map<ServiceName, Change[]>> {
  const commit = await git(
    folder,
    'rev-parse',
    '--verify',
    '--end-of-options',
    `${reference}^{commit}`,
  ).catch((error: unknown) => {
    throw new NoComparison(`git knows no commit ${reference} in ${folder}.`, { cause: error });
  });
  const found = new Map<ServiceName, Change[]>();
  for (const service of described) {
    const path = pathOf(service);
    const isThere = (await git(folder, 'ls-tree', '--name-only', commit, path)) !== '';
    const before = isThere ? await git(folder, 'show', `${commit}:./${path}`) : '{}';
    const after = await readFile(join(folder, path), 'utf8').catch((error: unknown) => {
      throw new NoComparison(`There is no ${path}: run pnpm openapi.`, { cause: error });
    });
    found.set(service, compareDocuments(parsed(before, path), parsed(after, path)));
  }
  return found;
}

function parsed(text: string, path: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new NoComparison(`${path} is no JSON: run pnpm openapi.`, { cause: error });
  }
}
