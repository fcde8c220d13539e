import { basename } from 'node:path';
import { type Book, maxId, maxQuantity, maxTitleLength, maxTopicLength } from '@bazar/contracts';
import { BadFile, type Disk, money, readTable, wholeNumber, writeRows } from '@bazar/storage';
import type { Stock } from '../store.js';

/** The columns of `catalog_data.csv`, as in the report. */
export const bookColumns = ['id', 'title', 'topic', 'quantity', 'price'] as const;
/** The columns of an image: what people see, and the running totals. */
export const imageColumns = [...bookColumns, 'stocked', 'sold'] as const;

type Column = (typeof imageColumns)[number];
type Cells = Readonly<Record<string, string>>;

export interface BookFile<Row> {
  readonly rows: readonly Row[];
  /** Of the raw bytes, in hex. */
  readonly sha256: string;
}

/** Copying by spreading takes ten times as long, which counts where there are a million books. */
export function toStock(book: Book, stocked: number, sold: number): Stock {
  const { id, title, topic, quantity, price } = book;
  return { id, title, topic, quantity, price, stocked, sold };
}

/**
 * Reads a table of books as people and programs write it.
 * @throws BadFile naming the file, the line and the reason, at the first bad row
 */
export async function readBooks(disk: Disk, path: string): Promise<BookFile<Book>> {
  return readRows(disk, path, bookColumns, (book) => book);
}

/** Reads an image that the shop wrote itself. */
export async function readImage(disk: Disk, path: string): Promise<BookFile<Stock>> {
  return readRows(disk, path, imageColumns, (book, cells, fail) => {
    const stocked = wholeNumber(cells['stocked'] ?? '');
    const sold = wholeNumber(cells['sold'] ?? '');
    if (stocked === undefined || sold === undefined) throw fail('the totals are not whole numbers');
    if (stocked !== book.quantity + sold) throw fail('stocked is not quantity + sold');
    return toStock(book, stocked, sold);
  });
}

async function readRows<Row extends Book>(
  disk: Disk,
  path: string,
  columns: readonly Column[],
  rowOf: (book: Book, cells: Cells, fail: Fail) => Row,
): Promise<BookFile<Row>> {
  const topics = new Map<string, string>();
  const rows: Row[] = [];
  const findTwin = createTwinFinder(rows);
  const { sha256 } = await readTable({
    disk,
    path,
    columns,
    onRow(cells, line) {
      const fail = (reason: string) => new BadFile(basename(path), line, reason);
      const book = readBook(cells, topics, fail);
      const twin = findTwin(book.id, line);
      if (twin !== undefined) throw fail(`id ${book.id} stands on line ${twin} already`);
      rows.push(rowOf(book, cells, fail));
    },
  });
  return { rows, sha256 };
}

/**
 * Takes the id and the line of each row that is to follow `rows`, and finds the line on which that
 * id stood before. While the ids rise, as in all files that we write, there is none, and no table
 * of a million ids to be built.
 */
function createTwinFinder(rows: readonly Book[]) {
  const lines: number[] = [];
  let lineOf: Map<number, number> | undefined;
  return (id: number, line: number): number | undefined => {
    if (lineOf === undefined && id > (rows.at(-1)?.id ?? -1)) {
      lines.push(line);
      return undefined;
    }
    lineOf ??= new Map(rows.map((row, index) => [row.id, lines[index] ?? 0]));
    const twin = lineOf.get(id);
    lineOf.set(id, line);
    return twin;
  };
}

type Fail = (reason: string) => BadFile;

/** @param topics the spellings so far, so that many books share one string */
function readBook(cells: Cells, topics: Map<string, string>, fail: Fail): Book {
  const id = wholeNumber(cells['id'] ?? '');
  if (id === undefined || id > maxId) {
    throw fail(`id must be a whole number of at most 15 digits, not "${cells['id']}"`);
  }
  const quantity = wholeNumber(cells['quantity'] ?? '');
  if (quantity === undefined || quantity > maxQuantity) {
    throw fail(`quantity must be a whole number from 0, not "${cells['quantity']}"`);
  }
  const price = money(cells['price'] ?? '');
  if (price === undefined) {
    throw fail(`price must be at least 0 with at most two decimals, not "${cells['price']}"`);
  }
  const title = readText('title', cells['title'] ?? '', maxTitleLength, fail);
  const text = readText('topic', cells['topic'] ?? '', maxTopicLength, fail);
  const topic = topics.get(text) ?? copyOf(text);
  topics.set(topic, topic);
  return { id, title: copyOf(title), topic, quantity, price };
}

/** Text of its own: a cell is a slice of a much longer one, and would keep all of that alive. */
function copyOf(text: string): string {
  return Buffer.from(text).toString();
}

/** A leading `@` is the owner's to keep; a leading `=`, `+` or `-` a spreadsheet would run. */
function readText(column: string, text: string, maxLength: number, fail: Fail): string {
  if (text.trim() === '') throw fail(`${column} is empty`);
  // JSON Schema counts characters, not UTF-16 units; what HTTP lets in must be readable here.
  if (text.length > maxLength && [...text].length > maxLength)
    throw fail(`${column} has more than ${maxLength} characters`);
  if (/^[=+-]/.test(text)) throw fail(`${column} begins with ${text[0]}, as a formula does`);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it finds.
  if (/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/.test(text)) {
    throw fail(`${column} has a control character`);
  }
  return text;
}

/** Rows written at a time: well below a millisecond of work. */
const sliceRows = 250;

/** The text of a table in slices; `pause` is awaited between them, to let others work. */
export async function* writeBooks(
  stocks: readonly Stock[],
  columns: readonly Column[],
  pause: () => Promise<void>,
): AsyncGenerator<string> {
  yield writeRows([columns]);
  for (let from = 0; from < stocks.length; from += sliceRows) {
    yield writeRows(
      stocks.slice(from, from + sliceRows).map((stock) => columns.map((column) => stock[column])),
    );
    await pause();
  }
}
