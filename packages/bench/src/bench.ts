import { join } from 'node:path';
import { startScript } from './contestant.js';
import { busyWarning, inWords, lookAtMachine } from './machine.js';
import type { Options } from './options.js';
import { writeReport } from './report.js';
import type { Results } from './suite.js';
import { suites } from './suites.js';
import { inFolder, type Surroundings } from './surroundings.js';

/**
 * Measures the chosen suites and writes the report.
 *
 * @throws BenchFailure when an answer was missing or wrong, or the conservation law was broken
 */
export async function runBench(options: Options, { reportFolder, say }: Surroundings) {
  const results: Results = { measurements: [], memories: [] };
  await inFolder(async (folder) => {
    const machine = lookAtMachine(folder);
    const warning = busyWarning(machine);
    say(`On ${inWords(machine)}.`);
    if (warning !== undefined) say(warning);
    const generator = await startScript('load generator', 'generator');
    try {
      for (const name of options.only) {
        await suites[name]({ options, folder, generatorUrl: generator.url, results, say });
      }
    } finally {
      await generator.stop();
    }
    const input = { folder: reportFolder, machine, warning, options, results };
    say(`\n${await writeReport(input)}\n\nThe report is ${join(reportFolder, 'report.md')}.`);
  });
  return results;
}
