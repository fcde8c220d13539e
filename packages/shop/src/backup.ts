import { troubleOf } from '@bazar/storage';
import { backUp } from './copy.js';
import { foldersNamed } from './folders.js';

process.exitCode = await backup(process.argv.slice(2), process.env);

/**
 * Copies the files of a shop, which may sell meanwhile.
 *
 * @param args the folder to make; then, if they are not in `DATA_DIR`, the folder of the files, or
 *   those of the catalog and of the order service, in any order
 * @returns the exit code: 0 when the copy is there, and whole
 */
async function backup(args: readonly string[], env: NodeJS.ProcessEnv): Promise<number> {
  const [to, folder = env['DATA_DIR'] || './data', other, ...more] = args;
  if (to === undefined || more.length > 0) {
    console.error(
      'Name the folder to make, and then, if it is not DATA_DIR, that of the files (or two: that of ' +
        'the catalog and that of the order log).',
    );
    return 1;
  }
  try {
    const { audit } = await backUp(await foldersNamed(folder, other), to);
    console.log(
      `${to} is a shop of ${audit.books} books, ${audit.remaining} copies left and ${audit.sold} ` +
        'sold. To restore it, put its files in the place of those of a stopped shop.',
    );
    return 0;
  } catch (error) {
    const trouble = troubleOf(error);
    if (trouble === undefined) throw error;
    console.error(`Nothing was backed up: ${trouble}`);
    return 1;
  }
}
