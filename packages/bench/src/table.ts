import { inDigits } from './plot.js';
import type { Summary } from './summary.js';

const columns = [
  'workload',
  'at',
  'contestant',
  'req/s',
  'compared',
  'p50 ms',
  'p99 ms',
  'CPU µs/req',
  'memory MB',
] as const;

/** The summaries as rows of text, the first of them the heads of the columns. */
export function tableOf(summaries: readonly Summary[]): string[][] {
  return [
    [...columns],
    ...summaries.map((summary) => [
      summary.label,
      String(summary.connections),
      summary.contestant,
      inDigits(summary.perSecond),
      compared(summary),
      inDigits(summary.p50),
      inDigits(summary.p99),
      summary.cpuMicros === 0 ? '' : inDigits(summary.cpuMicros),
      Object.entries(summary.residentBytes)
        .map(([process, bytes]) => `${process} ${Math.round(bytes / 1e6)}`)
        .join(', '),
    ]),
  ];
}

function compared({ ratios, rounds }: Summary): string {
  return Object.entries(ratios)
    .map(([other, { median, least, most }]) => {
      const spread = rounds > 1 ? ` (${inDigits(least)} to ${inDigits(most)})` : '';
      return `${inDigits(median)} of ${other}${spread}`;
    })
    .join('; ');
}

/** Columns of equal width, for a terminal. */
export function forTerminal(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) =>
    Math.max(...rows.map((row) => row[column]?.length ?? 0)),
  );
  return rows
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

export function forMarkdown(rows: readonly (readonly string[])[]): string {
  const [head = [], ...body] = rows;
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell) => cell.replace(/\|/g, '\\|')).join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...body.map(line)].join('\n');
}

/** Values in a row each, RFC 4180. */
export function forCsv(rows: readonly (readonly (string | number)[])[]): string {
  const cell = (value: string | number) =>
    /[",\n]/.test(String(value)) ? `"${String(value).replace(/"/g, '""')}"` : String(value);
  return `${rows.map((row) => row.map(cell).join(',')).join('\n')}\n`;
}
