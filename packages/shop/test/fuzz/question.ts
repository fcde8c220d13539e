import type { Random } from '@bazar/simulation';
import { at, type Fields, fieldsOf, listOf } from '../../src/openapi/json.js';

/** One route of an OpenAPI document, without references. */
export interface Operation {
  readonly method: string;
  /** As the document has it, with its parameters in braces. */
  readonly path: string;
  readonly described: Fields;
}

/** What is asked, as it goes over the wire. */
export interface Question {
  readonly operation: Operation;
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | undefined;
}

/** What a question may be made of besides what the document says. */
export interface Material {
  readonly tokens: readonly string[];
  /** Keys that come again, so that answers are replayed, and refused for another book. */
  readonly keys: readonly string[];
}

export function operationsOf(document: Fields): Operation[] {
  return Object.entries(at(document, 'paths')).flatMap(([path, methods]) =>
    Object.entries(fieldsOf(methods)).map(([method, described]) => ({
      method: method.toUpperCase(),
      path,
      described: fieldsOf(described),
    })),
  );
}

/** Parts of a path that mean something to a parser, a file system, a database or a person. */
// biome-ignore format: a table
const oddTexts = [
  '0', '-1', '1.0', '0x1', '1e3', '+1', '00002', '999999999999999', '9999999999999999',
  'NaN', 'null', 'undefined', '[object%20Object]', '__proto__', 'constructor', 'toString',
  '..', '.', '%2e%2e', '..%2f..%2fetc%2fpasswd', '%', '%zz', '%00', '%0d%0aX-Evil:%201', '%ff%fe',
  "'%20OR%201=1--", '%3Cscript%3E', '%F0%9F%93%9A', 'Stra%C3%9Fe', '%E2%80%AE', '*', '**', ':id', '{id}',
  ';', '1;2', '1,2', '1%20', '%201', 'a'.repeat(499), 'a'.repeat(501), '9'.repeat(400),
] as const;

// biome-ignore format: a table
const oddHeaders = [
  '', ' ', '0', '-1', '1e9', '99999999999', 'x', '"', '""', 'W/"x"', '*', ',', 'a'.repeat(300),
  '00-00000000000000000000000000000000-0000000000000000-00', '\u00e9',
] as const;

// biome-ignore format: a table
const oddValues: readonly unknown[] = [
  null, true, false, 0, -0, -1, 1.5, 0.1 + 0.2, 1e21, -1e308, 2 ** 53, '', ' ', '0', 'true', '=1+1', '@x',
  '\u0000', '\ud800', '\u202e', 'a'.repeat(501), 'a'.repeat(70_000), [], {}, [[]], { a: 1 },
  ['x'], { __proto__: null, toString: 1 },
];

// biome-ignore format: a table
const oddBodies = [
  '', '{', '}', '[]', 'null', '"x"', '{"price":1,}', '{"price":NaN}', '{"price":1}{"price":2}',
  '\ufeff{"price":1}', '{"__proto__":{"price":1}}', '{"constructor":{"prototype":{"x":1}}}',
  '['.repeat(20_000), '{"a":'.repeat(5_000), '{"price":1e400}', '{"price":"\\ud800"}', '\u0000', 'a=b&c=d',
] as const;

// biome-ignore format: a table
const oddTypes = [
  'application/json', 'application/json; charset=utf-8', 'application/json;charset=latin1',
  'application/problem+json', 'text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data',
  'application/json, text/plain', 'x', '',
] as const;

/** Makes questions out of what a document says, most of them a little wrong. */
export function createQuestions(random: Random, material: Material) {
  const fitting = (schema: Fields, name: string): string => {
    if (name === 'order_id' || name === 'idempotency-key') return random.pick(material.keys);
    if (name === 'topic') return random.pick(['distributed', 'Undergrad', 'none']);
    const type = JSON.stringify(schema);
    return type.includes('[0-9]') ? String(1 + random.integer(6)) : 'x';
  };
  const oddly = (odd: number, schema: Fields, name: string, texts: readonly string[]) =>
    random.chance(odd) ? random.pick(texts) : fitting(schema, name);

  function pathOf({ path, described }: Operation): string {
    const parameters = listOf(described['parameters']).map(fieldsOf);
    const filled = path.replaceAll(/\{(\w+)\}/g, (_, name: string) => {
      const found = parameters.find((parameter) => parameter['name'] === name);
      return oddly(0.3, fieldsOf(found?.['schema']), name, oddTexts);
    });
    const query = parameters
      .filter((parameter) => parameter['in'] === 'query' && random.chance(0.4))
      .flatMap(({ name, schema }) => {
        const value = oddly(0.3, fieldsOf(schema), String(name), oddTexts);
        return random.chance(0.1) ? [`${name}=${value}`, `${name}=1`] : [`${name}=${value}`];
      });
    if (random.chance(0.05)) query.push(random.pick(['x=1', '=', '&', 'limit', '__proto__=1']));
    return query.length === 0 ? filled : `${filled}?${query.join('&')}`;
  }

  function headersOf({ described }: Operation): Record<string, string> {
    const headers: Record<string, string> = {};
    for (const parameter of listOf(described['parameters']).map(fieldsOf)) {
      const name = String(parameter['name']);
      // A spent deadline is answered with 504, which would hide what is looked for.
      if (parameter['in'] !== 'header' || name === 'x-timeout-ms' || random.chance(0.5)) continue;
      headers[name] = oddly(0.3, fieldsOf(parameter['schema']), name, oddHeaders);
    }
    if (listOf(described['security']).length > 0 && random.chance(0.9)) {
      headers['authorization'] = random.chance(0.9)
        ? `Bearer ${material.tokens[0]}`
        : random.pick([...material.tokens, 'Basic eDp4', 'Bearer', 'Bearer ', 'bearer x y']);
    }
    if (random.chance(0.05)) headers['origin'] = random.pick(['null', 'http://localhost:1', 'x']);
    return headers;
  }

  function mutated(value: unknown): unknown {
    const entries = Object.entries(fieldsOf(value));
    const kind = random.integer(4);
    if (kind === 0) entries.splice(random.integer(entries.length + 1), 1);
    if (kind === 1) entries.push([random.pick(['x', 'quantity_delta', '__proto__', 'id']), 1]);
    const place = random.integer(entries.length + 1);
    const found = entries[place];
    if (kind > 1 && found !== undefined) entries[place] = [found[0], random.pick(oddValues)];
    return Object.fromEntries(entries);
  }

  function bodyOf({ described }: Operation): string | undefined {
    const content = fieldsOf(fieldsOf(described['requestBody'])['content'])['application/json'];
    if (content === undefined) return random.chance(0.02) ? random.pick(oddBodies) : undefined;
    const examples = Object.values(fieldsOf(fieldsOf(content)['examples']));
    const value = fieldsOf(random.pick(examples))['value'];
    if (random.chance(0.2)) return random.pick(oddBodies);
    return JSON.stringify(random.chance(0.5) ? mutated(value) : value);
  }

  return (operation: Operation): Question => {
    const method = random.chance(0.03)
      ? random.pick(['PUT', 'DELETE', 'PATCH', 'OPTIONS', 'HEAD', 'POST', 'GET'])
      : operation.method;
    const sends = method !== 'GET' && method !== 'HEAD';
    const body = sends ? bodyOf(operation) : undefined;
    const type = random.chance(0.1) ? random.pick(oddTypes) : 'application/json';
    const headers = headersOf(operation);
    if (body !== undefined && random.chance(0.95)) headers['content-type'] = type;
    return { operation, method, path: pathOf(operation), headers, body };
  };
}
