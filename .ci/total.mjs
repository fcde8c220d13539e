// Adds up what the suites of all packages left in `.tap/test-results`; the total is the last line.
// Only leaves count, for the closing line of a subtest repeats what is inside it. A suite that
// should have run and left no trace is a failure: silence is never green. Every failure is named.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { Parser } from 'tap-parser';

/** @typedef {{ passed: number, failed: number, skipped: number }} Count */

/**
 * Counts the leaf assertions of one level and of the levels below it.
 * @param {Parser} parser of a text that is yet to be fed in
 * @param {Count} count is added to
 * @param {string} place where this level stands: its file, and the subtests around it
 */
function countLeaves(parser, count, place) {
  let isSubtest = false;
  let failedBefore = 0;
  parser.on('child', (child) => {
    isSubtest = true;
    failedBefore = count.failed;
    countLeaves(child, count, `${place} > ${child.name}`);
  });
  parser.on('assert', ({ ok, skip, todo, name, diag }) => {
    const fail = () => {
      count.failed += 1;
      console.log(`${place} > ${name}${diag ? `: ${JSON.stringify(diag).slice(0, 500)}` : ''}`);
    };
    if (!isSubtest) {
      if (skip || todo) count.skipped += 1;
      else if (ok) count.passed += 1;
      else fail();
    } else if (!ok && !todo && count.failed === failedBefore) {
      // A subtest may fail with every line in it green: a plan not kept, a time-out.
      fail();
    }
    isSubtest = false;
  });
}

/**
 * @param {string} file of results, in the Test Anything Protocol
 * @returns {Count}
 */
function countFile(file) {
  const count = { passed: 0, failed: 0, skipped: 0 };
  const parser = new Parser(({ ok, plan }) => {
    const ranNothing = count.passed + count.failed + count.skipped === 0;
    if (ranNothing && plan.skipAll && plan.skipReason !== 'no tests found') count.skipped += 1;
    // A file that did not load leaves an empty text, a killed one a text without its plan.
    else if (ranNothing || (!ok && count.failed === 0)) {
      count.failed += 1;
      console.log(`${file} > has not run to its end`);
    }
  });
  countLeaves(parser, count, file);
  parser.end(existsSync(file) ? readFileSync(file, 'utf8') : '');
  return count;
}

/**
 * @param {string} folder of a package that has a test script
 * @returns {Count}
 */
function countPackage(folder) {
  const tests = existsSync(`${folder}/test`)
    ? readdirSync(`${folder}/test`, { recursive: true, encoding: 'utf8' })
    : [];
  const counts = tests
    .filter((test) => test.endsWith('.test.ts'))
    .map((test) => `${folder}/.tap/test-results/test/${test}.tap`)
    .map(countFile);
  return counts.length === 0 ? { passed: 0, failed: 1, skipped: 0 } : sum(counts);
}

/**
 * @param {Count[]} counts
 * @returns {Count}
 */
function sum(counts) {
  return {
    passed: counts.reduce((total, { passed }) => total + passed, 0),
    failed: counts.reduce((total, { failed }) => total + failed, 0),
    skipped: counts.reduce((total, { skipped }) => total + skipped, 0),
  };
}

/** @param {Count} count */
function inWords({ passed, failed, skipped }) {
  return `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`;
}

const counts = ['apps', 'packages']
  .flatMap((group) => readdirSync(group).map((name) => `${group}/${name}`))
  .filter((folder) => existsSync(`${folder}/package.json`))
  .filter((folder) => JSON.parse(readFileSync(`${folder}/package.json`, 'utf8')).scripts?.test)
  .map((folder) => {
    const count = countPackage(folder);
    console.log(`${folder}: ${inWords(count)}`);
    return count;
  });
const total = sum(counts);
console.log(inWords(total));
process.exitCode = total.failed > 0 || total.passed === 0 ? 1 : 0;
