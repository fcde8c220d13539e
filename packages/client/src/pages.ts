import type { Asker, Page, Pages, Question } from './call.js';
import type { PageOptions } from './options.js';

/** A list, by its first page and by its items. */
export function pagesOf<T, Cursor extends string | number>(
  asker: Asker,
  question: Omit<Question<never>, 'read'>,
  cursorOf: (text: string) => Cursor,
  options: PageOptions<Cursor> = {},
): Pages<T, Cursor> {
  const { after, limit, ...call } = options;
  const ask = (from: Cursor | undefined) =>
    asker.ask<Page<T, Cursor>>(
      {
        ...question,
        query: { after: from, limit },
        read: (body, headers) =>
          Array.isArray(body) ? { items: body, next: nextOf(headers, cursorOf) } : undefined,
      },
      call,
    );
  const first = ask(after);
  return Object.assign(first, {
    async *[Symbol.asyncIterator]() {
      let page = await first;
      yield* page.items;
      while (page.next !== undefined) {
        page = await ask(page.next);
        yield* page.items;
      }
    },
  });
}

/** What the `Link` of a page says (RFC 8288): only its cursor counts, for the shop may have moved. */
function nextOf<Cursor>(headers: Headers, cursorOf: (text: string) => Cursor): Cursor | undefined {
  const target = /<([^>]*)>\s*;\s*rel="next"/.exec(headers.get('link') ?? '')?.[1];
  if (target === undefined) return undefined;
  const after = new URLSearchParams(target.slice(target.indexOf('?') + 1)).get('after');
  return after === null ? undefined : cursorOf(after);
}
