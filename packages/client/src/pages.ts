import type { Call, Page, Pages } from './call.js';
import type { CallOptions, PageOptions } from './options.js';

/** What a list is asked for by the page. */
interface PageQuery<Cursor> {
  readonly after?: Cursor;
  readonly limit?: number;
}

/** Asks for one page. */
type AskPage<T, Cursor> = (
  query: PageQuery<Cursor>,
  read: (items: readonly T[], headers: Headers) => Page<T, Cursor> | undefined,
  options: CallOptions,
) => Call<Page<T, Cursor>>;

/** A list, by its first page and by its items. */
export function pagesOf<T, Cursor extends string | number>(
  askPage: AskPage<T, Cursor>,
  cursorOf: (text: string, from: Cursor | undefined) => Cursor | undefined,
  options: PageOptions<Cursor> = {},
): Pages<T, Cursor> {
  const { after, limit, ...call } = options;
  const ask = (from: Cursor | undefined) =>
    askPage(
      { ...(from !== undefined && { after: from }), ...(limit !== undefined && { limit }) },
      (items, headers) => {
        if (!Array.isArray(items)) return undefined;
        const text = nextOf(headers);
        if (text === undefined) return { items, next: undefined };
        const next = cursorOf(text, from);
        return next === undefined ? undefined : { items, next };
      },
      call,
    );
  const first = ask(after);
  return Object.assign(first, {
    async *[Symbol.asyncIterator]() {
      let { items, next } = await first;
      for (;;) {
        for (const item of items) {
          call.signal?.throwIfAborted();
          yield item;
        }
        if (next === undefined) return;
        ({ items, next } = await ask(next));
      }
    },
  });
}

/** The cursor in the `Link` of a page (RFC 8288); only that counts, for the shop may have moved. */
function nextOf(headers: Headers): string | undefined {
  const target = /<([^<>]*)>\s*;\s*rel="?next"?/.exec(headers.get('link') ?? '')?.[1];
  if (target === undefined) return undefined;
  return new URLSearchParams(target.slice(target.indexOf('?') + 1)).get('after') ?? '';
}

// A list that does not get further would be asked for for ever: then there is no cursor.

/** Of a list by numbers. */
export function numberAfter(text: string, from = -1): number | undefined {
  return /^\d{1,15}$/.test(text) && Number(text) > from ? Number(text) : undefined;
}

/** Of a list by names. */
export function nameAfter(text: string, from: string | undefined): string | undefined {
  return text !== '' && text !== from ? text : undefined;
}
