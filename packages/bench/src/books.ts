import { createWriteStream } from 'node:fs';
import { pipeline } from 'node:stream/promises';

/** More than any run can sell, so that a benchmark never measures the answer "Out of stock". */
export const stock = 500_000_000;
const booksPerTopic = 10;

/** The books of the report, for the small shop. */
const reportBooks = [
  ['How to get a good grade in DOS in 40 minutes a day', 'distributed', 30],
  ['RPCs for Noobs', 'distributed', 50],
  ['Xen and the Art of Surviving Undergraduate School', 'undergrad', 40],
  ['Cooking for the Impatient Undergrad', 'undergrad', 35],
] as const;

/** The topic of book `id` (from 1) in a catalog of so many books. */
export function topicOf(id: number, books: number): string {
  if (books <= reportBooks.length) return reportBooks[id - 1]?.[1] ?? '';
  return `topic ${Math.ceil(id / booksPerTopic)}`;
}

/** Writes `catalog_data.csv` in the report's shape, with the ids 1 to `books`. */
export async function writeBooks(path: string, books: number): Promise<void> {
  await pipeline(rows(books), createWriteStream(path));
}

function* rows(books: number): Generator<string> {
  let text = 'id,title,topic,quantity,price\n';
  for (let id = 1; id <= books; id += 1) {
    const [title, , price] =
      books <= reportBooks.length ? (reportBooks[id - 1] ?? []) : [`A book called ${id}`];
    text += `${id},${title},${topicOf(id, books)},${stock},${price ?? 10 + (id % 90)}\n`;
    if (text.length > 65_536) {
      yield text;
      text = '';
    }
  }
  yield text;
}
