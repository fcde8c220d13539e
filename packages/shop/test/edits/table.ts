import type { Random } from '@bazar/simulation';

/** A row of `catalog_data.csv`. */
export interface Book {
  readonly id: number;
  readonly title: string;
  readonly topic: string;
  readonly quantity: number;
  readonly price: number;
}

/** The rows by id. */
export type Table = ReadonlyMap<number, Book>;

const header = 'id,title,topic,quantity,price';

/** Reads a table, not by our own reader; undefined for what no shop should take. */
export function readTable(text: string): Table | undefined {
  const [first, ...lines] = text.split('\n');
  if (first !== header) return undefined;
  const table = new Map<number, Book>();
  for (const line of lines.filter((each) => each !== '')) {
    const cells =
      /^(\d{1,15}),([^,=+-][^,]*),([^,=+-][^,]*),(\d{1,9}),(\d{1,12}(?:\.\d{1,2})?)$/.exec(line);
    if (cells === null || table.has(Number(cells[1]))) return undefined;
    const [, id, title = '', topic = '', quantity, price] = cells;
    if (title.trim() === '' || topic.trim() === '') return undefined;
    const numbers = { id: Number(id), quantity: Number(quantity), price: Number(price) };
    table.set(numbers.id, { ...numbers, title, topic });
  }
  return table;
}

export function writeTable(table: Table): string {
  const rows = [...table.values()].map(({ id, title, topic, quantity, price }) =>
    [id, title, topic, quantity, price].join(','),
  );
  return `${[header, ...rows].join('\n')}\n`;
}

export const wishes = ['stock', 'stock', 'price', 'title', 'new', 'remove', 'much'] as const;
export type Wish = (typeof wishes)[number];

/** What a person makes of a table. */
export function change(random: Random, table: Table, wish: Wish, newId: number): Table {
  const changed = new Map(table);
  const ids = [...table.keys()];
  const book = table.get(ids.length > 0 ? random.pick(ids) : 0);
  const price = random.integer(10_000) / 100;
  if (book === undefined || wish === 'new') {
    const title = `By hand ${random.integer(1000)}`;
    changed.set(newId, { id: newId, title, topic: 'new', quantity: 1 + random.integer(9), price });
    return changed;
  }
  const { id, quantity } = book;
  switch (wish) {
    case 'stock':
      changed.set(id, { ...book, quantity: Math.max(0, quantity + random.integer(40) - 6) });
      break;
    case 'price':
      changed.set(id, { ...book, price });
      break;
    case 'title':
      changed.set(id, { ...book, title: `Book ${id} of edition ${random.integer(100)}` });
      break;
    case 'remove':
      changed.delete(id);
      break;
    case 'much':
      for (const each of table.values()) {
        changed.set(each.id, { ...each, price, quantity: each.quantity + random.integer(9) });
      }
  }
  return changed;
}

/** Text that is no table of books, as a wrong program or a wrong window leaves it. */
export function garbage(random: Random, text: string): string {
  return random.pick([
    '',
    '\0\0\0\0\0\0\0\0',
    '<!DOCTYPE html><title>Sign in</title>\n',
    text.replaceAll(',', ';'),
    text.replace(/,(\d+),/, ',many,'),
    text.replace(/(\d+)\n$/, '-$1\n'),
    `${text}1,Twice,new,1,1\n1,Twice,new,1,1\n`,
  ]);
}
