import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import t from 'tap';
import { type Change, compareDocuments, sentencesOf } from '../src/openapi/changes.js';
import { type Document, described, pathOf, textOf, topFolder } from '../src/openapi/document.js';
import { at, type Fields, fieldsOf, isFields } from '../src/openapi/json.js';
import { report } from '../src/openapi/report.js';
import { changesSince, usualReference } from '../src/openapi/since.js';

const text = { type: 'string' };
const json = (schema: object) => ({ 'application/json': { schema } });
const reference = (name: string) => ({ $ref: `#/components/schemas/${name}` });

/** A small document with one of each kind of thing that clients depend on. */
const stall: Document = {
  openapi: '3.1.0',
  info: { title: 'Stall', version: '1.0.0' },
  servers: [{ url: '/' }],
  paths: {
    '/wares/{id}': {
      get: {
        operationId: 'ware',
        parameters: [
          { name: 'id', in: 'path', required: true, schema: text },
          { name: 'lang', in: 'query', schema: { type: 'string', enum: ['ar', 'en'] } },
          { name: 'X-Key', in: 'header', schema: text },
        ],
        responses: {
          200: {
            description: 'The ware',
            headers: { ETag: { schema: text } },
            content: json(reference('Ware')),
          },
          404: { description: 'None', content: json(reference('Problem')) },
        },
      },
      post: {
        operationId: 'buy',
        security: [{ bearer: [] }],
        parameters: [{ name: 'id', in: 'path', required: true, schema: text }],
        requestBody: { required: true, content: json(reference('Wish')) },
        responses: {
          200: {
            description: 'Bought, or none left',
            content: json({ anyOf: [reference('Sold'), reference('SoldOut')] }),
          },
          404: { description: 'None', content: json(reference('Problem')) },
        },
      },
    },
  },
  components: {
    securitySchemes: {
      bearer: { type: 'http', scheme: 'bearer' },
      key: { type: 'apiKey', in: 'header', name: 'x' },
    },
    schemas: {
      Ware: {
        title: 'Ware',
        type: 'object',
        required: ['id', 'tags'],
        properties: {
          id: { type: 'integer', minimum: 0 },
          note: { type: 'string', maxLength: 20 },
          tags: { type: 'array', items: text },
        },
      },
      Wish: {
        title: 'Wish',
        type: 'object',
        required: ['count'],
        additionalProperties: false,
        properties: {
          count: { type: 'integer', minimum: 1, maximum: 9 },
          to: { type: 'string', pattern: '^[a-z]+$' },
          wrap: { anyOf: [{ const: 'paper' }, { const: 'box' }] },
        },
      },
      Sold: { title: 'Sold', type: 'object', required: ['price'], properties: { price: text } },
      SoldOut: { title: 'SoldOut', type: 'object', properties: { until: text } },
      Problem: {
        type: 'object',
        required: ['code'],
        properties: { code: { type: 'string', enum: ['late', 'none'] } },
      },
    },
  },
};

const get = ['paths', '/wares/{id}', 'get'];
const post = ['paths', '/wares/{id}', 'post'];
const schema = (name: string, ...more: string[]) => ['components', 'schemas', name, ...more];
const [inGet, inPost] = ['GET /wares/{id}', 'POST /wares/{id}'];

/** Sets what stands under a path; undefined takes it away. */
type Mutation = readonly [path: readonly string[], value: unknown];

function mutated(document: Document, [path, value]: Mutation): Document {
  const copy = structuredClone(document);
  const parent = at(copy, ...path.slice(0, -1));
  const name = path.at(-1) ?? '';
  if (value === undefined) delete parent[name];
  else parent[name] = value;
  return copy;
}

function told(changes: readonly Change[], verdict: Change['verdict']): string[] {
  return sentencesOf(changes.filter((one) => one.verdict === verdict));
}

const without = (name: string) => {
  const parameters = at(stall, ...get)['parameters'];
  return Array.isArray(parameters)
    ? parameters.filter((each) => fieldsOf(each)['name'] !== name)
    : [];
};
const newParameter = (required: boolean) => [
  ...without(''),
  { name: 'page', in: 'query', required, schema: text },
];

const breaking: readonly (readonly [Mutation, sentence: string])[] = [
  [[get, undefined], `${inGet}: the route is gone`],
  [[['servers'], [{ url: '/v2' }]], 'every route: the address / is gone'],
  [[[...get, 'security'], [{ bearer: [] }]], `${inGet}: it needs a token now: bearer`],
  [
    [[...post, 'security'], [{ bearer: [], key: [] }]],
    `${inPost}: it needs a token now: bearer and key`,
  ],
  [
    [['components', 'securitySchemes', 'bearer', 'scheme'], 'basic'],
    'the token bearer: it is sent in another way',
  ],
  // What clients receive.
  [
    [schema('Ware', 'properties', 'note'), undefined],
    `${inGet}, answer 200: the field note is gone`,
  ],
  [[schema('Ware', 'required'), ['id']], `${inGet}, answer 200: the field tags may be missing now`],
  [
    [schema('Ware', 'properties', 'id', 'type'), 'string'],
    `${inGet}, answer 200: the field id is of type string now, was integer`,
  ],
  [
    [schema('Ware', 'properties', 'id', 'type'), 'number'],
    `${inGet}, answer 200: the field id is of type number now, was integer`,
  ],
  [
    [schema('Ware', 'properties', 'note', 'type'), ['string', 'null']],
    `${inGet}, answer 200: the field note is of type string or null now, was string`,
  ],
  [
    [schema('Ware', 'properties', 'tags', 'items'), { type: 'object' }],
    `${inGet}, answer 200: the field tags[] is of type object now, was string`,
  ],
  [
    [schema('Problem', 'properties', 'code', 'enum'), ['none']],
    `${inGet}, answer 404 (and at 1 more place): the field code is never "late" any more`,
  ],
  [
    [[...post, 'responses', '200', 'content'], json(reference('Sold'))],
    `${inPost}, answer 200: it is never SoldOut any more`,
  ],
  [
    [
      [...get, 'responses', '200', 'content'],
      json({ anyOf: [reference('Ware'), reference('Sold')] }),
    ],
    `${inGet}, answer 200: it may be Sold now`,
  ],
  [
    [schema('Sold', 'properties', 'price'), undefined],
    `${inPost}, answer 200: the field price is gone`,
  ],
  [[[...get, 'responses', '200'], undefined], `${inGet}: the answer 200 is gone`],
  [[[...get, 'responses', '200', 'headers'], {}], `${inGet}, answer 200: the header etag is gone`],
  [
    [[...get, 'responses', '200', 'content'], { 'text/csv': { schema: text } }],
    `${inGet}, answer 200: it is not application/json any more`,
  ],
  // What clients send.
  [
    [[...get, 'parameters'], without('lang')],
    `${inGet}: the query parameter lang is not taken any more`,
  ],
  [
    [[...get, 'parameters'], newParameter(true)],
    `${inGet}: the query parameter page is new and required`,
  ],
  [
    [
      [...get, 'parameters'],
      [...without('X-Key'), { name: 'x-key', in: 'header', required: true, schema: text }],
    ],
    `${inGet}: the header x-key is required now`,
  ],
  [[[...get, 'parameters'], without('X-Key')], `${inGet}: the header x-key is not taken any more`],
  [
    [
      [...get, 'parameters'],
      [...without('lang'), { name: 'lang', in: 'query', schema: { type: 'string', enum: ['en'] } }],
    ],
    `${inGet}, query parameter lang: it is never "ar" any more`,
  ],
  [[[...post, 'requestBody'], undefined], `${inPost}: a body is not taken any more`],
  [
    [[...get, 'requestBody'], { required: true, content: json(text) }],
    `${inGet}: a body is new and required`,
  ],
  [
    [[...post, 'requestBody', 'content'], { 'text/csv': { schema: text } }],
    `${inPost}, body: it is not application/json any more`,
  ],
  [[schema('Wish', 'required'), ['count', 'to']], `${inPost}, body: the field to is required now`],
  [
    [
      schema('Wish'),
      {
        ...at(stall, ...schema('Wish')),
        required: ['count', 'id'],
        properties: { ...at(stall, ...schema('Wish', 'properties')), id: text },
      },
    ],
    `${inPost}, body: the field id is new and required`,
  ],
  [[schema('Wish', 'properties', 'to'), undefined], `${inPost}, body: the field to is refused now`],
  [
    [schema('Wish', 'properties', 'count', 'type'), 'string'],
    `${inPost}, body: the field count is of type string now, was integer`,
  ],
  [
    [schema('Wish', 'properties', 'count', 'maximum'), 5],
    `${inPost}, body: the field count has the maximum 5 now, was 9`,
  ],
  [
    [schema('Wish', 'properties', 'count', 'minimum'), 2],
    `${inPost}, body: the field count has the minimum 2 now, was 1`,
  ],
  [
    [schema('Wish', 'properties', 'to', 'maxLength'), 5],
    `${inPost}, body: the field to has the maxLength 5 now, was none`,
  ],
  [
    [schema('Wish', 'properties', 'to', 'pattern'), '^[a-y]+$'],
    `${inPost}, body: the field to has the pattern "^[a-y]+$" now, was "^[a-z]+$"`,
  ],
  [
    [schema('Wish', 'not'), { required: ['to', 'wrap'] }],
    `${inPost}, body: it has the not {"required":["to","wrap"]} now, was none`,
  ],
  [
    [schema('Wish', 'properties', 'wrap', 'anyOf'), [{ const: 'box' }]],
    `${inPost}, body: the field wrap is never "paper" any more`,
  ],
  [
    [schema('Wish', 'properties', 'to', 'enum'), ['me', 'you']],
    `${inPost}, body: the field to is only "me", "you" now`,
  ],
];

const surprising: readonly (readonly [Mutation, sentence: string])[] = [
  [
    [schema('Problem', 'properties', 'code', 'enum'), ['late', 'none', 'sold']],
    `${inGet}, answer 404 (and at 1 more place): the field code may be "sold" now`,
  ],
  [
    [schema('Problem', 'properties', 'code', 'enum'), undefined],
    `${inGet}, answer 404 (and at 1 more place): the field code may be more than "late", "none" now`,
  ],
  [
    [schema('Ware', 'properties', 'note', 'maxLength'), 30],
    `${inGet}, answer 200: the field note has the maxLength 30 now, was 20`,
  ],
  [
    [schema('Ware', 'properties', 'id', 'minimum'), undefined],
    `${inGet}, answer 200: the field id has the minimum none now, was 0`,
  ],
  [[[...get, 'responses', '409'], { description: 'Not now' }], `${inGet}: the answer 409 is new`],
  [[[...get, 'operationId'], 'oneWare'], `${inGet}: its operationId is oneWare now, was ware`],
];

const harmless: readonly (readonly [Mutation, sentence: string | undefined])[] = [
  [[['info', 'version'], '2.0.0'], undefined],
  [[schema('Ware', 'description'), 'What is sold'], undefined],
  [[schema('Ware', 'examples'), [{ id: 1, tags: [] }]], undefined],
  [[[...get, 'summary'], 'One ware'], undefined],
  [[[...get, 'responses', '404', 'content'], json(at(stall, ...schema('Problem')))], undefined],
  [[schema('Wish', 'properties', 'wrap'), { type: 'string', enum: ['box', 'paper'] }], undefined],
  [[['paths', '/stalls'], { get: { responses: {} } }], 'GET /stalls: the route is new'],
  [
    [schema('Ware', 'properties', 'price'), { type: 'number' }],
    `${inGet}, answer 200: the field price is new`,
  ],
  [
    [schema('Ware', 'required'), ['id', 'tags', 'note']],
    `${inGet}, answer 200: the field note is required now`,
  ],
  [
    [schema('Ware', 'properties', 'note', 'maxLength'), 10],
    `${inGet}, answer 200: the field note has the maxLength 10 now, was 20`,
  ],
  [
    [schema('Wish', 'properties', 'count', 'maximum'), 20],
    `${inPost}, body: the field count has the maximum 20 now, was 9`,
  ],
  [
    [schema('Wish', 'properties', 'count', 'type'), 'number'],
    `${inPost}, body: the field count is of type number now, was integer`,
  ],
  [
    [schema('Wish', 'properties', 'to', 'pattern'), undefined],
    `${inPost}, body: the field to has the pattern none now, was "^[a-z]+$"`,
  ],
  [
    [
      schema('Wish', 'properties', 'wrap', 'anyOf'),
      [{ const: 'paper' }, { const: 'box' }, { const: 'bag' }],
    ],
    `${inPost}, body: the field wrap may be "bag" now`,
  ],
  [[schema('Wish', 'properties', 'id'), text], `${inPost}, body: the field id is new`],
  [
    [schema('Wish', 'additionalProperties'), true],
    `${inPost}, body: it may have fields of other names now`,
  ],
  [[schema('Wish', 'required'), []], `${inPost}, body: the field count may be missing now`],
  [[[...post, 'requestBody', 'required'], false], `${inPost}: the body may be missing now`],
  [[[...post, 'security'], []], `${inPost}: it is open to more callers`],
  [[[...get, 'parameters'], newParameter(false)], `${inGet}: the query parameter page is new`],
  [[[...get, 'responses', '404'], undefined], `${inGet}: the answer 404 is gone`],
];

t.test('when a change breaks clients, then a sentence names it', async (t) => {
  for (const [mutation, sentence] of breaking) {
    t.same(told(compareDocuments(stall, mutated(stall, mutation)), 'breaks'), [sentence]);
  }
});

t.test('when several routes are gone, then each is named', async (t) => {
  const changes = compareDocuments(stall, mutated(stall, [['paths', '/wares/{id}'], {}]));
  t.same(told(changes, 'breaks'), [`${inGet}: the route is gone`, `${inPost}: the route is gone`]);
});

t.test('when a change may surprise clients, then it is named, and breaks nothing', async (t) => {
  for (const [mutation, sentence] of surprising) {
    const changes = compareDocuments(stall, mutated(stall, mutation));
    t.same(told(changes, 'may surprise'), [sentence]);
    t.same(told(changes, 'breaks'), []);
  }
});

t.test('when a change is compatible, then nothing breaks or surprises', async (t) => {
  for (const [mutation, sentence] of harmless) {
    const changes = compareDocuments(stall, mutated(stall, mutation));
    t.same(sentencesOf(changes), sentence === undefined ? [] : [sentence]);
    t.ok(changes.every(({ verdict }) => verdict === 'is compatible'));
  }
});

t.test('when a schema refers to itself or to nothing, then it is not compared', async (t) => {
  for (const name of ['Ware', 'Nobody']) {
    const document = mutated(stall, [schema('Ware', 'properties', 'next'), reference(name)]);
    t.throws(() => compareDocuments(stall, document), { message: new RegExp(name) });
  }
});

/** The paths of all routes, and of all fields of the schemas that have a name. */
function partsOf(document: Document): string[][] {
  const routes = Object.entries(at(document, 'paths')).flatMap(([path, item]) =>
    Object.keys(fieldsOf(item)).map((method) => ['paths', path, method]),
  );
  const schemas = Object.entries(at(document, 'components', 'schemas'));
  const fields = schemas.flatMap(([name, one]) =>
    Object.keys(fieldsOf(fieldsOf(one)['properties'])).map((field) =>
      schema(name, 'properties', field),
    ),
  );
  return [...routes, ...fields];
}

t.test('when anything is taken out of our own documents, then it is noticed', async (t) => {
  for (const service of described) {
    const document: unknown = JSON.parse(readFileSync(join(topFolder, pathOf(service)), 'utf8'));
    if (!isFields(document)) throw new TypeError(`${pathOf(service)} is no document`);
    t.same(compareDocuments(document, document), []);
    for (const path of partsOf(document)) {
      const changes = compareDocuments(document, mutated(document, [path, undefined]));
      t.not(told(changes, 'breaks').length, 0, `${service}: ${path.join(' ')}`);
    }
  }
});

// A hook of git's runs tests with variables that would lead every git to the repository around us.
for (const name of Object.keys(process.env)) if (name.startsWith('GIT_')) delete process.env[name];

/** A folder with the documents of three services, committed. */
function repository(folder: string): (change: Fields) => void {
  const git = (...args: string[]) =>
    execFileSync('git', ['-c', 'user.name=A', '-c', 'user.email=a@b.example', ...args], {
      cwd: folder,
    });
  const write = (document: Fields) => {
    for (const service of described) {
      const path = join(folder, pathOf(service));
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, textOf(document));
    }
  };
  git('init', '--quiet');
  git('commit', '--quiet', '--allow-empty', '--message', 'Nothing yet');
  write(stall);
  git('add', '.');
  git('commit', '--quiet', '--message', 'The documents');
  return write;
}

t.test('when files differ from a commit, then the changes since then are told', async (t) => {
  const folder = t.testdir();
  const write = repository(folder);
  t.equal(await usualReference(folder), 'HEAD');
  t.same(report(await changesSince('HEAD', folder), 'HEAD'), {
    lines: [
      'apps/gateway/openapi.json since HEAD: nothing has changed',
      'apps/catalog/openapi.json since HEAD: nothing has changed',
      'apps/order/openapi.json since HEAD: nothing has changed',
      'No client breaks.',
    ],
    breaks: false,
  });
  write(mutated(stall, [get, undefined]));
  const { lines, breaks } = report(await changesSince('HEAD', folder), 'HEAD');
  t.equal(breaks, true);
  t.equal(lines[1], `  breaks clients: ${inGet}: the route is gone`);
  t.equal(lines.at(-1), 'Clients break.');
  t.match(report(await changesSince('HEAD^', folder), 'HEAD^'), {
    lines: [/since HEAD\^/, /is compatible: .*the address/, /is compatible: .*the route is new/],
    breaks: false,
  });
  await t.rejects(changesSince('no-such-branch', folder), {
    name: 'NoComparison',
    message: /no commit no-such-branch/,
  });
  rmSync(join(folder, pathOf('order')));
  await t.rejects(changesSince('HEAD', folder), { message: /no apps\/order\/openapi.json/ });
});
