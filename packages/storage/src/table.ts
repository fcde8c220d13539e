import { isUtf8 } from 'node:buffer';
import { createHash } from 'node:crypto';
import { basename } from 'node:path';
import Papa from 'papaparse';
import type { Disk } from './disk.js';
import { BadFile } from './errors.js';
import { maxLineBytes, newline, wholeLines } from './lines.js';

export type Row<Column extends string> = Readonly<Record<Column, string>>;

export interface ReadTableOptions<Column extends string> {
  readonly disk: Disk;
  readonly path: string;
  /** All the columns that the file must have, in any order, and no others. */
  readonly columns: readonly Column[];
  /**
   * Is given the cells as text, and the line from 1 on, the header included. What it throws ends
   * the reading. Cells are slices of about 1 MiB of text: copy those of the few you keep.
   */
  readonly onRow: (row: Row<Column>, line: number) => void;
}

export interface TableSummary {
  readonly rows: number;
  /** Of the raw bytes, in hex. */
  readonly sha256: string;
}

/**
 * Reads a CSV table as people and programs write it: with a byte order mark, CRLF, quoted commas,
 * doubled quotes, empty lines, and no last line end. Nothing else is passed over.
 * @throws BadFile naming the file, the line and the reason; the disk's error
 */
export async function readTable<Column extends string>(
  options: ReadTableOptions<Column>,
): Promise<TableSummary> {
  const { disk, path, columns, onRow } = options;
  const hash = createHash('sha256');
  const fail = (reason: string) => new BadFile(basename(path), line, reason);
  let toRow: ((cells: readonly string[]) => Row<Column> | string) | undefined;
  let line = 0;
  let rows = 0;

  function take(cells: Line): void {
    line += 1;
    if (typeof cells === 'string') throw fail(cells);
    if (isEmpty(cells)) return;
    if (toRow === undefined) {
      const problem = headerProblem(cells, columns);
      if (problem !== undefined) throw fail(problem);
      toRow = rowReader(cells, columns);
      return;
    }
    const row = toRow(cells);
    if (typeof row === 'string') throw fail(row);
    rows += 1;
    onRow(row, line);
  }

  const file = await disk.open(path, 'read');
  try {
    for await (const { bytes, offset } of wholeLines(file)) {
      hash.update(bytes);
      const table = parseLines(offset === 0 ? withoutMark(bytes) : bytes);
      for (const cells of table) take(cells);
    }
  } finally {
    await file.close();
  }
  line = 1;
  if (toRow === undefined) throw fail(`the header ${columns.join(',')} is missing`);
  return { rows, sha256: hash.digest('hex') };
}

/** A line of nothing at all; a line of empty cells is something that a person left there. */
function isEmpty(cells: readonly string[]): boolean {
  return cells.length === 1 && cells[0] === '';
}

/** The cells of CSV text, row by row; none where the text is not plain CSV of single lines. */
export function parseRows(text: string): string[][] {
  return parse(text) ?? [];
}

/** Rows as CSV text, each with its line end. */
export function writeRows(rows: readonly (readonly (string | number)[])[]): string {
  return rows.length === 0
    ? ''
    : `${Papa.unparse([...rows.map((row) => [...row])], { newline: '\n' })}\n`;
}

const mark = Buffer.from('\ufeff');

/** The byte order mark that spreadsheets write is no part of the first column's name. */
function withoutMark(bytes: Buffer): Buffer {
  return bytes.subarray(0, mark.length).equals(mark) ? bytes.subarray(mark.length) : bytes;
}

type Line = readonly string[] | string;

/**
 * The cells of each line, or what is wrong with it. The lines are parsed together, which is fast;
 * if any of them is odd, they are parsed one by one, so that a quote left open spoils its own line
 * and not the rest of the table.
 */
function parseLines(bytes: Buffer): readonly Line[] {
  const ended = bytes[bytes.length - 1] === newline;
  if (!ended && bytes.length === maxLineBytes) return ['the line has no end'];
  const text = bytes.subarray(0, bytes.length - (ended ? 1 : 0));
  const table = isUtf8(text) ? parse(text.toString()) : undefined;
  let lines = 1;
  for (let at = text.indexOf(newline); at !== -1; at = text.indexOf(newline, at + 1)) lines += 1;
  if (table?.length === lines) return table;
  return Array.from(splitLines(text), parseLine);
}

function* splitLines(text: Buffer): Generator<Buffer> {
  for (let start = 0; start <= text.length; ) {
    const end = text.indexOf(newline, start);
    yield text.subarray(start, end === -1 ? text.length : end);
    if (end === -1) return;
    start = end + 1;
  }
}

function parseLine(bytes: Buffer): Line {
  if (!isUtf8(bytes)) return 'the text is not UTF-8; save the file as "CSV UTF-8"';
  const text = bytes.toString();
  if (text.replace(/\r$/, '').includes('\r')) return 'there is a carriage return inside the line';
  const [cells] = parse(text) ?? [];
  return cells ?? 'a quote is not closed, or is followed by more text, in its line';
}

/** The cells, line by line; undefined where the text is not plain CSV of single lines. */
function parse(text: string): string[][] | undefined {
  const plain = text.includes('\r') ? `${text}\n`.replaceAll('\r\n', '\n').slice(0, -1) : text;
  if (plain.includes('\r')) return undefined;
  if (plain === '') return [['']];
  // papaparse takes a first U+FEFF away; here it can only be a part of the text.
  const input = plain.startsWith('\ufeff') ? `\ufeff${plain}` : plain;
  const { data, errors } = Papa.parse<string[]>(input, { delimiter: ',', newline: '\n' });
  return errors.length === 0 ? data : undefined;
}

function headerProblem(cells: readonly string[], columns: readonly string[]): string | undefined {
  const missing = columns.find((column) => !cells.includes(column));
  if (missing !== undefined) return `the column "${missing}" is missing in the header`;
  const unknown = cells.find((cell) => !columns.includes(cell));
  if (unknown !== undefined) return `the column "${unknown}" is unknown, and would be lost`;
  const twice = cells.find((cell, index) => cells.indexOf(cell) !== index);
  return twice === undefined ? undefined : `the column "${twice}" stands there twice`;
}

/** A function from a line's cells to a row, or to what is wrong with them. */
function rowReader<Column extends string>(
  header: readonly string[],
  columns: readonly Column[],
): (cells: readonly string[]) => Row<Column> | string {
  const positions = columns.map((column) => header.indexOf(column));
  const empty = emptyRow(columns);
  return (cells) => {
    if (cells.length !== header.length) {
      return `there are ${cells.length} cells where the header has ${header.length}`;
    }
    if (cells.every((cell) => cell === '')) return 'all cells are empty; delete the line';
    const row = { ...empty };
    for (const [index, column] of columns.entries())
      row[column] = cells[positions[index] ?? 0] ?? '';
    return row;
  };
}

function emptyRow<Column extends string>(columns: readonly Column[]): Record<Column, string> {
  const row: Record<string, string> = Object.fromEntries(columns.map((column) => [column, '']));
  if (!hasAll(row, columns)) throw new TypeError('a row has its columns');
  return row;
}

function hasAll<Column extends string>(
  row: Record<string, string>,
  columns: readonly Column[],
): row is Record<Column, string> {
  return columns.every((column) => column in row);
}
