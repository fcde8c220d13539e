import type { BookTitle, TopicCount } from '@bazar/contracts';
import type { Stock } from '../store.js';

/** All books in memory, by id and by topic. Stocks are replaced, never changed in place. */
export interface Shelf {
  readonly size: number;
  readonly nextId: number;
  get(id: number): Stock | undefined;
  put(stock: Stock): void;
  /** The stocks by id, as they are at this moment; later puts do not show in the copy. */
  copy(): readonly Stock[];
  page(after: number, limit: number): readonly Stock[];
  search(topic: string, after: number, limit: number): BookTitle[];
  topics(after: string, limit: number): TopicCount[];
}

/** The form in which topics are compared: Unicode's composed form, in lower case. */
export function foldTopic(topic: string): string {
  return topic.normalize('NFC').toLowerCase();
}

export function createShelf(stocks: Iterable<Stock>): Shelf {
  const rows = [...stocks].sort((a, b) => a.id - b.id);
  const idsByTopic = new Map<string, number[]>();
  const foldedTopics = new Map<string, string>();
  for (const { id, topic } of rows) {
    const folded = foldedTopics.get(topic) ?? foldTopic(topic);
    foldedTopics.set(topic, folded);
    const ids = idsByTopic.get(folded);
    if (ids === undefined) idsByTopic.set(folded, [id]);
    else ids.push(id);
  }
  foldedTopics.clear();
  const names = [...idsByTopic.keys()].sort();

  /** Where the book stands, or where it would. */
  function positionOf(id: number): number {
    // Most shops count their books from 1 on without gaps.
    const guess = id - (rows[0]?.id ?? 0);
    return rows[guess]?.id === id ? guess : lowerBound(rows, id, (row) => row.id);
  }

  function get(id: number): Stock | undefined {
    const row = rows[positionOf(id)];
    return row?.id === id ? row : undefined;
  }

  function enter(folded: string, id: number): void {
    const ids = idsByTopic.get(folded);
    if (ids === undefined) {
      idsByTopic.set(folded, [id]);
      names.splice(lowerBound(names, folded), 0, folded);
    } else {
      ids.splice(lowerBound(ids, id), 0, id);
    }
  }

  function leave(folded: string, id: number): void {
    const ids = idsByTopic.get(folded) ?? [];
    ids.splice(lowerBound(ids, id), 1);
    if (ids.length > 0) return;
    idsByTopic.delete(folded);
    names.splice(lowerBound(names, folded), 1);
  }

  function nextId(): number {
    return (rows.at(-1)?.id ?? 0) + 1;
  }

  return {
    get size() {
      return rows.length;
    },
    get nextId() {
      return nextId();
    },
    get,
    put(stock) {
      const position = positionOf(stock.id);
      const old = get(stock.id);
      rows.splice(position, old === undefined ? 0 : 1, stock);
      if (old?.topic === stock.topic) return;
      if (old !== undefined) leave(foldTopic(old.topic), old.id);
      enter(foldTopic(stock.topic), stock.id);
    },
    copy: () => rows.slice(),
    page(after, limit) {
      const from = lowerBound(rows, after + 1, (row) => row.id);
      return rows.slice(from, from + limit);
    },
    search(topic, after, limit) {
      const ids = idsByTopic.get(foldTopic(topic)) ?? [];
      const from = lowerBound(ids, after + 1);
      return ids.slice(from, from + limit).map((id) => ({ id, title: get(id)?.title ?? '' }));
    },
    topics(after, limit) {
      const folded = foldTopic(after);
      let from = lowerBound(names, folded);
      if (names[from] === folded) from += 1;
      return names.slice(from, from + limit).map((name) => {
        const ids = idsByTopic.get(name) ?? [];
        // A topic is spelled as its oldest book spells it.
        return { topic: get(ids[0] ?? 0)?.topic ?? name, titles: ids.length };
      });
    },
  };
}

/** The first index whose key is not below the wanted one, in a list sorted by key. */
function lowerBound<Row, Key extends number | string>(
  rows: readonly Row[],
  wanted: Key,
  keyOf: (row: Row) => Key,
): number;
function lowerBound<Key extends number | string>(rows: readonly Key[], wanted: Key): number;
function lowerBound<Row, Key>(
  rows: readonly Row[],
  wanted: Key,
  keyOf: (row: Row) => Row | Key = (row) => row,
): number {
  let low = 0;
  let high = rows.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const row = rows[middle];
    if (row !== undefined && keyOf(row) < wanted) low = middle + 1;
    else high = middle;
  }
  return low;
}
