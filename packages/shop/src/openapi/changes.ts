import { isDeepStrictEqual } from 'node:util';
import { type Fields, fieldsOf, listOf, withoutReferences } from './json.js';
import { compareSchemas, type Direction, type Verdict } from './schema-changes.js';

/** One change of a service, seen by a client that was written before it. */
export interface Change {
  readonly verdict: Verdict;
  /** `GET /info/{item_id}, answer 200` */
  readonly where: string;
  readonly what: string;
}

/**
 * Names what has changed between two OpenAPI 3.1 documents, from the point of view of a client that
 * was written for the first. Descriptions, titles, examples and the version are no changes.
 *
 * Written here, since the libraries for it on npm are of OpenAPI 3.0, or no longer kept.
 *
 * @throws TypeError for a reference to nothing, or of a schema to itself
 */
export function compareDocuments(before: unknown, after: unknown): Change[] {
  const [was, is] = [withoutReferences(before), withoutReferences(after)];
  return [
    ...compareServers(was, is),
    ...compareSchemes(was, is),
    ...compareNamed(operationsOf(was), operationsOf(is), {
      gone: (where) => [{ verdict: 'breaks', where, what: 'the route is gone' }],
      added: (where) => [{ verdict: 'is compatible', where, what: 'the route is new' }],
      both: compareOperations,
    }),
  ];
}

interface Comparison<One> {
  readonly gone: (name: string, was: One) => Change[];
  readonly added: (name: string, is: One) => Change[];
  readonly both: (name: string, was: One, is: One) => Change[];
}

/** Compares what has the same name on both sides, and names what is on one of them only. */
function compareNamed<One>(
  before: ReadonlyMap<string, One>,
  after: ReadonlyMap<string, One>,
  { gone, added, both }: Comparison<One>,
): Change[] {
  return [...new Set([...before.keys(), ...after.keys()])].flatMap((name) => {
    const [was, is] = [before.get(name), after.get(name)];
    if (was === undefined) return is === undefined ? [] : added(name, is);
    return is === undefined ? gone(name, was) : both(name, was, is);
  });
}

const methods = ['get', 'put', 'post', 'delete', 'options', 'head', 'patch', 'trace'];

/** `GET /info/{item_id}` → the operation, with what its path and the document say for all. */
function operationsOf(document: Fields): Map<string, Fields> {
  const found = new Map<string, Fields>();
  for (const [path, item] of Object.entries(fieldsOf(document['paths']))) {
    const { parameters: shared, ...operations } = fieldsOf(item);
    for (const [method, operation] of Object.entries(operations)) {
      if (!methods.includes(method)) continue;
      const { parameters, security = document['security'], ...rest } = fieldsOf(operation);
      found.set(`${method.toUpperCase()} ${path}`, {
        ...rest,
        security,
        parameters: [...listOf(shared), ...listOf(parameters)],
      });
    }
  }
  return found;
}

function compareServers(was: Fields, is: Fields): Change[] {
  const urlsOf = (document: Fields) =>
    new Map(listOf(document['servers']).map((each) => [String(fieldsOf(each)['url']), true]));
  const where = 'every route';
  return compareNamed(urlsOf(was), urlsOf(is), {
    gone: (url) => [{ verdict: 'breaks', where, what: `the address ${url} is gone` }],
    added: (url) => [{ verdict: 'is compatible', where, what: `the address ${url} is new` }],
    both: () => [],
  });
}

function compareSchemes(was: Fields, is: Fields): Change[] {
  return compareNamed(schemesOf(was), schemesOf(is), {
    // Whether a route still takes it is told at the route.
    gone: () => [],
    added: () => [],
    both: (name, one, other) =>
      isDeepStrictEqual(one, other)
        ? []
        : [{ verdict: 'breaks', where: `the token ${name}`, what: 'it is sent in another way' }],
  });
}

function schemesOf(document: Fields): Map<string, Fields> {
  const schemes = fieldsOf(fieldsOf(document['components'])['securitySchemes']);
  return new Map(
    Object.entries(schemes).map(([name, scheme]) => {
      const { description: _, ...rest } = fieldsOf(scheme);
      return [name, rest];
    }),
  );
}

function compareOperations(where: string, was: Fields, is: Fields): Change[] {
  return [
    ...compareNames(where, was['operationId'], is['operationId']),
    ...compareTokens(where, was, is),
    ...compareParameters(where, was, is),
    ...compareBodies(where, was['requestBody'], is['requestBody']),
    ...compareAnswers(where, was['responses'], is['responses']),
  ];
}

/** Some generators name a client's methods after it. */
function compareNames(where: string, was: unknown, is: unknown): Change[] {
  if (was === is) return [];
  return [{ verdict: 'may surprise', where, what: `its operationId is ${is} now, was ${was}` }];
}

/** The ways to be let in: each a list of tokens that are all needed. */
function waysIn(operation: Fields): string[][] {
  const ways = listOf(operation['security']).map((way) => Object.keys(fieldsOf(way)));
  return ways.length > 0 ? ways : [[]];
}

function compareTokens(where: string, was: Fields, is: Fields): Change[] {
  const [before, after] = [waysIn(was), waysIn(is)];
  const covers = (ways: string[][], given: string[]) =>
    ways.some((way) => way.every((token) => given.includes(token)));
  if (before.some((given) => !covers(after, given))) {
    const ways = after.map((way) => way.join(' and ')).join(', or ');
    return [{ verdict: 'breaks', where, what: `it needs a token now: ${ways}` }];
  }
  if (after.every((given) => covers(before, given))) return [];
  return [{ verdict: 'is compatible', where, what: 'it is open to more callers' }];
}

/** `query parameter limit` → the parameter; the names of headers are in any case. */
function parametersOf(operation: Fields): Map<string, Fields> {
  return new Map(
    listOf(operation['parameters']).map((each) => {
      const parameter = fieldsOf(each);
      const name = String(parameter['name']);
      const isHeader = parameter['in'] === 'header';
      const what = isHeader ? 'header' : `${parameter['in']} parameter`;
      return [`${what} ${isHeader ? name.toLowerCase() : name}`, parameter];
    }),
  );
}

function compareParameters(where: string, was: Fields, is: Fields): Change[] {
  return compareNamed(parametersOf(was), parametersOf(is), {
    // Of a query it would be refused; a header, as that of a key, would be heeded no more.
    gone: (name) => [{ verdict: 'breaks', where, what: `the ${name} is not taken any more` }],
    added: (name, { required }) =>
      required === true
        ? [{ verdict: 'breaks', where, what: `the ${name} is new and required` }]
        : [{ verdict: 'is compatible', where, what: `the ${name} is new` }],
    both: (name, one, other) => [
      ...compareNeed(where, `the ${name}`, 'sent', one, other),
      ...compareAt(`${where}, ${name}`, 'sent', one['schema'], other['schema']),
    ],
  });
}

/** Whether something became required, or is no longer. */
function compareNeed(
  where: string,
  name: string,
  direction: Direction,
  was: Fields,
  is: Fields,
): Change[] {
  const [wasNeeded, isNeeded] = [was['required'] === true, is['required'] === true];
  if (wasNeeded === isNeeded) return [];
  const breaks = (direction === 'sent') === isNeeded;
  return [
    {
      verdict: breaks ? 'breaks' : 'is compatible',
      where,
      what: `${name} ${isNeeded ? 'is required now' : 'may be missing now'}`,
    },
  ];
}

function compareAt(where: string, direction: Direction, was: unknown, is: unknown): Change[] {
  return compareSchemas(was ?? {}, is ?? {}, direction).map((found) => ({ ...found, where }));
}

function compareBodies(where: string, before: unknown, after: unknown): Change[] {
  const [was, is] = [fieldsOf(before), fieldsOf(after)];
  if (before === undefined || after === undefined) {
    if (before !== undefined) {
      return [{ verdict: 'breaks', where, what: 'a body is not taken any more' }];
    }
    if (after === undefined) return [];
    return is['required'] === true
      ? [{ verdict: 'breaks', where, what: 'a body is new and required' }]
      : [{ verdict: 'is compatible', where, what: 'a body is new' }];
  }
  const place = `${where}, body`;
  return [
    ...compareNeed(where, 'the body', 'sent', was, is),
    ...compareContent(place, 'sent', was, is),
  ];
}

function compareContent(where: string, direction: Direction, was: Fields, is: Fields): Change[] {
  const schemasOf = (content: unknown) => new Map(Object.entries(fieldsOf(content)));
  return compareNamed(schemasOf(was['content']), schemasOf(is['content']), {
    gone: (type) => [{ verdict: 'breaks', where, what: `it is not ${type} any more` }],
    added: (type) => [
      {
        verdict: direction === 'sent' ? 'is compatible' : 'may surprise',
        where,
        what: `it may be ${type} now`,
      },
    ],
    both: (_type, one, other) =>
      compareAt(where, direction, fieldsOf(one)['schema'], fieldsOf(other)['schema']),
  });
}

const isSuccess = (status: string) => /^[23]/.test(status);

function compareAnswers(where: string, before: unknown, after: unknown): Change[] {
  const answersOf = (responses: unknown) =>
    new Map(Object.entries(fieldsOf(responses)).map(([status, one]) => [status, fieldsOf(one)]));
  return compareNamed(answersOf(before), answersOf(after), {
    gone: (status) => [
      {
        verdict: isSuccess(status) ? 'breaks' : 'is compatible',
        where,
        what: `the answer ${status} is gone`,
      },
    ],
    added: (status) => [{ verdict: 'may surprise', where, what: `the answer ${status} is new` }],
    both: (status, was, is) => {
      const place = `${where}, answer ${status}`;
      return [
        ...compareHeaders(place, was['headers'], is['headers']),
        ...compareContent(place, 'received', was, is),
      ];
    },
  });
}

function compareHeaders(where: string, before: unknown, after: unknown): Change[] {
  const headersOf = (headers: unknown) =>
    new Map(
      Object.entries(fieldsOf(headers)).map(([name, header]) => [
        name.toLowerCase(),
        fieldsOf(header),
      ]),
    );
  return compareNamed(headersOf(before), headersOf(after), {
    gone: (name) => [{ verdict: 'breaks', where, what: `the header ${name} is gone` }],
    added: (name) => [{ verdict: 'is compatible', where, what: `the header ${name} is new` }],
    both: (name, was, is) => [
      ...compareNeed(where, `the header ${name}`, 'received', was, is),
      ...compareAt(`${where}, header ${name}`, 'received', was['schema'], is['schema']),
    ],
  });
}

const isFailure = (where: string) => /, answer [45]/.test(where);

/**
 * One sentence for each change. The problem document is in most answers of all routes, so that a
 * change of it is told at the first of them.
 */
export function sentencesOf(changes: readonly Change[]): string[] {
  const places = new Map<string, string[]>();
  for (const { what, where } of changes) {
    const key = isFailure(where) ? what : `${where}: ${what}`;
    places.set(key, [...(places.get(key) ?? []), where]);
  }
  return [...places].map(([key, [first = '', ...others]]) => {
    if (!isFailure(first)) return key;
    const count = `${others.length} more ${others.length === 1 ? 'place' : 'places'}`;
    return `${first}${others.length > 0 ? ` (and at ${count})` : ''}: ${key}`;
  });
}
