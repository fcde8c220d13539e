import { type TUnsafe, Type } from '@sinclair/typebox';

/** Marks a string on the wire that is a number in code; `mount` and the client convert it. */
export const decimal: unique symbol = Symbol.for('bazar.decimal');

/** True for a schema made by `Decimal`. */
export function isDecimal(schema: object): boolean {
  return decimal in schema;
}

/**
 * A number in a path, a query or a header: plain decimal digits on the wire, so that `3.7`, `0x10`,
 * `-1` and `1e3` are malformed rather than coerced into some number.
 */
export function Decimal(pattern: string, description: string): TUnsafe<number> {
  return Type.Unsafe<number>({ type: 'string', pattern, description, [decimal]: true });
}

/** Above 15 digits a double cannot hold every integer, so larger ids do not exist. */
export const maxId = 999_999_999_999_999;
export const maxQuantity = 1_000_000_000;
export const maxPrice = 1_000_000_000;
export const defaultLimit = 100;
export const maxLimit = 1000;

const digits = '^[0-9]{1,15}$';

export const ItemIdParam = Decimal(digits, 'The id of a book: 1 to 15 plain decimal digits.');
export const AfterParam = Decimal(
  digits,
  'Only what comes after this number: 1 to 15 plain decimal digits.',
);
export const LimitParam = Decimal(
  '^([1-9][0-9]{0,2}|1000)$',
  `How many at most: 1 to ${maxLimit}, default ${defaultLimit}.`,
);

export const ItemId = Type.Integer({ minimum: 0, maximum: maxId });
export const Quantity = Type.Integer({ minimum: 0, maximum: maxQuantity });

/** `multipleOf: 0.01` refuses 19.99 (binary fractions), so the decimals are checked as text. */
export const moneyFormat = 'money';
export function isMoney(value: number): boolean {
  return value >= 0 && value <= maxPrice && Number(value.toFixed(2)) === value;
}
export const Price = Type.Number({
  minimum: 0,
  maximum: maxPrice,
  format: moneyFormat,
  description: 'At least 0, at most two decimals.',
});

/**
 * Text that people will open in a spreadsheet: no control characters, no lone surrogates (they have
 * no UTF-8 form, so the file would differ from the memory), no white space at the ends, and no
 * leading `= + - @`, which a spreadsheet would run as a formula (OWASP, "CSV Injection").
 */
export const textPattern =
  '^(?![=+\\-@\\s])[^\\u0000-\\u001f\\u007f-\\u009f\\u2028\\u2029\\ud800-\\udfff]*(?<!\\s)$';
const Text = (maxLength: number) =>
  Type.String({
    minLength: 1,
    maxLength,
    pattern: textPattern,
    description: 'No control characters, no space at either end, not starting with = + - or @.',
  });
export const maxTitleLength = 500;
export const maxTopicLength = 100;
export const Title = Text(maxTitleLength);
/** `.` and `..` are steps in a path (RFC 3986, section 5.2.4): nobody could search for them. */
export const Topic = Type.String({
  ...Text(maxTopicLength),
  pattern: textPattern.replace('^', '^(?!\\.{1,2}$)'),
  description:
    'Neither . nor .., no control characters, no space at either end, not starting with ' +
    '= + - or @.',
});

const uuid = '[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}';
/** An id on an internal wire: a UUID (RFC 9562) in lower case. */
export const OperationId = Type.String({ pattern: `^${uuid.replaceAll('A-F', '')}$` });
export const OrderIdParam = Type.String({
  pattern: `^${uuid}$`,
  description: 'The id of an order: a UUID, in any case.',
});
export const IdempotencyKey = Type.String({
  pattern: `^(${uuid}|"${uuid}")$`,
  description:
    'A UUID, bare or in double quotes. The same key again gives the same answer ' +
    '(IETF draft-ietf-httpapi-idempotency-key-header).',
});

/** The UUID inside an `Idempotency-Key` or a path, in its one form: lower case, bare. */
export function canonicalId(text: string): string {
  return text.replaceAll('"', '').toLowerCase();
}

export const Timestamp = Type.String({ description: 'ISO 8601, UTC, milliseconds.' });

/** Ids that services accept from outside and write into logs: one alphabet, one length. */
export const requestIdPattern = /^[\w-]{1,64}$/;
