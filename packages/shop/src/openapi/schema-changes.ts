import { isDeepStrictEqual } from 'node:util';
import { type Fields, fieldsOf, isFields, listOf } from './json.js';

/**
 * What a change means for a client that was written before it: the client breaks; it works, but may
 * meet what it has never met; or nothing.
 */
export type Verdict = 'breaks' | 'may surprise' | 'is compatible';

export interface SchemaChange {
  readonly verdict: Verdict;
  /** The rest of a sentence that begins with where the schema stands. */
  readonly what: string;
}

/** Whether clients send what the schema describes, or get it. */
export type Direction = 'sent' | 'received';

interface Place {
  readonly direction: Direction;
  /** `order.price`, `[].title`; empty for the whole. */
  readonly field: string;
}

/**
 * Names what has changed between two schemas without references. Of what clients send, the values
 * that were taken must still be; of what they receive, there must be no values that were not before.
 * In answers, new fields are compatible: clients are asked to tolerate them.
 */
export function compareSchemas(
  before: unknown,
  after: unknown,
  direction: Direction,
  field = '',
): SchemaChange[] {
  if (isDeepStrictEqual(before, after)) return [];
  const place = { direction, field };
  const [was, is] = [alternativesOf(before), alternativesOf(after)];
  const [oneBefore, ...othersBefore] = was;
  const [oneAfter, ...othersAfter] = is;
  if (othersBefore.length > 0 || othersAfter.length > 0) {
    return [
      ...compareOne(besides(before), besides(after), place),
      ...compareAlternatives(was, is, place),
    ];
  }
  return compareOne(fieldsOf(oneBefore), fieldsOf(oneAfter), place);
}

/** The schemas of which one must fit; a schema that is no union is the only one. */
function alternativesOf(schema: unknown): readonly Fields[] {
  const whole = fieldsOf(schema);
  const parts = [...listOf(whole['anyOf']), ...listOf(whole['oneOf'])].map(fieldsOf);
  if (parts.length === 0) return [whole];
  const values = parts.map(valuesOf);
  return values.every((each) => each !== undefined) ? [{ enum: values.flat() }] : parts;
}

/** What a union says besides its alternatives. */
function besides(schema: unknown): Fields {
  const { anyOf, oneOf, ...rest } = fieldsOf(schema);
  return anyOf === undefined && oneOf === undefined ? {} : rest;
}

/** Compares schemas without a look at their alternatives. */
function compareOne(was: Fields, is: Fields, place: Place): SchemaChange[] {
  const types = compareTypes(was, is, place);
  if (types.some(({ verdict }) => verdict === 'breaks')) return types;
  return [
    ...types,
    ...compareValues(was, is, place),
    ...compareRestrictions(was, is, place),
    ...compareFields(was, is, place),
    ...compareParts(was, is, place),
  ];
}

function change(verdict: Verdict, { field }: Place, what: string): SchemaChange {
  return { verdict, what: field === '' ? `it ${what}` : `the field ${field} ${what}` };
}

function compareAlternatives(
  was: readonly Fields[],
  is: readonly Fields[],
  place: Place,
): SchemaChange[] {
  const left = new Set(is);
  const found: SchemaChange[] = [];
  for (const one of was) {
    const other = [...left].find((each) => isSameAlternative(one, each));
    if (other === undefined) {
      found.push(change('breaks', place, `is never ${alternativeName(one)} any more`));
    } else {
      left.delete(other);
      found.push(...compareSchemas(one, other, place.direction, place.field));
    }
  }
  const verdict = place.direction === 'sent' ? 'is compatible' : 'breaks';
  for (const one of left) {
    found.push(change(verdict, place, `may be ${alternativeName(one)} now`));
  }
  return found;
}

/** Alternatives belong together by their title; without one they must be equal. */
function isSameAlternative(one: Fields, other: Fields): boolean {
  const [title, otherTitle] = [one['title'], other['title']];
  return title === undefined ? isDeepStrictEqual(one, other) : title === otherTitle;
}

function alternativeName(schema: Fields): string {
  const { title, properties, type } = schema;
  if (typeof title === 'string') return title;
  const names = Object.keys(fieldsOf(properties));
  return names.length > 0 ? `one with the fields ${names.join(', ')}` : `of type ${type}`;
}

const everyType = ['string', 'number', 'boolean', 'object', 'array', 'null'];

/** The names of the types that a schema allows. */
function typesOf(schema: Fields): readonly string[] {
  const { type } = schema;
  if (typeof type === 'string') return [type];
  if (Array.isArray(type)) return type.map(String);
  const values = valuesOf(schema);
  return values === undefined ? everyType : [...new Set(values.map(typeOf))];
}

function typeOf(value: unknown): string {
  if (value === null) return 'null';
  return Array.isArray(value) ? 'array' : typeof value;
}

/** The types of the first list that the second does not cover; every integer is a number. */
function uncovered(types: readonly string[], by: readonly string[]): readonly string[] {
  return types.filter(
    (type) => !by.includes(type) && !(type === 'integer' && by.includes('number')),
  );
}

function compareTypes(was: Fields, is: Fields, place: Place): SchemaChange[] {
  const [before, after] = [typesOf(was), typesOf(is)];
  const [lost, gained] = [uncovered(before, after), uncovered(after, before)];
  if (lost.length === 0 && gained.length === 0) return [];
  const isNarrower = lost.length > 0;
  const isWider = gained.length > 0;
  const breaks = place.direction === 'sent' ? isNarrower : isWider;
  const text = `is of type ${after.join(' or ')} now, was ${before.join(' or ')}`;
  return [change(breaks ? 'breaks' : 'is compatible', place, text)];
}

/** The values that a schema lists; undefined when it lists none. */
function valuesOf(schema: Fields): readonly unknown[] | undefined {
  if (Object.hasOwn(schema, 'const')) return [schema['const']];
  return Array.isArray(schema['enum']) ? schema['enum'] : undefined;
}

const inWords = (values: readonly unknown[]) => values.map((each) => JSON.stringify(each));

function compareValues(was: Fields, is: Fields, place: Place): SchemaChange[] {
  const [before, after] = [valuesOf(was), valuesOf(is)];
  const isSent = place.direction === 'sent';
  if (before === undefined && after === undefined) return [];
  if (before === undefined) {
    const text = `is only ${inWords(after ?? []).join(', ')} now`;
    return [change(isSent ? 'breaks' : 'is compatible', place, text)];
  }
  if (after === undefined) {
    const text = `may be more than ${inWords(before).join(', ')} now`;
    return [change(isSent ? 'is compatible' : 'may surprise', place, text)];
  }
  const isIn = (values: readonly unknown[]) => (one: unknown) =>
    values.some((each) => isDeepStrictEqual(each, one));
  const gone = before.filter((each) => !isIn(after)(each));
  const added = after.filter((each) => !isIn(before)(each));
  return [
    ...inWords(gone).map((value) => change('breaks', place, `is never ${value} any more`)),
    ...inWords(added).map((value) =>
      change(isSent ? 'is compatible' : 'may surprise', place, `may be ${value} now`),
    ),
  ];
}

/** Compared by what they hold, or no restriction at all. */
const noRestrictions = new Set([
  ...['type', 'enum', 'const', 'anyOf', 'oneOf'],
  ...['properties', 'required', 'additionalProperties', 'items'],
  ...['title', 'description', 'examples', 'example', 'default', 'deprecated', '$comment'],
]);

const atLeast = new Set(['minimum', 'exclusiveMinimum', 'minLength', 'minItems', 'minProperties']);
const atMost = new Set(['maximum', 'exclusiveMaximum', 'maxLength', 'maxItems', 'maxProperties']);

/**
 * Every other keyword restricts values. Of a bound it is known which way it moved; of anything else,
 * such as a pattern, only whether it came, went or is another one.
 */
function compareRestrictions(was: Fields, is: Fields, place: Place): SchemaChange[] {
  const keywords = new Set([...Object.keys(was), ...Object.keys(is)]);
  return [...keywords]
    .filter((keyword) => !noRestrictions.has(keyword))
    .filter((keyword) => !isDeepStrictEqual(was[keyword], is[keyword]))
    .map((keyword) => {
      const [before, after] = [was[keyword], is[keyword]];
      const isWider = before !== undefined && (after === undefined || isLooser(keyword, was, is));
      const isNarrower =
        after !== undefined && (before === undefined || isLooser(keyword, is, was));
      const isJudged = isWider !== isNarrower;
      const text = `has the ${keyword} ${shown(after)} now, was ${shown(before)}`;
      return place.direction === 'sent'
        ? change(isWider && isJudged ? 'is compatible' : 'breaks', place, text)
        : change(isNarrower && isJudged ? 'is compatible' : 'may surprise', place, text);
    });
}

/** Whether a bound leaves more room in the second schema than in the first. */
function isLooser(keyword: string, was: Fields, is: Fields): boolean {
  const [before, after] = [Number(was[keyword]), Number(is[keyword])];
  if (atLeast.has(keyword)) return after < before;
  return atMost.has(keyword) && after > before;
}

function shown(value: unknown): string {
  return value === undefined ? 'none' : JSON.stringify(value);
}

const below = (field: string, name: string) => (field === '' ? name : `${field}.${name}`);

function compareFields(was: Fields, is: Fields, place: Place): SchemaChange[] {
  const { direction, field } = place;
  const isSent = direction === 'sent';
  const [before, after] = [fieldsOf(was['properties']), fieldsOf(is['properties'])];
  const [needed, needs] = [listOf(was['required']), listOf(is['required'])];
  const names = new Set([...Object.keys(before), ...Object.keys(after)]);
  return [...names].flatMap((name): SchemaChange[] => {
    const inner: Place = { direction, field: below(field, name) };
    if (!Object.hasOwn(after, name)) {
      if (!isSent) return [change('breaks', inner, 'is gone')];
      return is['additionalProperties'] === false
        ? [change('breaks', inner, 'is refused now')]
        : [change('may surprise', inner, 'is not read any more')];
    }
    const [wasNeeded, isNeeded] = [needed.includes(name), needs.includes(name)];
    if (!Object.hasOwn(before, name)) {
      return isSent && isNeeded
        ? [change('breaks', inner, 'is new and required')]
        : [change('is compatible', inner, 'is new')];
    }
    const need: SchemaChange[] = [];
    if (isNeeded && !wasNeeded) {
      need.push(change(isSent ? 'breaks' : 'is compatible', inner, 'is required now'));
    }
    if (wasNeeded && !isNeeded) {
      need.push(change(isSent ? 'is compatible' : 'breaks', inner, 'may be missing now'));
    }
    return [...need, ...compareSchemas(before[name], after[name], direction, inner.field)];
  });
}

/** The items of a list, and the fields that no name is given to. */
function compareParts(was: Fields, is: Fields, place: Place): SchemaChange[] {
  const { direction, field } = place;
  const [others, othersNow] = [was['additionalProperties'], is['additionalProperties']];
  const found = compareSchemas(was['items'] ?? {}, is['items'] ?? {}, direction, `${field}[]`);
  if (others !== false && othersNow === false) {
    const verdict = direction === 'sent' ? 'breaks' : 'is compatible';
    return [...found, change(verdict, place, 'has no fields of other names any more')];
  }
  if (others === false && othersNow !== false) {
    return [...found, change('is compatible', place, 'may have fields of other names now')];
  }
  const schemas = [others, othersNow].map((each) => (isFields(each) ? each : {}));
  return [...found, ...compareSchemas(schemas[0], schemas[1], direction, below(field, '*'))];
}
