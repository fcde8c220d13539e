import { Failure } from '@bazar/contracts';
import postgres from 'postgres';
import t from 'tap';
import type { Link } from '../src/link.js';
import { createPool } from '../src/pool.js';
import { failureOf, isUnknown, LinkLost } from '../src/trouble.js';

/** Links that lead nowhere, and remember what became of them. */
function createLinks() {
  const made: { link: Link; isDestroyed: boolean }[] = [];
  const never = () => Promise.reject(new Error('nothing is asked here'));
  return {
    made,
    open(): Link {
      const entry: (typeof made)[number] = {
        isDestroyed: false,
        link: {
          sql: never,
          script: never,
          command: never,
          isUsable: () => !entry.isDestroyed,
          wasAnswered: () => true,
          async end() {
            entry.isDestroyed = true;
          },
          destroy() {
            entry.isDestroyed = true;
          },
        },
      };
      made.push(entry);
      return entry.link;
    },
  };
}

t.test('when readers are many, then two connections are left to who writes', async (t) => {
  const { open } = createLinks();
  const pool = createPool({ open, connections: 4, maxWaiting: 9, waitMs: 60_000 });
  const readers = await Promise.all([pool.take('read', false), pool.take('read', false)]);
  const order: string[] = [];
  const third = pool.take('read', false).then((link) => {
    order.push('read');
    return link;
  });
  const writers = await Promise.all([pool.take('write', false), pool.take('write', false)]);
  const late = pool.take('write', false).then((link) => {
    order.push('write');
    return link;
  });
  // Both have begun to wait by then.
  await new Promise((resolve) => setImmediate(resolve));
  for (const reader of readers) pool.give(reader);
  const links = await Promise.all([third, late]);
  t.same(order, ['write', 'read'], 'and who writes comes first');
  for (const link of [...writers, ...links]) pool.give(link);
  await pool.close();
});

t.test('when one connection was lost, then those that rest are not trusted either', async (t) => {
  const { made, open } = createLinks();
  const pool = createPool({ open, connections: 5, maxWaiting: 9, waitMs: 60_000 });
  const links = await Promise.all([1, 2, 3].map(() => pool.take('write', false)));
  const [kept, ...given] = links;
  for (const link of given) pool.give(link);
  pool.forget();
  t.same(
    made.map(({ isDestroyed }) => isDestroyed),
    [false, true, true],
    'the one that is in use is left to its user',
  );
  t.not(await pool.take('write', false), given[0]);
  if (kept !== undefined) pool.give(kept);
  pool.destroy();
});

t.test('when a COMMIT is refused with words that say nothing, then it is unknown', async (t) => {
  const refused = (code: string) =>
    Object.assign(new postgres.PostgresError('refused'), { severity: 'ERROR', code });
  for (const code of ['40003', '08006']) {
    t.ok(isUnknown(refused(code)), code);
    t.match(failureOf(refused(code), true), { code: 'unavailable', nothingDone: false });
  }
  for (const code of ['40001', '53100', '57014']) {
    t.notOk(isUnknown(refused(code)), code);
    t.match(failureOf(refused(code), true), { nothingDone: true });
  }
  t.match(failureOf(new LinkLost('gone'), true), { nothingDone: false });
  t.type(failureOf(new LinkLost('gone'), false), Failure);
});
