import type { Audit, Difference } from '@bazar/contracts';
import { StorageError } from '@bazar/storage';
import { auditFiles, type Conservation } from './conservation.js';
import { foldersNamed } from './folders.js';

// Not merely the exit code: whoever scripts this asks "does it hold?", and no answer is a no.
process.exitCode = await audit(process.argv.slice(2), process.env);

/**
 * Prints what the files of a stopped shop come to.
 *
 * @param args the folder of the files, or the catalog's and the order service's, in any order
 * @returns the exit code: 0 when the law holds
 */
async function audit(args: readonly string[], env: NodeJS.ProcessEnv): Promise<number> {
  const [folder = env['DATA_DIR'] || './data', other, ...more] = args;
  if (more.length > 0) {
    console.error('Name one folder, or the folder of the catalog and that of the order log.');
    return 1;
  }
  try {
    const found = await auditFiles(await foldersNamed(folder, other));
    console.log(report(found).join('\n'));
    return holds(found) ? 0 : 1;
  } catch (error) {
    const isForPeople =
      error instanceof StorageError || (error instanceof Error && 'code' in error);
    if (!isForPeople) throw error;
    console.error(`The files cannot be audited: ${error.message}`);
    return 1;
  }
}

function holds({ audit, contradiction }: Conservation): boolean {
  return audit.balanced && contradiction === undefined;
}

function report(found: Conservation): string[] {
  const { audit, pending, contradiction, notes } = found;
  return [
    ...notes.map((note) => `A start would say: ${note}`),
    ...table(audit),
    ...pending.map(({ sale, orderId, itemId }) => {
      return `sale ${sale} is pending: order ${orderId}, a copy of book ${itemId}`;
    }),
    ...more(audit.pending - pending.length, 'pending sales'),
    ...audit.differences.flatMap(differences),
    ...(contradiction === undefined ? [] : [contradiction]),
    verdict(found),
  ];
}

/** The sums over all books, one a line. */
function table(audit: Audit): string[] {
  const rows = (['books', 'stocked', 'remaining', 'sold', 'logged', 'pending'] as const).map(
    (name) => [name, String(audit[name])] as const,
  );
  const width = Math.max(...rows.map(([, value]) => value.length));
  return rows.map(([name, value]) => `${name.padEnd(10)} ${value.padStart(width)}`);
}

function differences({ item_id, stocked, remaining, sold, logged, pending }: Difference): string[] {
  const found: string[] = [];
  if (stocked !== remaining + sold) {
    found.push(`book ${item_id}: ${stocked} stocked, but ${remaining} remaining and ${sold} sold`);
  }
  if (sold !== logged + pending) {
    found.push(`book ${item_id}: ${sold} sold, but ${logged} logged and ${pending} pending`);
  }
  return found;
}

function more(count: number, what: string): string[] {
  return count > 0 ? [`and ${count} more ${what}`] : [];
}

function verdict(found: Conservation): string {
  if (!holds(found)) return 'The books do not balance.';
  const later = found.audit.pending > 0 ? '; the next start logs what is pending' : '';
  return `Every copy stocked is either left or sold once${later}.`;
}
