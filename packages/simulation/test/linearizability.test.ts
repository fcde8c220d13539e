import fc from 'fast-check';
import t from 'tap';
import { type Call, findAnomaly, type SequentialModel } from '../src/index.js';

const seed = Number(process.env['SEED'] ?? Date.now() % 2 ** 31);
t.comment(`SEED=${seed}`);

/** Writes a number, or reads one: the answer to a write is what was written. */
type Input = 'write' | 'read';

const register: SequentialModel<number, Input, number> = {
  initial: 0,
  apply: (state, input, output) => {
    if (input === 'write') return output;
    return state === output ? state : undefined;
  },
  keyOf: String,
};

function call(input: Input, output: number, from: number, to: number): Call<Input, number> {
  return { input, output, from, to };
}

t.test('when operations overlap, then any order of them will do', async (t) => {
  const linearizable = {
    nothing: [],
    'one after the other': [call('write', 1, 0, 1), call('read', 1, 2, 3)],
    'a read beside a write sees it': [call('write', 1, 0, 9), call('read', 1, 1, 2)],
    'a read beside a write does not see it': [call('write', 1, 0, 9), call('read', 0, 1, 2)],
    'two writes, read either way round': [
      call('write', 1, 0, 9),
      call('write', 2, 0, 9),
      call('read', 2, 1, 3),
      call('read', 1, 4, 8),
    ],
    'at the same moment': [call('read', 1, 0, 1), call('write', 1, 1, 2)],
    'a write of which nobody heard': [
      call('write', 1, 0, Number.POSITIVE_INFINITY),
      call('read', 0, 5, 6),
      call('read', 1, 7, 8),
    ],
  };
  for (const [what, history] of Object.entries(linearizable)) {
    t.equal(findAnomaly(history, register), undefined, what);
  }
});

t.test('when no order explains an answer, then it is named', async (t) => {
  const stale = call('read', 0, 2, 3);
  t.equal(findAnomaly([call('write', 1, 0, 1), stale], register), stale, 'a stale read');
  const back = call('read', 0, 4, 5);
  const seen = [call('write', 1, 0, 9), call('read', 1, 1, 3), back];
  t.equal(findAnomaly(seen, register), back, 'a read behind one that saw more');
  const early = call('read', 1, 0, 1);
  t.equal(findAnomaly([early, call('write', 1, 2, 3)], register), early, 'a read of the future');
});

/** Tries every order in earnest. */
function hasOrder(history: readonly Call<Input, number>[], state: number): boolean {
  if (history.length === 0) return true;
  const firstEnd = Math.min(...history.map(({ to }) => to));
  return history.some((candidate) => {
    if (candidate.from > firstEnd) return false;
    const next = register.apply(state, candidate.input, candidate.output);
    if (next === undefined) return false;
    return hasOrder(
      history.filter((other) => other !== candidate),
      next,
    );
  });
}

t.test('when a history is drawn, then the search agrees with a trial of all orders', async (t) => {
  const moment = fc.integer({ min: 0, max: 12 });
  const calls = fc
    .record({
      input: fc.constantFrom<Input>('write', 'read'),
      output: fc.integer({ min: 0, max: 2 }),
      times: fc.tuple(moment, moment),
    })
    .map(({ input, output, times: [one, other] }) =>
      call(input, output, Math.min(one, other), Math.max(one, other)),
    );
  const verdicts = { yes: 0, no: 0 };
  fc.assert(
    fc.property(fc.array(calls, { maxLength: 7 }), (history) => {
      const expected = hasOrder(history, register.initial);
      verdicts[expected ? 'yes' : 'no'] += 1;
      return (findAnomaly(history, register) === undefined) === expected;
    }),
    { seed, numRuns: 3000 },
  );
  t.ok(verdicts.yes > 100 && verdicts.no > 100, JSON.stringify(verdicts));
});
