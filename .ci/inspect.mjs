// Looks at every container of a shop that runs under compose: that it may do no more than it needs,
// takes no more than it is given, and sees no secrets but its own. The arguments are the compose
// command: `node .ci/inspect.mjs docker compose --profile scale`.
import { execFileSync } from 'node:child_process';

/** Far above ours, far below an image that carries what only a build needs. */
const maxImageBytes = 500_000_000;

/** What each may find in `/secrets`, replicas under the name of their service. */
const secretsOf = {
  gateway: ['service_token'],
  catalog: ['admin_token', 'database_url', 'service_token'],
  order: ['admin_token', 'database_url', 'service_token'],
  front: [],
};

/** The database becomes its own user by itself, and is no image of ours. */
const allowances = {
  postgres: {
    root: true,
    added: ['CHOWN', 'DAC_OVERRIDE', 'FOWNER', 'SETGID', 'SETUID'],
    foreign: true,
  },
  databases: { foreign: true },
};

/** @param {string[]} words a command and its arguments */
function run([command, ...words]) {
  return execFileSync(command, words, { encoding: 'utf8' }).trim();
}

/** @param {string[]} ids */
const inspect = (ids) => JSON.parse(run(['docker', 'inspect', ...ids]));

/** Every rule: what is wrong with a container that breaks it, and whether this one keeps it. */
const rules = {
  'runs as root': ({ Config }, { root }) => root || !/^(0|root)?(:|$)/.test(Config.User),
  'can write its root': ({ HostConfig }) => HostConfig.ReadonlyRootfs,
  'keeps capabilities': ({ HostConfig }) => HostConfig.CapDrop?.includes('ALL'),
  'may gain privileges': ({ HostConfig }) =>
    HostConfig.SecurityOpt?.some((option) => /^no-new-privileges(:true)?$/.test(option)),
  'has no bound on its memory': ({ HostConfig }) => HostConfig.Memory > 0,
  'has no bound on its processes': ({ HostConfig }) => HostConfig.PidsLimit > 0,
  'has no bound on its processors': ({ HostConfig }) =>
    HostConfig.CpuQuota > 0 || HostConfig.NanoCpus > 0,
  'has no bound on its log': ({ HostConfig }) => {
    const { 'max-size': size, 'max-file': files } = HostConfig.LogConfig.Config;
    return size && files;
  },
  'does not come back after a crash, and is no job that has done its work': ({
    HostConfig,
    State,
  }) =>
    State.Running
      ? HostConfig.RestartPolicy.Name === 'unless-stopped'
      : State.Status === 'exited' && State.ExitCode === 0,
};

/** Which of the rules a container breaks. */
function broken(container, allowance = {}) {
  return Object.entries(rules)
    .filter(([, keeps]) => !keeps(container, allowance))
    .map(([complaint]) => complaint);
}

/** What else is wrong with one of ours. */
function complaintsAbout({ Id, Config, HostConfig, Image, State }) {
  const service = Config.Labels['com.docker.compose.service'];
  const allowance = allowances[service] ?? {};
  const found = broken({ Config, HostConfig, State }, allowance);
  const added = (HostConfig.CapAdd ?? []).map((name) => name.replace(/^CAP_/, ''));
  const more = added.filter((name) => !allowance.added?.includes(name));
  if (more.length > 0) found.push(`was given ${more.join(', ')}`);
  const [{ Size: bytes }] = inspect([Image]);
  if (!allowance.foreign && bytes > maxImageBytes) found.push(`its image has ${bytes} bytes`);
  const secrets = secretsOf[service.replace(/-\d+$/, '')];
  if (secrets !== undefined && State.Running) {
    const seen = run(['docker', 'exec', Id, 'ls', '/secrets']).split('\n').filter(Boolean);
    if (seen.join() !== secrets.join()) found.push(`sees the secrets ${seen.join(', ')}`);
  }
  console.log(
    `${service}: ${Math.round(bytes / 1e6)} MB, ${found.join('; ') || 'as it should be'}`,
  );
  return found;
}

/** A check that finds nothing proves nothing: it has to find everything in a container without. */
function seeItFail(image) {
  const id = run(['docker', 'create', '--user', 'root', image]);
  try {
    const missed = Object.keys(rules).length - broken(inspect([id])[0]).length;
    if (missed > 0) throw new Error(`${missed} of the rules are not broken by a bare container.`);
  } finally {
    run(['docker', 'rm', id]);
  }
}

const compose = process.argv.slice(2);
const ids = run([...compose, 'ps', '--all', '--quiet'])
  .split('\n')
  .filter(Boolean);
if (ids.length === 0) throw new Error('There is no container.');
const containers = inspect(ids);
seeItFail(containers[0].Image);
if (containers.flatMap(complaintsAbout).length > 0) process.exitCode = 1;
