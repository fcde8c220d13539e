import t from 'tap';
import { ownFailure } from '../src/internal.js';

const failed = (problem: object) => ({
  result: 'failed',
  problem: { code: 'unavailable' as const, detail: 'the database cannot be reached', ...problem },
});
const own = { own: true as const };

t.test(
  'when all of a batch failed at the replica itself, then another one may do better',
  async (t) => {
    const none = { ...own, nothing_done: true as const };
    t.match(ownFailure([failed(none), failed(none)]), {
      code: 'unavailable',
      foreign: true,
      nothingDone: true,
    });
    t.match(ownFailure([failed(none), failed(own)]), { nothingDone: false }, 'one may be done');
    t.match(ownFailure([failed({ ...own, code: 'overloaded' })]), { code: 'overloaded' });
  },
);

t.test('when another replica would do no better, then the answers stand', async (t) => {
  const cases = {
    'no item': [],
    'one was sold': [failed(own), { result: 'sold' }],
    'it failed at those behind': [failed({})],
    'some failed at those behind': [failed(own), failed({})],
    'the disk that all share is full': [failed({ ...own, code: 'storage_full' })],
    'there is no such book': [failed({ ...own, code: 'book_not_found' })],
  };
  for (const [name, outcomes] of Object.entries(cases)) {
    t.equal(ownFailure(outcomes), undefined, name);
  }
});
