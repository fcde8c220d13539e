import { readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import ts from 'typescript';

// docs/operating.md explains each line that a service may log at warn and above: an operator who is
// woken by one that stands nowhere has nothing but the source.

const root = fileURLToPath(new URL('../../..', import.meta.url));
const levels = ['warn', 'error', 'fatal'];
/** Stands for what is filled in. */
const gap = '\0';

function sources(): string[] {
  const apps = readdirSync(join(root, 'apps'), { withFileTypes: true });
  const rooms = [
    ...apps.filter((entry) => entry.isDirectory()).map(({ name }) => `apps/${name}`),
    ...['service', 'storage', 'postgres'].map((name) => `packages/${name}`),
  ];
  const files = rooms.flatMap((room) => {
    const names = readdirSync(join(root, room, 'src'), { recursive: true, encoding: 'utf8' });
    return names
      .filter((name) => name.endsWith('.ts'))
      .map((name) => join(root, room, 'src', name));
  });
  // What stops our services in order logs lines of its own.
  const fromService = createRequire(join(root, 'packages/service/package.json'));
  return [...files, fromService.resolve('close-with-grace')];
}

/** The texts that an expression can come to, with gaps; none where it is no text of this place. */
function textsOf(node: ts.Expression): string[] {
  if (ts.isStringLiteralLike(node)) return [node.text];
  if (ts.isParenthesizedExpression(node)) return textsOf(node.expression);
  if (ts.isConditionalExpression(node)) {
    return [...textsOf(node.whenTrue), ...textsOf(node.whenFalse)];
  }
  if (ts.isTemplateExpression(node)) {
    const rest = node.templateSpans.map(({ literal }) => gap + literal.text);
    return [node.head.text + rest.join('')];
  }
  if (ts.isBinaryExpression(node) && node.operatorToken.kind === ts.SyntaxKind.PlusToken) {
    const ends = textsOf(node.right);
    return textsOf(node.left).flatMap((start) => ends.map((end) => start + end));
  }
  return [];
}

/** `log('warn', sentence)`, `onCut(sentence)` and `logger.warn(fields, sentence)`. */
function sentenceOf({ expression, arguments: given }: ts.CallExpression) {
  if (ts.isIdentifier(expression)) {
    const [level, sentence] = given;
    if (expression.text === 'onCut') return level;
    const isTold = level && ts.isStringLiteralLike(level) && levels.includes(level.text);
    return expression.text === 'log' && isTold ? sentence : undefined;
  }
  if (!ts.isPropertyAccessExpression(expression)) return undefined;
  const isLogger = /log(ger)?$/.test(expression.expression.getText());
  return isLogger && levels.includes(expression.name.text) ? given.at(-1) : undefined;
}

function linesIn(text: string): string[] {
  const found: string[] = [];
  function look(node: ts.Node): void {
    const sentence = ts.isCallExpression(node) ? sentenceOf(node) : undefined;
    if (sentence !== undefined) found.push(...textsOf(sentence));
    ts.forEachChild(node, look);
  }
  look(ts.createSourceFile('source.ts', text, ts.ScriptTarget.Latest, true));
  return found;
}

/** What stands between backquotes in the first cell of the rows of the table of lines. */
function rowsOf(page: string): string[] {
  const [, table = ''] = page.split(/^### What lines at `warn` and above mean$/m);
  const [section = ''] = table.split(/^## /m);
  const cells = [...section.matchAll(/^\|(.*?) \| /gm)].map(([, cell]) => cell ?? '');
  return cells.flatMap((cell) =>
    [...cell.matchAll(/`([^`]+)`/g)].map(([, row]) => (row ?? '').replace(/ …$/, '')),
  );
}

function matcher(text: string, hole: string, end: string): RegExp {
  const parts = text.split(hole).map((part) => part.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&'));
  return new RegExp(`^${parts.join('.*')}${end}`, 's');
}

/** A row may leave out the end of a line, and name what the line leaves open. */
function isCovered(line: string, rows: readonly string[]): boolean {
  return rows.some((row) => matcher(row, '…', '').test(line) || matcher(line, gap, '$').test(row));
}

const rows = rowsOf(readFileSync(join(root, 'docs/operating.md'), 'utf8'));

t.test('when a service may log a line, then the operator is told what it means', async (t) => {
  const lines = sources().flatMap((file) => linesIn(readFileSync(file, 'utf8')));
  t.ok(lines.length > 30, `${lines.length} lines were found`);
  for (const line of lines) t.ok(isCovered(line, rows), line.replaceAll(gap, '…'));
});

t.test('when a line stands in no row, then that is noticed', async (t) => {
  const made = `log('warn', \`the \${name} is on fire\`); app.log.fatal({ err }, 'gone' + x('y'));
    logger.error(fields, isHot ? 'it is hot' : 'it is cold'); log('info', 'fine'); log(level, 'x');`;
  const found = linesIn(made);
  t.same(found, [`the ${gap} is on fire`, 'it is hot', 'it is cold']);
  for (const line of found) t.notOk(isCovered(line, rows), line.replaceAll(gap, '…'));
  t.ok(isCovered('it is hot', ['it is …']));
  t.ok(isCovered(`${gap}: refused`, ['… is not there: refused']));
});
