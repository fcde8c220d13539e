import t from 'tap';
import { fetch as undiciFetch } from 'undici';
import {
  type Bazar,
  type BazarError,
  type Book,
  createAdmin,
  createBazar,
  type Order,
  type PurchaseResult,
} from '../src/index.js';

type Equal<A, B> =
  (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
const holds = <_T extends true>(): void => {};

/** Never called: the type check is the test, and a wrong call that compiles fails it. */
async function calls(bazar: Bazar, error: BazarError): Promise<void> {
  holds<Equal<Awaited<ReturnType<typeof bazar.info>>, Book>>();
  holds<Equal<Awaited<ReturnType<typeof bazar.order>>, Order>>();
  holds<Equal<Awaited<ReturnType<typeof bazar.purchase>>, PurchaseResult>>();
  for await (const item of bazar.search('x')) {
    holds<Equal<typeof item, { id: number; title: string }>>();
  }
  const { next } = await bazar.topics({ limit: 3 });
  holds<Equal<typeof next, string | undefined>>();
  const { headers, data } = await bazar.info(2).withResponse();
  holds<Equal<typeof headers, Headers>>();
  holds<Equal<typeof data.price, number>>();

  const purchase = await bazar.purchase(2, { key: 'a', signal: new AbortController().signal });
  holds<Equal<typeof purchase.order, Order | undefined>>();
  holds<Equal<ReturnType<typeof bazar.purchase>['key'], string>>();
  // @ts-expect-error: a read has no key
  bazar.info(2).key;
  await bazar.info(2, { fetch: undiciFetch, headers: new Headers({ a: 'b' }) });
  if (purchase.result === 'sold') holds<Equal<typeof purchase.order, Order>>();

  // @ts-expect-error: ids are numbers
  bazar.info('2');
  // @ts-expect-error: a search needs its topic
  bazar.search();
  // @ts-expect-error: books come after numbers
  bazar.search('x', { after: '2' });
  // @ts-expect-error: topics come after names
  bazar.topics({ after: 2 });
  // @ts-expect-error: a read takes no key
  bazar.info(2, { key: 'a' });
  // @ts-expect-error: there is no such option
  bazar.info(2, { timeout: 5 });
  // @ts-expect-error: a shop has an address
  createBazar({});
  // @ts-expect-error: a keeper needs both services
  createAdmin({ catalogUrl: 'http://127.0.0.1:5001' });

  const admin = createAdmin({ catalogUrl: 'a', orderUrl: 'b', token: 'c' });
  await admin.update(2, { price: 4.5 });
  // @ts-expect-error: a book has no such property to change
  await admin.update(2, { title: 'Another' });
  // @ts-expect-error: a new book is given no id
  await admin.addBook({ id: 1, title: 'A', topic: 'b', quantity: 1, price: 1 });
  // @ts-expect-error: a new book has a price
  await admin.addBook({ title: 'A', topic: 'b', quantity: 1 });
  const { balanced } = await admin.audit();
  holds<Equal<typeof balanced, boolean>>();

  if (error.code === 'stock_below_zero' || error.code === 'timeout') return;
  // @ts-expect-error: there is no such code
  if (error.code === 'teapot') return;
}

t.test('when a call is wrong, then it does not compile', (t) => {
  t.type(calls, 'function');
  t.end();
});
