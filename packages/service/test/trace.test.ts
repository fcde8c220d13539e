import t from 'tap';
import { createSampler, recordedTrace } from '../src/trace.js';

const id = '4bf92f3577b34da6a3ce929d0e0e4736';
const parent = (flags: string) => `00-${id}-00f067aa0ba902b7-${flags}`;

t.test('when a trace parent has its lowest flag, then it is recorded', async (t) => {
  for (const flags of ['01', '03', 'ff', '0b']) t.equal(recordedTrace(parent(flags)), id, flags);
  for (const flags of ['00', '02', 'fe']) t.equal(recordedTrace(parent(flags)), undefined, flags);
  t.equal(recordedTrace(undefined), undefined);
  t.equal(recordedTrace('nonsense'), undefined);
});

t.test('when nobody asks for it, then the first of every second is recorded', async (t) => {
  let time = 0;
  const sample = createSampler({ now: () => time, randomHex: (bytes) => 'a'.repeat(2 * bytes) });
  const chosen = `00-${'a'.repeat(32)}-${'a'.repeat(16)}-01`;
  t.equal(sample(undefined), chosen);
  t.equal(sample(undefined), undefined);
  time = 999;
  t.equal(sample(undefined), undefined);
  time = 1000;
  t.equal(sample(undefined), chosen);
});

t.test('when callers ask for it, then ten of a second are recorded', async (t) => {
  let time = 0;
  const own = 'b'.repeat(16);
  const sample = createSampler({ now: () => time, randomHex: () => own });
  const asked = Array.from({ length: 15 }, () => sample(parent('01')));
  t.same(asked.slice(0, 10), Array(10).fill(parent('01')));
  t.same(
    asked.slice(10),
    Array(5).fill(`00-${id}-${own}-00`),
    'the others are handed on, unrecorded, with a parent of ours, who decided that',
  );
  t.equal(sample(parent('03')), `00-${id}-${own}-02`, 'other flags are kept');
  t.equal(sample(parent('02')), parent('02'), 'who does not ask is handed on as it came');
  time = 1000;
  t.equal(sample(parent('01')), parent('01'));
});

t.test('when everything is to be recorded, then it is', async (t) => {
  const sample = createSampler({ now: () => 0, isAll: () => true });
  for (let count = 0; count < 20; count += 1) {
    t.ok(recordedTrace(sample(undefined)));
    t.equal(sample(parent('01')), parent('01'));
  }
});
