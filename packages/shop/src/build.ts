import { spawn } from 'node:child_process';
import { join } from 'node:path';
import type { ServiceName } from './service.js';

/** What a build came to: what every service is made of now, or the compiler's complaints. */
export type BuildResult =
  | { readonly ok: true; readonly hashes: Readonly<Record<ServiceName, string>> }
  | { readonly ok: false; readonly output: string };

export type Build = () => Promise<BuildResult>;

/**
 * Builds what the shop consists of with turbo, which knows who depends on whom and leaves alone
 * what has not changed. A service's hash covers its own sources and those of all that it imports.
 *
 * @param root the folder of the workspace
 */
export function turboBuild(root: string): Build {
  const run = ['run', 'build', '--filter=@bazar/shop...'];
  return async () => {
    // Asked before the build: what changes during it makes another hash, and another build.
    const plan = await turbo(root, [...run, '--dry=json']);
    if (plan.code !== 0) return { ok: false, output: plan.errors };
    const built = await turbo(root, [...run, '--output-logs=errors-only']);
    if (built.code !== 0) return { ok: false, output: built.output };
    const { catalog, order, gateway } = hashesIn(plan.output);
    if (catalog === undefined || order === undefined || gateway === undefined) {
      return { ok: false, output: 'turbo did not say what the services are made of.' };
    }
    return { ok: true, hashes: { catalog, order, gateway } };
  };
}

interface Ended {
  readonly code: number | null;
  readonly output: string;
  readonly errors: string;
}

function turbo(root: string, args: readonly string[]): Promise<Ended> {
  return new Promise((resolve) => {
    const child = spawn(join(root, 'node_modules/.bin/turbo'), args, {
      cwd: root,
      env: { ...process.env, TURBO_TELEMETRY_DISABLED: '1', TURBO_NO_UPDATE_NOTIFIER: '1' },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let output = '';
    let errors = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      errors += text;
    });
    child.once('error', (error) => resolve({ code: null, output: '', errors: error.message }));
    child.once('close', (code) => resolve({ code, output, errors }));
  });
}

/** Service name → hash of its build task, from the answer of `turbo run build --dry=json`. */
function hashesIn(json: string): Record<string, string | undefined> {
  const plan: unknown = JSON.parse(json);
  const tasks = typeof plan === 'object' && plan !== null && 'tasks' in plan ? plan.tasks : [];
  const hashes: Record<string, string> = {};
  for (const task of Array.isArray(tasks) ? tasks : []) {
    if (isTask(task)) hashes[task.package.replace('@bazar/', '')] = task.hash;
  }
  return hashes;
}

function isTask(task: unknown): task is { package: string; hash: string } {
  if (typeof task !== 'object' || task === null) return false;
  if (!('package' in task) || !('hash' in task)) return false;
  return typeof task.package === 'string' && typeof task.hash === 'string';
}
