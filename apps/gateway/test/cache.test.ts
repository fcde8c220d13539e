import { readyAnswer } from '@bazar/service';
import t from 'tap';
import { createCache, type Kept } from '../src/cache.js';

const answer = (text: string): Kept => ({
  ...readyAnswer('/info/:item_id', [], text),
  body: text,
  etag: `"${text}"`,
  link: undefined,
});

/** A fetch that somebody else ends. */
function pendingFetch() {
  let resolve = (_kept: Kept) => {};
  let reject = (_error: Error) => {};
  const kept = new Promise<Kept>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { fetch: () => kept, resolve, reject };
}

const never = () => Promise.reject(new Error('nobody should ask for this'));

function open(maxBytes?: number) {
  const lease = { isLive: true };
  const cache = createCache({
    isLive: () => lease.isLive,
    ...(maxBytes !== undefined && { maxBytes }),
  });
  const read = async (key: string, subject: number | 'titles', text: string) => {
    const { kept, status } = await cache.read(key, subject, async () => answer(text));
    return `${kept.body} ${status}`;
  };
  return { cache, lease, read };
}

t.test('when an answer is kept, then it is served until its subject changes', async (t) => {
  const { cache, read } = open();
  t.equal(await read('/info/1', 1, 'a'), 'a fwd=miss');
  t.equal(await read('/info/1', 1, 'b'), 'a hit');
  t.equal(String(cache.look('/info/1')?.body), 'a');
  cache.forget({ books: [2], titles: true });
  t.equal(await read('/info/1', 1, 'b'), 'a hit', 'another book');
  cache.forget({ books: [1], titles: false });
  t.equal(cache.look('/info/1'), undefined);
  t.equal(await read('/info/1', 1, 'b'), 'b fwd=miss');
  t.equal(await read('/search/a', 'titles', 'c'), 'c fwd=miss');
  cache.forget({ books: [1], titles: false });
  t.equal(await read('/search/a', 'titles', 'd'), 'c hit', 'a list does not show the stock');
  cache.forget({ books: [], titles: true });
  t.equal(await read('/search/a', 'titles', 'd'), 'd fwd=miss');
  cache.forgetAll();
  t.equal(await read('/info/1', 1, 'e'), 'e fwd=miss');
});

t.test('when something changes while it is fetched, then that is not kept', async (t) => {
  const { cache } = open();
  const slow = pendingFetch();
  const first = cache.read('/info/1', 1, slow.fetch);
  const second = cache.read('/info/1', 1, never);
  cache.forget({ books: [1], titles: false });
  const third = cache.read('/info/1', 1, async () => answer('new'));
  slow.resolve(answer('old'));
  t.match(
    await first,
    { kept: { etag: '"old"' }, status: 'fwd=miss' },
    'it came before the change',
  );
  t.match(await second, { kept: { etag: '"old"' }, status: 'fwd=miss; collapsed' });
  t.match(await third, { kept: { etag: '"new"' }, status: 'fwd=miss' }, 'it came after it');
  t.equal(cache.look('/info/1')?.etag, '"new"');
});

t.test('when a new lease begins while something is fetched, then that is not kept', async (t) => {
  const { cache } = open();
  const slow = pendingFetch();
  const reading = cache.read('/info/1', 1, slow.fetch);
  cache.forgetAll();
  slow.resolve(answer('old'));
  await reading;
  t.equal(cache.look('/info/1'), undefined);
});

t.test('when there is no lease, then nothing is kept, served or shared', async (t) => {
  const { cache, lease, read } = open();
  await read('/info/1', 1, 'a');
  lease.isLive = false;
  t.equal(cache.look('/info/1'), undefined);
  t.equal(await read('/info/1', 1, 'b'), 'b fwd=miss');
  const slow = pendingFetch();
  const waiting = cache.read('/info/2', 2, slow.fetch);
  t.equal(await read('/info/2', 2, 'own'), 'own fwd=miss');
  slow.resolve(answer('late'));
  await waiting;
  lease.isLive = true;
  t.equal(cache.look('/info/2'), undefined);
});

t.test(
  'when many read without a lease, then they share a fetch that began after them',
  async (t) => {
    const { cache, lease } = open();
    lease.isLive = false;
    const begun: ReturnType<typeof pendingFetch>[] = [];
    const fetch = () => {
      const pending = pendingFetch();
      begun.push(pending);
      return pending.fetch();
    };
    const read = () => cache.read('/info/1', 1, fetch);
    const end = async (index: number, text: string) => {
      begun[index]?.resolve(answer(text));
      await new Promise(setImmediate);
    };
    const [first, second] = [read(), read()];
    t.equal(begun.length, 2);
    const crowd = Array.from({ length: 100 }, read);
    t.equal(begun.length, 2, 'the others wait');
    await end(0, 'a');
    t.equal(begun.length, 2, 'for the newer one');
    await end(1, 'b');
    t.equal(begun.length, 3);
    const late = read();
    t.equal(begun.length, 4, 'who comes after it has begun does not share it');
    await end(2, 'c');
    await end(3, 'd');
    const bodies = async (readings: Promise<{ kept: Kept }>[]) =>
      (await Promise.all(readings)).map(({ kept }) => kept.body);
    t.same(await bodies([first, second, late]), ['a', 'b', 'd']);
    t.same([...new Set(await bodies(crowd))], ['c']);
    t.same(cache.counts(), { hit: 0, miss: 4, collapsed: 99 });
    const failing = Promise.allSettled([read(), read(), read()]);
    begun[4]?.reject(new Error('away'));
    begun[5]?.reject(new Error('away'));
    await new Promise(setImmediate);
    await end(6, 'e');
    const outcomes = await failing;
    t.same(
      outcomes.map(({ status }) => status),
      ['rejected', 'rejected', 'fulfilled'],
      'that it fails is no matter of those who wait for the next one',
    );
    t.equal(begun.length, 7, 'nothing is left behind');
  },
);

t.test('when a fetch fails, then whoever joined is told, and the next one asks', async (t) => {
  const { cache, read } = open();
  const failing = pendingFetch();
  const readers = [1, 2].map(() => cache.read('/info/1', 1, failing.fetch));
  failing.reject(new Error('away'));
  for (const { status } of await Promise.allSettled(readers)) t.equal(status, 'rejected');
  t.equal(await read('/info/1', 1, 'b'), 'b fwd=miss');
});

t.test('when much is read, then the bound in bytes is kept', async (t) => {
  const { cache, read } = open(10_000);
  for (let id = 0; id < 100; id += 1) await read(`/info/${id}`, id, 'x'.repeat(100));
  const kept = Array.from({ length: 100 }, (_, id) => cache.look(`/info/${id}`)).filter(Boolean);
  t.ok(kept.length > 5 && kept.length * 600 <= 10_000, `${kept.length} are kept`);
  t.ok(cache.look('/info/99'), 'the newest among them');
  const heavy = {
    'a text of two bytes a character': ['é'.repeat(700), ''],
    'a head': ['', 'x'.repeat(2000)],
  };
  for (const [what, [text = '', tag = '']] of Object.entries(heavy)) {
    const { cache } = open(10_000);
    const whole = { ...answer(text), ...readyAnswer('/', [['etag', tag]], text) };
    for (let id = 0; id < 10; id += 1) await cache.read(`/info/${id}`, id, async () => whole);
    t.ok(cache.entries() >= 2 && cache.entries() <= 3, `${what}: ${cache.entries()} are kept`);
  }
});
