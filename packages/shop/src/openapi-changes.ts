import { topFolder } from './openapi/document.js';
import { report } from './openapi/report.js';
import { changesSince, NoComparison, usualReference } from './openapi/since.js';

process.exitCode = await tell(process.argv.slice(2));

/**
 * Prints what has changed in the documents.
 *
 * @param args the commit to compare with, if it is not the usual one
 * @returns the exit code: 1 when a change breaks clients, and when there is no comparison
 */
async function tell(args: readonly string[]): Promise<number> {
  try {
    const [reference = await usualReference(topFolder)] = args;
    const { lines, breaks } = report(await changesSince(reference, topFolder), reference);
    console.log(lines.join('\n'));
    return breaks ? 1 : 0;
  } catch (error) {
    if (!(error instanceof NoComparison)) throw error;
    console.error(error.message);
    return 1;
  }
}
