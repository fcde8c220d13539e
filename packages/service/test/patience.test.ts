import t from 'tap';
import { createPatience } from '../src/patience.js';

function openPatience() {
  const clock = { now: 0 };
  const patience = createPatience({ now: () => clock.now });
  return {
    ...{ clock, patience },
    saw(count: number, waitedMs: number, hasLeft: boolean) {
      for (let one = 0; one < count; one += 1) patience.observe(waitedMs, hasLeft);
    },
  };
}

t.test('when nobody has left, then the limit is the longest', (t) => {
  const { patience, saw } = openPatience();
  t.equal(patience.limitMs(), 5000);
  saw(100, 4900, false);
  t.equal(patience.limitMs(), 5000);
  t.end();
});

t.test('when clients leave after two seconds, then the limit is a little less', (t) => {
  const { patience, saw } = openPatience();
  saw(100, 1950, false);
  saw(9, 2050, true);
  t.equal(patience.limitMs(), 5000, 'few may have had other reasons');
  saw(1, 2050, true);
  t.equal(patience.limitMs(), 1800, 'for they have to be served too');
  saw(100, 3000, true);
  t.equal(patience.limitMs(), 1800, 'the shortest wait counts');
  saw(100, 1950, true);
  t.equal(patience.limitMs(), 1700, 'and they may become less patient');
  t.end();
});

t.test('when some leave and most stay, then the limit is the longest', (t) => {
  const { patience, saw } = openPatience();
  for (let round = 0; round < 100; round += 1) {
    saw(1, 1000, true);
    saw(4, 1000, false);
  }
  t.equal(patience.limitMs(), 5000);
  for (let round = 0; round < 100; round += 1) {
    saw(1, 1000, true);
    saw(2, 1000, false);
  }
  t.equal(patience.limitMs(), 800);
  t.end();
});

t.test('when some time has passed, then a longer wait is tried again', (t) => {
  const { clock, patience, saw } = openPatience();
  saw(100, 2000, true);
  clock.now = 3000;
  t.equal(patience.limitMs(), 1800);
  clock.now = 4000;
  t.equal(patience.limitMs(), 5000);
  saw(1, 2000, true);
  t.equal(patience.limitMs(), 1800, 'and given up at once if that was in vain');
  t.end();
});

t.test('when a slow service sees few, then it learns all the same', (t) => {
  const { clock, patience } = openPatience();
  for (let count = 0; count < 20; count += 1) {
    clock.now += 200;
    patience.observe(2050, true);
  }
  t.equal(patience.limitMs(), 1800);
  t.end();
});

t.test('when clients leave at once, then others have a while all the same', (t) => {
  const { patience, saw } = openPatience();
  saw(100, 0, true);
  t.equal(patience.limitMs(), 500);
  t.end();
});

t.test(
  'when all have waited for longer than is told apart, then that counts as the longest',
  (t) => {
    const { patience, saw } = openPatience();
    saw(100, 60_000, true);
    t.equal(patience.limitMs(), 4700);
    saw(100, 4800, true);
    t.equal(patience.limitMs(), 4600);
    t.end();
  },
);
