import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  type Contract,
  catalog,
  catalogAdmin,
  gateway,
  health,
  isMoney,
  moneyFormat,
  order,
  orderAdmin,
} from '@bazar/contracts';
import { Validator } from '@seriousme/openapi-schema-validator';
import { Ajv2020 } from 'ajv/dist/2020.js';
import openapiTypescript, { astToString } from 'openapi-typescript';
import t, { type Test } from 'tap';
import ts from 'typescript';
import type { ServiceName } from '../src/index.js';
import { describeShop } from '../src/openapi/describe.js';
import { type Document, described, pathOf, textOf, topFolder } from '../src/openapi/document.js';
import { at, type Fields, fieldsOf, listOf, withoutReferences } from '../src/openapi/json.js';
import { referenceOf, referencePath } from '../src/openapi/reference.js';

// Three shops are opened for the documents, so all tests look at the same ones.
let made: ReadonlyMap<ServiceName, Document>;
t.before(async () => {
  made = await describeShop();
});

function committed(service: ServiceName): string {
  return readFileSync(join(topFolder, pathOf(service)), 'utf8');
}

/** A copy of the document of a service, to be broken. */
function copyOf(service: ServiceName): Document {
  return structuredClone(at(Object.fromEntries(made), service));
}

/** Every file that is not what the code makes, one sentence each. */
function outdated(read: (service: ServiceName) => string): string[] {
  return described
    .filter((service) => textOf(copyOf(service)) !== read(service))
    .map((service) => `${pathOf(service)} is not what the ${service} says: run pnpm openapi`);
}

interface Described {
  readonly name: string;
  readonly operation: Fields;
}

/** `GET /info/{item_id}` and its like, with their operations. */
function operationsOf(document: Document): Described[] {
  return Object.entries(at(document, 'paths')).flatMap(([path, item]) =>
    Object.entries(fieldsOf(item)).map(([method, operation]) => ({
      name: `${method.toUpperCase()} ${path}`,
      operation: fieldsOf(operation),
    })),
  );
}

interface Shown {
  /** `GET /info/{item_id} 200` */
  readonly where: string;
  readonly schema: Fields;
  readonly examples: readonly unknown[];
}

/** The contents that a document describes, of requests and of answers. */
function contentsOf(document: Document): Shown[] {
  return operationsOf(withoutReferences(document)).flatMap(({ name, operation }) => {
    const { requestBody, responses } = operation;
    const parts: [string, unknown][] = [['body', requestBody]];
    parts.push(...Object.entries(fieldsOf(responses)));
    return parts.flatMap(([part, described]) =>
      Object.values(fieldsOf(fieldsOf(described)['content'])).map((content) => ({
        where: `${name} ${part}`,
        schema: at(content, 'schema'),
        examples: Object.values(fieldsOf(fieldsOf(content)['examples'])).map(
          (example) => fieldsOf(example)['value'],
        ),
      })),
    );
  });
}

const ajv = new Ajv2020({ strict: false });
ajv.addFormat(moneyFormat, { type: 'number', validate: isMoney });

/** Every example that does not fit its schema. */
function misfits(document: Document): string[] {
  return contentsOf(document).flatMap(({ where, schema, examples }) =>
    examples
      .filter((example) => !ajv.validate(schema, example))
      .map((example) => `${where}: ${JSON.stringify(example)}`),
  );
}

t.test('when code and committed documents differ, then it is said which', async (t) => {
  t.same(outdated(committed), []);
  const changed = (service: ServiceName) =>
    committed(service).replace('"No copy is left"', '"Sold out"');
  t.same(outdated(changed), [
    'apps/gateway/openapi.json is not what the gateway says: run pnpm openapi',
    'apps/order/openapi.json is not what the order says: run pnpm openapi',
  ]);
});

t.test('when the reference for people is read, then it is of the contract', async (t) => {
  const text = readFileSync(join(topFolder, referencePath), 'utf8');
  t.equal(text, referenceOf(made), 'else run pnpm openapi');
  for (const [service, document] of made) {
    for (const { name } of operationsOf(document)) t.ok(text.includes(`### ${name}\n`), service);
  }
  t.match(text, /`\{"quantity_delta":|`\{"price":45\}`/);
});

t.test('when a document is read, then it is valid, and shows the contract only', async (t) => {
  const contracts: Readonly<Record<ServiceName, readonly Contract[]>> = {
    gateway: [gateway, health],
    catalog: [catalog, catalogAdmin, health],
    order: [order, orderAdmin, health],
  };
  for (const [service, document] of made) {
    t.match(await new Validator().validate(structuredClone(document)), { valid: true }, service);
    const routes = contracts[service]
      .flatMap((contract) => Object.values(contract))
      .map(({ method, url }) => `${method} ${url.replaceAll(/:(\w+)/g, '{$1}')}`);
    t.same(
      operationsOf(document).map(({ name }) => name),
      routes,
    );
  }
  const broken = copyOf('catalog');
  at(broken, 'paths', '/info/{item_id}', 'get')['responses'] = 'a book';
  t.match(await new Validator().validate(broken), { valid: false });
});

t.test('when a route needs a token, then its document says so', async (t) => {
  const guarded = described.flatMap((service) =>
    operationsOf(copyOf(service))
      .filter(({ operation }) => listOf(operation['security']).length > 0)
      .map(({ name }) => name),
  );
  t.same(guarded, ['POST /books', 'POST /update/{item_id}', 'GET /orders', 'GET /audit']);
});

t.test('when an answer is shown, then it is one that its schema allows', async (t) => {
  for (const document of made.values()) {
    t.same(misfits(document), []);
    for (const { where, examples } of contentsOf(document)) {
      if (/ 2\d\d$/.test(where)) t.ok(examples.length > 0, `${where} has an example`);
    }
  }
  const forged = copyOf('gateway');
  const sold = at(forged, 'paths', '/purchase/{item_id}', 'post', 'responses', '200', 'content');
  at(sold, 'application/json', 'examples', 'sold', 'value', 'order')['price'] = 'fifty';
  t.match(misfits(forged), [/^POST \/purchase\/\{item_id\} 200: .*"price":"fifty"/]);
});

const clients = described.map(
  (service) => `import type { paths as ${service} } from './${service}.js';`,
);
const start = `import createClient from 'openapi-fetch';
${clients.join('\n')}
const shop = createClient<gateway>({ baseUrl: 'http://127.0.0.1:5000' });
const books = createClient<catalog>({ baseUrl: 'http://127.0.0.1:5001' });
const orders = createClient<order>({ baseUrl: 'http://127.0.0.1:5002' });
const headers = { 'idempotency-key': '5f0c1f0e-31a6-4c37-9e52-9d8f3a2b1c00' };
`;

const right = `${start}
export async function buy(item_id: string): Promise<string> {
  const found = await shop.GET('/info/{item_id}', { params: { path: { item_id } } });
  if (found.error !== undefined) return found.error.code === 'book_not_found' ? 'none' : found.error.detail;
  const { title, price, quantity } = found.data;
  const { data, error } = await shop.POST('/purchase/{item_id}', {
    params: { path: { item_id }, header: headers },
  });
  if (error !== undefined) return error.title;
  return 'order' in data ? data.order.order_id : title + (price * quantity).toFixed(2);
}
export async function keep(): Promise<boolean> {
  const book = { title: 'A', topic: 'b', quantity: 1, price: 2.5 };
  const added = await books.POST('/books', { body: book });
  const id = added.data?.book.id ?? 0;
  await books.POST('/update/{item_id}', {
    params: { path: { item_id: String(id) } },
    body: { quantity_delta: -1 },
  });
  const page = await orders.GET('/orders', { params: { query: { after: '0', limit: '10' } } });
  for (const { sale, timestamp } of page.data ?? []) console.log(sale + 1, timestamp.length);
  const { data } = await orders.GET('/audit');
  return data?.balanced ?? false;
}
`;

/** Each line is a mistake that a client must not get away with. */
const wrongCalls = [
  "await shop.GET('/infos/{item_id}', { params: { path: { item_id: '2' } } });",
  "await shop.GET('/info/{item_id}', { params: { path: { item_id: 2 } } });",
  "await shop.GET('/info/{item_id}');",
  "(await shop.GET('/info/{item_id}', { params: { path: { item_id: '2' } } })).data?.cost;",
  "await shop.GET('/search/{topic}', { params: { path: { topic: 'a' }, query: { page: '2' } } });",
  "await books.POST('/books', { body: { title: 'A', topic: 'b', quantity: 1 } });",
  "await books.POST('/books', { body: { title: 'A', topic: 'b', quantity: 1, price: '2' } });",
  "(await orders.GET('/audit')).error?.code === 'no_such_code';",
];

/** What a strict compiler says of programs for the generated clients: `file:line`. */
async function complaints(t: Test, programs: Readonly<Record<string, string>>): Promise<string[]> {
  const types: [string, string][] = [];
  for (const [service, document] of made) {
    types.push([`${service}.ts`, astToString(await openapiTypescript(textOf(document)))]);
  }
  const folder = t.testdir({ ...Object.fromEntries(types), ...programs });
  const program = ts.createProgram(
    Object.keys(programs).map((file) => join(folder, file)),
    {
      strict: true,
      exactOptionalPropertyTypes: true,
      noUncheckedIndexedAccess: true,
      noPropertyAccessFromIndexSignature: true,
      module: ts.ModuleKind.NodeNext,
      moduleResolution: ts.ModuleResolutionKind.NodeNext,
      target: ts.ScriptTarget.ES2023,
      lib: ['lib.es2023.d.ts', 'lib.dom.d.ts'],
      types: [],
      noEmit: true,
      skipLibCheck: true,
    },
  );
  return ts.getPreEmitDiagnostics(program).map(({ file, start = 0, messageText }) => {
    const { line = 0 } = file?.getLineAndCharacterOfPosition(start) ?? {};
    const name = file?.fileName.split('/').at(-1);
    const text = ts.flattenDiagnosticMessageText(messageText, ' ');
    return `${name}:${line + 1} ${text}`;
  });
}

t.test('when a client is made of the documents, then only right calls compile', async (t) => {
  const wrong = `${start}${wrongCalls.join('\n')}\nexport { headers };\n`;
  const found = await complaints(t, { 'right.ts': right, 'wrong.ts': wrong });
  t.same(
    found.filter((complaint) => !complaint.startsWith('wrong.ts')),
    [],
  );
  const firstLine = start.split('\n').length;
  for (const [index, call] of wrongCalls.entries()) {
    const line = `wrong.ts:${firstLine + index} `;
    t.ok(
      found.some((complaint) => complaint.startsWith(line)),
      call,
    );
  }
});
