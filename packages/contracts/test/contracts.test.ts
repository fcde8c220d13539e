import { TypeCompiler } from '@sinclair/typebox/compiler';
import t from 'tap';
import {
  accusesUs,
  type Body,
  canonicalId,
  catalog,
  catalogAdmin,
  Failure,
  failureCodes,
  failures,
  gateway,
  health,
  type Input,
  isDecimal,
  isFailureCode,
  isMoney,
  order,
  orderAdmin,
  Problem,
  problemOf,
  type Request,
  type ResponseHeaders,
  type Route,
  requestIdPattern,
  successStatus,
} from '../src/index.js';
import {
  batchTimeoutMs,
  catalogInternal,
  failedOutcome,
  matchOutcomes,
  orderInternal,
  purchaseAnswer,
  purchaseFailure,
  withNothingDone,
} from '../src/internal.js';

const contracts = {
  catalog,
  catalogAdmin,
  catalogInternal,
  gateway,
  health,
  order,
  orderAdmin,
  orderInternal,
};
const routes = Object.entries(contracts).flatMap(([contract, byName]) =>
  Object.entries<Route>(byName).map(([name, route]) => ({ name: `${contract}.${name}`, route })),
);

t.test('every route', async (t) => {
  for (const { name, route } of routes) {
    const { params, querystring, response } = route.schema;
    t.doesNotThrow(() => successStatus(route), `${name} declares exactly one success`);
    const inPath = [...route.url.matchAll(/:(\w+)/g)].map(([, parameter]) => parameter);
    t.same(Object.keys(params?.properties ?? {}), inPath, `${name} declares the ids in its path`);
    for (const part of [params, querystring]) {
      if (part === undefined) continue;
      t.equal(part['additionalProperties'], false, `${name} refuses unknown parameters`);
      for (const [key, schema] of Object.entries(part.properties)) {
        const type: unknown = schema['type'];
        t.equal(type, 'string', `${name}: ${key} is text on the wire, so nothing is coerced`);
      }
    }
    for (const [status, { content = {} }] of Object.entries(response)) {
      const media = Object.keys(content);
      if (Number(status) >= 400) t.same(media, ['application/problem+json'], `${name} ${status}`);
    }
    t.ok(response[500] && response[503] && response[400], `${name} can fail as all routes can`);
  }
  t.throws(
    () => successStatus({ ...catalog.info, schema: { summary: '', response: {} } }),
    /GET \/info\/:item_id must declare exactly one success status/,
    'the check sees a route without a success',
  );
  const twice = { summary: '', response: { 200: { description: '' }, 201: { description: '' } } };
  t.throws(() => successStatus({ ...catalog.info, schema: twice }), 'and one with two');
});

t.test('one method and path means one route in all that a service mounts', async (t) => {
  for (const service of [
    [catalog, catalogAdmin, catalogInternal, health],
    [order, orderAdmin, orderInternal, health],
    [gateway, health],
  ]) {
    const names = service.flatMap((contract) =>
      Object.values<Route>(contract).map(({ method, url }) => `${method} ${url}`),
    );
    t.equal(new Set(names).size, names.length, names.join(', '));
  }
});

t.test('the table of failures', async (t) => {
  const check = TypeCompiler.Compile(Problem);
  for (const code of failureCodes) {
    const problem = problemOf(new Failure(code, 'because'), 'id-1');
    t.ok(check.Check(problem), `${code} makes a problem document`);
    t.equal(problem.status, failures[code].status);
    t.ok(problem.status >= 400 && problem.status < 600);
  }
  t.notOk(check.Check({ ...problemOf(new Failure('internal', ''), ''), code: 'invented' }));
  t.notOk(isFailureCode('toString'), 'what every object has is no code');
  t.notOk(isFailureCode(7));
  t.equal(new Failure('storage_full', '').retryAfterSeconds, 1, 'a 503 says when to come back');
  t.equal(new Failure('order_not_found', '').retryAfterSeconds, undefined);
});

t.test('ids in paths are plain decimal digits', async (t) => {
  const schema = catalog.info.schema.params.properties.item_id;
  t.ok(isDecimal(schema));
  t.notOk(isDecimal(order.order.schema.params.properties.order_id));
  const pattern = new RegExp(String(schema['pattern']));
  for (const id of ['0', '2', '007', '999999999999999']) t.match(id, pattern);
  for (const id of ['3.7', '0x10', '-1', '+1', '1e3', ' 1', '', '9007199254740993', '٣', '1\n']) {
    t.notMatch(id, pattern, JSON.stringify(id));
  }
});

t.test('limits are 1 to 1000', async (t) => {
  const pattern = new RegExp(String(catalog.search.schema.querystring.properties.limit['pattern']));
  for (const limit of ['1', '9', '10', '100', '999', '1000']) t.match(limit, pattern);
  for (const limit of ['0', '01', '1001', '-1', '1.0', '']) t.notMatch(limit, pattern);
});

t.test('money has at most two decimals', async (t) => {
  for (const price of [0, 19.99, 0.1, 0.29, 45.5, 1.1, 1_000_000_000]) t.ok(isMoney(price));
  for (const price of [-1, 19.999, 0.001, 1e-7, Number.NaN, 1_000_000_001, Infinity]) {
    t.notOk(isMoney(price), String(price));
  }
  for (let cents = 0; cents < 100_000; cents += 1) {
    const price = Number(`${Math.floor(cents / 100)}.${String(cents % 100).padStart(2, '0')}`);
    if (!isMoney(price)) t.fail(`${price} is refused`);
  }
});

t.test('titles', async (t) => {
  const { title } = catalogAdmin.addBook.schema.body.properties;
  const pattern = new RegExp(String(title.pattern), 'u');
  const good = ['RPCs for Noobs', 'C++', 'a=b', '2001', '«Война и мир»', '日本語', '📚 books', 'x'];
  for (const text of good) t.match(text, pattern);
  const formulas = ['=1+1', '+1', '-1', '@SUM(A1)'];
  const controls = ['a\tb', 'a\nb', 'a\rb', 'a\0b', 'a\u0085b', 'a\u2028b', '\u007f'];
  const others = [' a', 'a ', '\ud800', 'a\udc00b'];
  for (const text of [...formulas, ...controls, ...others]) {
    t.notOk(
      pattern.test(text),
      `U+${text.codePointAt(1)?.toString(16)} in ${text.length} characters`,
    );
  }
});

t.test('topics can be searched by their URL', async (t) => {
  const { topic } = catalogAdmin.addBook.schema.body.properties;
  const pattern = new RegExp(String(topic.pattern), 'u');
  for (const text of ['distributed', '...', '.a', 'a/../b', '日本語']) t.match(text, pattern);
  for (const text of ['.', '..', '=1', ' a', 'a\n']) t.notOk(pattern.test(text), text);
});

t.test('only what another service says about our request accuses us', async (t) => {
  t.ok(accusesUs(new Failure('unauthorized', 'why', { foreign: true })));
  t.notOk(accusesUs(new Failure('unauthorized', 'why')), 'what we say ourselves');
  t.notOk(accusesUs(new Failure('unavailable', 'why', { foreign: true })), 'a trouble of theirs');
  t.notOk(accusesUs(new Error('why')));
});

t.test('keys', async (t) => {
  const key = order.purchase.schema.headers.properties['idempotency-key'];
  const pattern = new RegExp(String(key.pattern));
  const id = '0190A3C4-7b1e-7000-8000-00000000000a';
  for (const text of [id, id.toLowerCase(), `"${id}"`]) {
    t.match(text, pattern);
    t.equal(canonicalId(text), id.toLowerCase(), 'one spelling of it counts');
  }
  for (const text of [`"${id}`, `${id}"`, `{${id}}`, id.slice(1), `${id}0`, 'x', '']) {
    t.notMatch(text, pattern, text);
  }
  t.match('A_request-1', requestIdPattern);
  for (const text of ['', 'a b', 'a\n', 'x'.repeat(65), 'ü']) t.notMatch(text, requestIdPattern);
});

t.test('outcomes of a batch are matched by id', async (t) => {
  const operations = [{ id: 'a' }, { id: 'b' }, { id: 'a' }];
  const idOf = ({ id }: { id: string }) => id;
  const outcomes = [{ id: 'c' }, { id: 'a', result: 1 }];
  const [first, second, third] = matchOutcomes(operations, idOf, outcomes, idOf);
  t.same(first, { id: 'a', result: 1 });
  t.ok(second instanceof Failure && second.code === 'unavailable', 'a missing one is unknown');
  t.equal(third, first, 'an id twice in a batch is one operation');
  t.equal(batchTimeoutMs([{ timeout_ms: 5 }, { timeout_ms: 900 }]), 900);
  t.equal(batchTimeoutMs([{ timeout_ms: 5 }, {}]), 10_000, 'the most patient item counts');
  t.equal(batchTimeoutMs([{ timeout_ms: 9_999_999 }]), 10_000, 'but nobody waits for ever');
});

t.test('what a buyer is told', async (t) => {
  const order_id = '0190a3c4-7b1e-7000-8000-00000000000a';
  const sold = {
    item_id: 2,
    title: 'RPCs for Noobs',
    price: 50,
    timestamp: '2026-01-01T00:00:00.000Z',
  };
  const told = purchaseAnswer({ order_id, result: 'sold', replayed: true, ...sold });
  t.same(told, {
    answer: { message: 'bought book RPCs for Noobs', order: { order_id, ...sold } },
    replayed: true,
  });
  const none = purchaseAnswer({ order_id, result: 'sold_out', replayed: false });
  t.same(none, { answer: { message: 'Out of stock' }, replayed: false });
  const failed = (code: 'storage_full' | 'book_not_found') => () =>
    purchaseAnswer({ order_id, result: 'failed', problem: { code, detail: 'why' } });
  t.throws(failed('storage_full'), { code: 'storage_full', message: /Idempotency-Key: 0190a3c4-/ });
  t.throws(failed('book_not_found'), { code: 'book_not_found', message: 'why' });
  t.throws(failed('storage_full'), { message: /Whether order 0190a3c4-.* is not known/ });
  const refused = failedOutcome(
    { order_id },
    withNothingDone(new Failure('storage_full', 'why', { retryAfterSeconds: 7 })),
  );
  t.throws(() => purchaseAnswer(refused), {
    code: 'storage_full',
    nothingDone: true,
    foreign: true,
    message: /^why\. This request bought nothing; .*Idempotency-Key: 0190a3c4-/,
  });
  const known = new Failure('key_reused', 'why');
  t.equal(purchaseFailure(known, order_id), known, 'a refusal is no unknown outcome');
});

t.test('types follow from the contract', async (t) => {
  const info: Input<typeof catalog.info> = { params: { item_id: 2 } };
  const search: Input<typeof catalog.search> = { params: { topic: 'x' } };
  const paged: Input<typeof catalog.search> = { params: { topic: 'x' }, query: { limit: 5 } };
  const topics: Input<typeof catalog.topics> = {};
  const bought: Input<typeof order.purchase> = { params: { item_id: 2 } };
  const title: Body<typeof catalog.info>['title'] = 'x';
  const page: Body<typeof gateway.home> = '<html>';
  const after: Request<typeof catalog.search>['query']['after'] = 5;
  const none: Request<typeof catalog.info>['body'] = undefined;
  const link: ResponseHeaders<typeof catalog.search> = { Link: '<x>' };
  const all = [info, search, paged, topics, bought, title, page, after, none, link];
  const update: Input<typeof catalogAdmin.update> = { params: { item_id: 2 }, body: { price: 1 } };
  // @ts-expect-error an update without changes is none
  const noUpdate: Input<typeof catalogAdmin.update> = { params: { item_id: 2 } };
  // @ts-expect-error the id is missing
  const withoutParams: Input<typeof catalog.info> = {};
  // @ts-expect-error the id is a number in code
  const wrongId: Input<typeof catalog.info> = { params: { item_id: '2' } };
  // @ts-expect-error a purchase takes nothing in its body
  const wrongBody: Input<typeof order.purchase> = { params: { item_id: 2 }, body: { many: 2 } };
  // @ts-expect-error an undeclared header
  const wrongHeader: ResponseHeaders<typeof catalog.info> = { Link: '<x>' };
  t.ok([...all, update, noUpdate, withoutParams, wrongId, wrongBody, wrongHeader]);
});
