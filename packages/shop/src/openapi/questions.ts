import type { ServiceName } from '../service.js';

/** One request whose answer becomes an example. */
export interface Question {
  /** The name of the example. */
  readonly name: string;
  /** What the example shows, in a few words. */
  readonly summary: string;
  /** `GET /info/2` */
  readonly request: string;
  /** What is answered, as long as the shop does what it says. */
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: unknown;
}

/** What a service is asked, in this order, in a shop that was opened in an empty folder. */
export interface Interview {
  readonly questions: readonly Question[];
  /** What it is asked after the services behind it were stopped. */
  readonly outage?: readonly Question[];
}

export const adminToken = 'the-token-of-the-keeper-0123456789';

const keeper = { authorization: `Bearer ${adminToken}` };
const stranger = { authorization: 'Bearer not-the-token-of-the-keeper' };

const key = (last: string) => ({
  'idempotency-key': `5f0c1f0e-31a6-4c37-9e52-9d8f3a2b1c${last}`,
});
const noOrder = '00000000-0000-4000-8000-000000000000';
/** More than any route takes. */
const tooLarge = { padding: '.'.repeat(70_000) };
const asText = { 'content-type': 'text/plain' };

/** The refusals of every route that needs the token. */
function guarded(request: string, body?: unknown): Question[] {
  const rest = { request, ...(body !== undefined && { body }) };
  return [
    { name: 'noToken', summary: 'Without a token', ...rest, status: 401 },
    { name: 'wrongToken', summary: 'A wrong token', ...rest, status: 403, headers: stranger },
  ];
}

/** The refusals of every route that takes a body. */
function bodies(request: string, headers: Readonly<Record<string, string>>): Question[] {
  return [
    {
      name: 'tooLarge',
      summary: 'A body of more than 64 KiB',
      request,
      status: 413,
      headers,
      body: tooLarge,
    },
    {
      name: 'notJson',
      summary: 'A body that is not JSON',
      request,
      status: 415,
      headers: { ...headers, ...asText },
      body: {},
    },
  ];
}

const healthy: readonly Question[] = [
  { name: 'alive', summary: 'Alive', request: 'GET /health/live', status: 200 },
  { name: 'ready', summary: 'Ready', request: 'GET /health/ready', status: 200 },
];

/** What the catalog and the gateway are asked. */
const reads: readonly Question[] = [
  {
    name: 'books',
    summary: 'A topic with two books',
    request: 'GET /search/distributed',
    status: 200,
  },
  {
    name: 'page',
    summary: 'One book a page; the header Link names the next page',
    request: 'GET /search/distributed?limit=1',
    status: 200,
  },
  { name: 'noBooks', summary: 'An unknown topic', request: 'GET /search/cooking', status: 200 },
  {
    name: 'malformed',
    summary: 'A limit of 0',
    request: 'GET /search/distributed?limit=0',
    status: 400,
  },
  {
    name: 'tooLong',
    summary: 'A topic of 501 letters',
    request: `GET /search/${'a'.repeat(501)}`,
    status: 414,
  },
  { name: 'book', summary: 'A book of which two are left', request: 'GET /info/2', status: 200 },
  { name: 'malformed', summary: 'An id in words', request: 'GET /info/two', status: 400 },
  { name: 'noBook', summary: 'An id that no book has', request: 'GET /info/99', status: 404 },
  { name: 'topics', summary: 'All topics', request: 'GET /topics', status: 200 },
  { name: 'malformed', summary: 'A limit of 0', request: 'GET /topics?limit=0', status: 400 },
];

/** What the order service and the gateway are asked. */
const purchases: readonly Question[] = [
  {
    name: 'sold',
    summary: 'A copy is left',
    request: 'POST /purchase/2',
    status: 200,
    headers: key('01'),
  },
  {
    name: 'replayed',
    summary: 'The same key again: the same purchase, and Idempotency-Replayed: true',
    request: 'POST /purchase/2',
    status: 200,
    headers: key('01'),
  },
  {
    name: 'lastCopy',
    summary: 'The last copy, under another key',
    request: 'POST /purchase/2',
    status: 200,
    headers: key('02'),
    body: {},
  },
  {
    name: 'soldOut',
    summary: 'No copy is left',
    request: 'POST /purchase/2',
    status: 200,
    headers: key('03'),
  },
  { name: 'malformedId', summary: 'An id in words', request: 'POST /purchase/two', status: 400 },
  {
    name: 'malformedBody',
    summary: 'A body with a key',
    request: 'POST /purchase/2',
    status: 400,
    body: { quantity: 2 },
  },
  { name: 'noBook', summary: 'An id that no book has', request: 'POST /purchase/99', status: 404 },
  ...bodies('POST /purchase/2', {}),
  {
    name: 'keyReused',
    summary: 'The key of a purchase of another book',
    request: 'POST /purchase/3',
    status: 422,
    headers: key('01'),
  },
  {
    name: 'noTime',
    summary: 'A caller who does not wait',
    request: 'POST /purchase/3',
    status: 504,
    headers: { ...key('04'), 'x-timeout-ms': '0' },
  },
  {
    name: 'order',
    summary: 'The order of a purchase',
    request: `GET /orders/${key('01')['idempotency-key']}`,
    status: 200,
  },
  { name: 'malformed', summary: 'An id that is no UUID', request: 'GET /orders/7', status: 400 },
  {
    name: 'noOrder',
    summary: 'An id that no order has',
    request: `GET /orders/${noOrder}`,
    status: 404,
  },
];

const newBook = { title: 'Distributed Snapshots', topic: 'distributed', quantity: 1, price: 12.5 };

/** What the catalog is asked by the keeper. */
const changes: readonly Question[] = [
  ...guarded('POST /books', newBook),
  {
    name: 'added',
    summary: 'A new book',
    request: 'POST /books',
    status: 201,
    headers: { ...keeper, ...key('11') },
    body: newBook,
  },
  {
    name: 'replayed',
    summary: 'The same key again: the same book, and Idempotency-Replayed: true',
    request: 'POST /books',
    status: 201,
    headers: { ...keeper, ...key('11') },
    body: newBook,
  },
  {
    name: 'malformed',
    summary: 'A price with three decimals',
    request: 'POST /books',
    status: 400,
    headers: keeper,
    body: { ...newBook, price: 12.345 },
  },
  ...bodies('POST /books', keeper),
  {
    name: 'keyReused',
    summary: 'The key of another book',
    request: 'POST /books',
    status: 422,
    headers: { ...keeper, ...key('11') },
    body: { ...newBook, price: 13 },
  },
  ...guarded('POST /update/2', { price: 45 }),
  {
    name: 'price',
    summary: 'A new price',
    request: 'POST /update/2',
    status: 200,
    headers: { ...keeper, ...key('12') },
    body: { price: 45 },
  },
  {
    name: 'replayed',
    summary: 'The same key again: changed once, and Idempotency-Replayed: true',
    request: 'POST /update/2',
    status: 200,
    headers: { ...keeper, ...key('12') },
    body: { price: 45 },
  },
  {
    name: 'stock',
    summary: 'Five copies more',
    request: 'POST /update/2',
    status: 200,
    headers: { ...keeper, ...key('13') },
    body: { quantity_delta: 5 },
  },
  {
    name: 'malformed',
    summary: 'Both ways to say the stock',
    request: 'POST /update/2',
    status: 400,
    headers: keeper,
    body: { quantity: 1, quantity_delta: 1 },
  },
  {
    name: 'noBook',
    summary: 'An id that no book has',
    request: 'POST /update/99',
    status: 404,
    headers: keeper,
    body: { price: 45 },
  },
  {
    name: 'belowZero',
    summary: 'More copies taken away than there are',
    request: 'POST /update/2',
    status: 409,
    headers: keeper,
    body: { quantity_delta: -100 },
  },
  ...bodies('POST /update/2', keeper),
  {
    name: 'keyReused',
    summary: 'The key of another change',
    request: 'POST /update/2',
    status: 422,
    headers: { ...keeper, ...key('12') },
    body: { price: 46 },
  },
];

/** What the order service is asked by the keeper. */
const ledger: readonly Question[] = [
  ...guarded('GET /orders'),
  {
    name: 'orders',
    summary: 'All orders',
    request: 'GET /orders',
    status: 200,
    headers: keeper,
  },
  {
    name: 'page',
    summary: 'One order a page; the header Link names the next page',
    request: 'GET /orders?limit=1',
    status: 200,
    headers: keeper,
  },
  {
    name: 'malformed',
    summary: 'A limit of 0',
    request: 'GET /orders?limit=0',
    status: 400,
    headers: keeper,
  },
  ...guarded('GET /audit'),
  {
    name: 'balanced',
    summary: 'Every copy is left or sold once',
    request: 'GET /audit',
    status: 200,
    headers: keeper,
  },
];

export const interviews: Readonly<Record<ServiceName, Interview>> = {
  gateway: {
    questions: [
      { name: 'page', summary: 'The page', request: 'GET /', status: 200 },
      ...healthy,
      ...reads,
      ...purchases,
    ],
    outage: [
      {
        name: 'notReady',
        summary: 'The services behind do not answer',
        request: 'GET /health/ready',
        status: 503,
      },
      {
        name: 'unavailable',
        summary: 'The catalog does not answer',
        request: 'GET /info/4',
        status: 503,
      },
      {
        name: 'unavailable',
        summary: 'The order service does not answer',
        request: 'POST /purchase/4',
        status: 503,
        headers: key('05'),
      },
    ],
  },
  catalog: { questions: [...healthy, ...reads, ...changes] },
  order: { questions: [...healthy, ...purchases, ...ledger] },
};
