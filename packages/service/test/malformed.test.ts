import { once } from 'node:events';
import { type AddressInfo, connect } from 'node:net';
import { type FailureCode, failures, Problem, problemMediaType } from '@bazar/contracts';
import { Value } from '@sinclair/typebox/value';
import t, { type Test } from 'tap';
import { openStall, token } from './stall.js';

const bodyLimitBytes = 2_000;

async function listening(t: Test, options: Parameters<typeof openStall>[0] = {}) {
  const app = openStall({ bodyLimitBytes, ...options });
  t.teardown(() => app.close());
  await app.listen({ host: '127.0.0.1', port: 0 });
  const { port } = app.server.address() as AddressInfo;
  return { app, port };
}

interface Answer {
  readonly status: number;
  readonly headers: ReadonlyMap<string, string>;
  readonly body: string;
}

/** Takes the first answer off the bytes; what is left belongs to the next. */
function takeAnswer(bytes: Buffer): { answer: Answer; rest: Buffer } {
  const end = bytes.indexOf('\r\n\r\n');
  if (end < 0) throw new Error(`not a whole answer: ${JSON.stringify(bytes.toString('latin1'))}`);
  const [statusLine = '', ...lines] = bytes.subarray(0, end).toString('latin1').split('\r\n');
  const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(statusLine)?.[1]);
  const pairs = lines.map((line): [string, string] => {
    const colon = line.indexOf(':');
    return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
  });
  const headers = new Map(pairs);
  if (status === 100) return takeAnswer(bytes.subarray(end + 4));
  const length = Number(headers.get('content-length') ?? 0);
  const from = end + 4;
  const body = bytes.subarray(from, from + length);
  if (body.length < length) throw new Error('the body is shorter than its content-length');
  return {
    answer: { status, headers, body: body.toString('utf8') },
    rest: bytes.subarray(from + length),
  };
}

/** Sends bytes and reads until the service closes the connection. */
async function send(port: number, bytes: string | Buffer): Promise<Buffer> {
  const socket = connect(port, '127.0.0.1');
  const chunks: Buffer[] = [];
  socket.on('data', (chunk) => chunks.push(chunk));
  // A reset behind the answer is no matter; a missing answer will be noticed.
  socket.on('error', () => {});
  socket.write(bytes);
  await once(socket, 'close');
  return Buffer.concat(chunks);
}

function checkProblem(bytes: Buffer, code: FailureCode): Answer {
  const { answer, rest } = takeAnswer(bytes);
  if (rest.length > 0) throw new Error(`a second answer: ${rest.toString('latin1')}`);
  const problem: unknown = JSON.parse(answer.body);
  if (!Value.Check(Problem, problem)) throw new Error(`no problem document: ${answer.body}`);
  const { status } = failures[code];
  const expected = { code, status, type: `urn:problem-type:bazar:${code}` };
  for (const [key, value] of Object.entries({ ...expected })) {
    const found: unknown = Reflect.get(problem, key);
    if (found !== value) throw new Error(`${key} is ${found}, not ${value}: ${answer.body}`);
  }
  const headers = {
    'content-type': problemMediaType,
    'cache-control': 'no-store',
    'x-request-id': problem.request_id,
  };
  if (answer.status !== status) throw new Error(`the status is ${answer.status}, not ${status}`);
  for (const [name, value] of Object.entries(headers)) {
    if (answer.headers.get(name) !== value) {
      throw new Error(`${name} is ${answer.headers.get(name)}, not ${value}`);
    }
  }
  return answer;
}

const head = (line: string, ...headers: string[]) =>
  `${[`${line} HTTP/1.1`, 'Host: stall', 'Connection: close', ...headers].join('\r\n')}\r\n\r\n`;
const get = (path: string, ...headers: string[]) => head(`GET ${path}`, ...headers);
const post = (path: string, body: string | Buffer, ...headers: string[]) =>
  Buffer.concat([
    Buffer.from(head(`POST ${path}`, `Content-Length: ${Buffer.byteLength(body)}`, ...headers)),
    Buffer.from(body),
  ]);
const isJson = 'Content-Type: application/json';
const add = (body: string | Buffer) => post('/wares', body, isJson);
const ware = (change: object) =>
  add(JSON.stringify({ title: 'Pen', quantity: 1, price: 1, ...change }));
const bearer = `Authorization: Bearer ${token}`;

/** What is sent, the code it deserves, and what the detail must say where that is worth a look. */
type Case = readonly [string, string | Buffer, FailureCode, RegExp?];

const ids: readonly Case[] = [
  '3.7',
  '0x10',
  '-1',
  '+1',
  '1e3',
  '9007199254740993',
  '1_000',
  '%20',
  '%D9%A1',
  'two',
  '2,3',
  '2;',
  'NaN',
  'null',
  '00000000000000001',
  '2%00',
  '2%0a',
].map((id) => [`the id ${id}`, get(`/wares/${id}`), 'malformed_request', /params\.item_id/]);

const queries: readonly Case[] = [
  'limit=0',
  'limit=1001',
  'limit=-5',
  'limit=',
  'limit=5.5',
  'limit=1e2',
  'limit=5&limit=6',
  'after=x',
  'after=%20',
  'limit[]=5',
  'foo=1',
  '__proto__=1',
  'Limit=5',
].map((query) => [`the query ${query}`, get(`/kinds/a?${query}`), 'malformed_request', /query/]);

const bodies: readonly Case[] = [
  ['no body where one is needed', post('/wares', ''), 'malformed_request', /"title" is missing/],
  ['{}', add('{}'), 'malformed_request', /body: the key "title" is missing/],
  ['null', add('null'), 'malformed_request', /body/],
  ['an array', add('[]'), 'malformed_request', /body/],
  ['a string', add('"Pen"'), 'malformed_request'],
  ['a number', add('1'), 'malformed_request'],
  ['invalid JSON', add('{"title":'), 'malformed_request', /JSON/],
  ['two values', add('{}{}'), 'malformed_request'],
  ['a trailing comma', add('{"title":"a",}'), 'malformed_request'],
  ['only white space', add('  '), 'malformed_request'],
  ['invalid UTF-8', add(Buffer.from('{"title":"\xff"}', 'latin1')), 'malformed_request', /UTF-8/],
  ['UTF-16', add(Buffer.from('{"title":"a"}', 'utf16le')), 'malformed_request'],
  ['__proto__', add('{"__proto__":{"title":"a"}}'), 'malformed_request'],
  ['an escaped __proto__', add('{"\\u005f_proto__":{}}'), 'malformed_request'],
  ['a constructor', add('{"constructor":{"prototype":{}}}'), 'malformed_request'],
  ['an unknown key', ware({ colour: 'red' }), 'malformed_request', /the key "colour" is unknown/],
  ['a text for a number', ware({ quantity: '1' }), 'malformed_request', /body\.quantity/],
  ['a boolean for a number', ware({ quantity: true }), 'malformed_request', /body\.quantity/],
  ['null for a number', ware({ quantity: null }), 'malformed_request', /body\.quantity/],
  ['a list for a text', ware({ title: ['Pen'] }), 'malformed_request', /body\.title/],
  ['a number for a text', ware({ title: 7 }), 'malformed_request', /body\.title/],
  ['a fraction of a piece', ware({ quantity: 1.5 }), 'malformed_request', /body\.quantity/],
  ['a negative quantity', ware({ quantity: -1 }), 'malformed_request', /body\.quantity/],
  ['three decimals', ware({ price: 19.991 }), 'malformed_request', /body\.price: .*two decimals/],
  ['a negative price', ware({ price: -0.01 }), 'malformed_request', /body\.price/],
  ['an infinite price', add('{"title":"a","quantity":1,"price":1e999}'), 'malformed_request'],
  ['a formula', ware({ title: '=1+1' }), 'malformed_request', /body\.title/],
  ['a control character', ware({ title: 'a\u0000b' }), 'malformed_request', /body\.title/],
  ['an empty title', ware({ title: '' }), 'malformed_request', /body\.title/],
  ['a key too many for a purchase', post('/wares/2/buy', '{"a":1}', isJson), 'malformed_request'],
  ['a very long unknown key', ware({ ['k'.repeat(1_500)]: 1 }), 'malformed_request', /^.{0,200}$/],
];

const types: readonly Case[] = [
  ['text/plain', post('/wares', '{}', 'Content-Type: text/plain'), 'unsupported_media_type'],
  [
    'a form',
    post('/wares', 'a=1', 'Content-Type: application/x-www-form-urlencoded'),
    'unsupported_media_type',
  ],
  ['no content type', post('/wares', '{}'), 'unsupported_media_type'],
  ['an invalid content type', post('/wares', '{}', 'Content-Type: json'), 'unsupported_media_type'],
  [
    'JSON of another kind',
    post('/wares', '{}', 'Content-Type: application/jsonx'),
    'unsupported_media_type',
  ],
  [
    'a chunked form',
    `${head('POST /wares', 'Transfer-Encoding: chunked', 'Content-Type: a/b')}1\r\na\r\n0\r\n\r\n`,
    'unsupported_media_type',
  ],
  [
    'a large upload',
    post('/wares', 'x'.repeat(300_000), 'Content-Type: a/b'),
    'unsupported_media_type',
  ],
];

const sizes: readonly Case[] = [
  ['one byte too many', add(`"${'x'.repeat(bodyLimitBytes - 1)}"`), 'body_too_large'],
  ['a megabyte', add('x'.repeat(1_000_000)), 'body_too_large'],
  [
    'a length announced',
    head('POST /wares', isJson, 'Content-Length: 99999999999'),
    'body_too_large',
  ],
  [
    'a chunked body',
    head('POST /wares', isJson, 'Transfer-Encoding: chunked') +
      `1000\r\n${'x'.repeat(4096)}\r\n0\r\n\r\n`,
    'body_too_large',
  ],
  ['a long parameter', get(`/wares/${'1'.repeat(600)}`), 'url_too_long'],
  ['a long kind', get(`/kinds/${'%61'.repeat(600)}`), 'url_too_long'],
  ['a long header', get('/wares/2', `X-Long: ${'x'.repeat(20_000)}`), 'headers_too_large'],
  ['a very long header', get('/wares/2', `X-Long: ${'x'.repeat(500_000)}`), 'headers_too_large'],
  [
    'broken chunks of a form',
    `${head('POST /wares', 'Content-Type: a/b', 'Transfer-Encoding: chunked')}zz\r\n`,
    'malformed_request',
  ],
  ['a long URL', get(`/wares/2?${'x'.repeat(20_000)}`), 'headers_too_large'],
  [
    'long chunk extensions',
    head('POST /wares', isJson, 'Transfer-Encoding: chunked') +
      `1;${'x'.repeat(20_000)}\r\na\r\n0\r\n\r\n`,
    'body_too_large',
  ],
];

const paths: readonly Case[] = [
  ['bad percent-encoding', get('/wares/%zz'), 'malformed_request', /percent/],
  ['a lone percent sign', get('/wares/%'), 'malformed_request'],
  ['percent-encoded bytes that are not UTF-8', get('/kinds/%ff'), 'malformed_request'],
  ['bytes of a query that are not UTF-8', get('/kinds/a?after=%ff'), 'malformed_request', /query/],
  ['half an escape in a query', get('/kinds/a?after=%2'), 'malformed_request', /query/],
  ['a NUL in a file of the documents', get('/docs/static/%00'), 'route_not_found', /no route/],
  ['a path out of the documents', get('/docs/static/../../package.json'), 'route_not_found'],
  ['a file that is not there', get('/docs/static/nothing'), 'route_not_found'],
  [
    'a state that a file is not in',
    get('/docs/static/swagger-ui.css', 'If-Match: "x"'),
    'malformed_request',
  ],
  [
    'a range that a file has not',
    get('/docs/static/swagger-ui.css', 'Range: bytes=99999999-'),
    'malformed_request',
  ],
  ['an unknown path', get('/nothing'), 'route_not_found'],
  ['a slash too many', get('/wares/2/'), 'route_not_found'],
  ['a path above', get('/../etc/passwd'), 'route_not_found'],
  ['another letter case', get('/WARES/2'), 'route_not_found'],
  ['an unknown path with bad encoding', get('/nothing/%zz'), 'malformed_request'],
  ['a body to nowhere', post('/nothing', 'x', 'Content-Type: a/b'), 'route_not_found'],
  ['bad JSON to nowhere', post('/nothing', '{', isJson), 'route_not_found'],
  ['a body of no type to nowhere', post('/nothing', '{', 'Content-Type: json'), 'route_not_found'],
  ['an asterisk', head('OPTIONS *'), 'route_not_found'],
  ['an asterisk of another method', head('GET *'), 'route_not_found'],
  ['a path without a slash', head('GET wares/2'), 'malformed_request'],
  ['the wrong method', head('DELETE /wares/2'), 'method_not_allowed', /GET, HEAD/],
  ['POST for GET', post('/wares/2', ''), 'method_not_allowed'],
  ['POST of an empty type', post('/wares/2', '{', 'Content-Type: '), 'method_not_allowed'],
  ['GET for POST', get('/wares'), 'method_not_allowed', /POST/],
  ['PATCH', head('PATCH /wares/2/buy'), 'method_not_allowed'],
  ['a rare method', head('PROPFIND /wares/2'), 'method_not_allowed'],
  ['TRACE', head('TRACE /wares/2'), 'method_not_allowed'],
  ['CONNECT', head('CONNECT stall:80'), 'method_not_allowed'],
];

const headers: readonly Case[] = [
  [
    'a key that is no UUID',
    post('/wares/2/buy', '', 'Idempotency-Key: x'),
    'malformed_request',
    /headers\.idempotency-key/,
  ],
  ['an empty key', post('/wares/2/buy', '', 'Idempotency-Key:'), 'malformed_request'],
  [
    'a missing Host',
    'GET /wares/2 HTTP/1.1\r\nConnection: close\r\n\r\n',
    'malformed_request',
    /Host/,
  ],
  [
    'a missing Host of no route',
    'GET /nothing HTTP/1.1\r\nConnection: close\r\n\r\n',
    'malformed_request',
    /Host/,
  ],
  ['two hosts', get('/wares/2', 'host: stall'), 'malformed_request', /Host .* more than once/],
  [
    'two hosts of HTTP/1.0',
    'GET /wares/2 HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n',
    'malformed_request',
  ],
  [
    'a Host with a path',
    'GET /wares/2 HTTP/1.1\r\nHost: a/b\r\nConnection: close\r\n\r\n',
    'malformed_request',
  ],
  ['another expectation', post('/wares', '{}', 'Expect: 200-ok'), 'expectation_failed'],
  ['no token', post('/secret', '{"title":"a"}', isJson), 'unauthorized'],
  ['no token and no JSON', post('/secret', '{', isJson), 'unauthorized'],
  ['another scheme', post('/secret', '{}', isJson, 'Authorization: Basic YTpi'), 'unauthorized'],
  ['an empty token', post('/secret', '{}', isJson, 'Authorization: Bearer '), 'unauthorized'],
  ['a wrong token', post('/secret', '{}', isJson, `${bearer}x`), 'forbidden'],
  ['a token cut short', post('/secret', '{}', isJson, bearer.slice(0, -1)), 'forbidden'],
  [
    'the token and a wrong body',
    post('/secret', '{}', isJson, bearer),
    'malformed_request',
    /title/,
  ],
];

const parser: readonly Case[] = [
  ['garbage', '\x00\x01\x02\x03garbage\r\n\r\n', 'malformed_request'],
  ['a TLS hello', Buffer.from('160301020001000001fc0303', 'hex'), 'malformed_request'],
  ['HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'malformed_request'],
  ['HTTP/3.0', 'GET / HTTP/3.0\r\n\r\n', 'malformed_request'],
  ['an unknown method', head('BUY /wares/2'), 'malformed_request'],
  ['a header without a colon', get('/', 'nonsense'), 'malformed_request'],
  ['a header with a space in its name', get('/', 'a b: c'), 'malformed_request'],
  ['a header with a control character', get('/', 'a: \x01'), 'malformed_request'],
  [
    'two content lengths',
    `${head('POST /wares', 'Content-Length: 2', 'Content-Length: 3')}{}`,
    'malformed_request',
  ],
  [
    'a length that is no number',
    `${head('POST /wares', 'Content-Length: two')}{}`,
    'malformed_request',
  ],
  ['a negative length', `${head('POST /wares', 'Content-Length: -2')}{}`, 'malformed_request'],
  [
    'a length and chunks',
    `${head('POST /wares', 'Content-Length: 2', 'Transfer-Encoding: chunked')}0\r\n\r\n`,
    'malformed_request',
  ],
  [
    'an unknown transfer encoding',
    `${head('POST /wares', isJson, 'Transfer-Encoding: rot13')}{}`,
    'malformed_request',
  ],
  [
    'a chunk size that is no number',
    `${head('POST /wares', isJson, 'Transfer-Encoding: chunked')}zz\r\n{}\r\n0\r\n\r\n`,
    'malformed_request',
  ],
  ['a bare line feed', 'GET / HTTP/1.1\nHost: stall\n\n', 'malformed_request'],
];

const halves: readonly Case[] = [
  ['half a request line', 'GET /wa', 'request_timeout'],
  ['half the headers', 'GET / HTTP/1.1\r\nHost: stall\r\nX-H', 'request_timeout'],
  [
    'half a body',
    `${head('POST /wares', isJson, 'Content-Length: 100')}{"title":`,
    'request_timeout',
  ],
  ['no chunk', head('POST /wares', isJson, 'Transfer-Encoding: chunked'), 'request_timeout'],
  [
    'half a body behind "Expect: 100-continue"',
    head('POST /wares', isJson, 'Content-Length: 9', 'Expect: 100-continue'),
    'request_timeout',
  ],
];

const table: Readonly<Record<string, readonly Case[]>> = {
  ids,
  queries,
  bodies,
  'content types': types,
  sizes,
  paths,
  headers,
  parser,
  halves,
};

for (const [group, cases] of Object.entries(table)) {
  t.test(`when a request is malformed (${group}), then it gets one problem document`, async (t) => {
    // Short only where nothing else could happen: a busy machine must not turn a 413 into a 408.
    const limits = { requestTimeoutMs: 150, connectionsCheckingIntervalMs: 50 };
    const { app, port } = await listening(t, group === 'halves' ? limits : {});
    for (const [name, bytes, code, said] of cases) {
      try {
        const { body } = checkProblem(await send(port, bytes), code);
        const { detail } = JSON.parse(body);
        if (said) t.match(detail, said, `${name}: ${code}, ${detail}`);
        else t.pass(`${name}: ${code}, ${detail}`);
      } catch (error) {
        t.fail(`${name}: ${error}`);
      }
    }
    const { answer } = takeAnswer(await send(port, get('/wares/2')));
    t.equal(answer.status, 200, 'the service lives on');
    t.equal((await app.inject('/health/live')).statusCode, 200);
  });
}

t.test(
  'when an answer is not what it should be, then the checker of this table fails',
  async (t) => {
    const id = 'an-id';
    const problem = {
      type: 'urn:problem-type:bazar:malformed_request',
      title: 'The request is malformed',
      status: 400,
      detail: 'Bad.',
      code: 'malformed_request',
      request_id: id,
    };
    const answer = (status: number, body: object, type: string = problemMediaType) => {
      const text = JSON.stringify(body);
      const lines = [`Content-Type: ${type}`, 'Cache-Control: no-store', `X-Request-Id: ${id}`];
      const length = `Content-Length: ${Buffer.byteLength(text)}`;
      return Buffer.from(
        `HTTP/1.1 ${status} X\r\n${[...lines, length].join('\r\n')}\r\n\r\n${text}`,
      );
    };
    const good = answer(400, problem);
    checkProblem(good, 'malformed_request');
    const broken: Readonly<Record<string, Buffer>> = {
      nothing: Buffer.alloc(0),
      'a body cut short': good.subarray(0, -1),
      'two answers': Buffer.concat([good, good]),
      'another status': answer(500, problem),
      'another code': answer(400, { ...problem, code: 'internal' }),
      'an unknown code': answer(400, { ...problem, code: 'oops' }),
      'no detail': answer(400, { ...problem, detail: undefined }),
      'another request id': answer(400, { ...problem, request_id: 'other' }),
      'a charset': answer(400, problem, `${problemMediaType}; charset=utf-8`),
      "Fastify's own": answer(400, { statusCode: 400, error: 'Bad Request', message: 'Bad' }),
    };
    for (const [name, bytes] of Object.entries(broken)) {
      t.throws(() => checkProblem(bytes, 'malformed_request'), name);
    }
  },
);
