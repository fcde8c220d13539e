/** An item of an array of texts, numbers or nothings. */
type Item = string | number | null;

/** The ids of PostgreSQL's array types, which are fixed: see its catalog pg_type. */
const arrayTypes = {
  booleans: 1000,
  smallints: 1005,
  integers: 1007,
  texts: 1009,
  bigints: 1016,
  doubles: 1022,
  uuids: 2951,
} as const;

/** An array as PostgreSQL reads it: every item in quotes, for NULL alone has none. */
function serialize(items: readonly Item[]): string {
  const cells = items.map((item) =>
    item === null ? 'NULL' : `"${String(item).replaceAll(/["\\]/g, '\\$&')}"`,
  );
  return `{${cells.join(',')}}`;
}

/** Arrays are only sent, for `unnest`; rows come back as rows. */
function parse(text: string): never {
  throw new TypeError(`an array is read as rows: ${text.slice(0, 80)}`);
}

/**
 * How arrays travel. The driver could ask the server for that instead; but it would do so with a
 * statement of its own on every connection, whose failure nobody catches.
 */
export const arrays = Object.fromEntries(
  Object.entries(arrayTypes).map(([name, to]) => [name, { to, from: [to], serialize, parse }]),
);
