import t from 'tap';
import { createPatience } from '../src/patience.js';

function openPatience() {
  const clock = { now: 0 };
  const patience = createPatience({ now: () => clock.now });
  return {
    ...{ clock, patience },
    saw(count: number, waitedMs: number, hasLeft: boolean) {
      for (let one = 0; one < count; one += 1) patience.saw(waitedMs, hasLeft);
    },
  };
}

const { POSITIVE_INFINITY } = Number;

t.test('when nobody has left, then there is no limit', (t) => {
  const { patience, saw } = openPatience();
  t.equal(patience.limitMs(), POSITIVE_INFINITY);
  saw(100, 4900, false);
  t.equal(patience.limitMs(), POSITIVE_INFINITY);
  t.end();
});

t.test('when clients leave after two seconds, then that is the limit', (t) => {
  const { patience, saw } = openPatience();
  saw(100, 1950, false);
  saw(9, 2050, true);
  t.equal(patience.limitMs(), POSITIVE_INFINITY, 'few may have had other reasons');
  saw(1, 2050, true);
  t.equal(patience.limitMs(), 2000);
  saw(100, 3000, true);
  t.equal(patience.limitMs(), 2000, 'the shortest wait counts');
  saw(100, 1950, true);
  t.equal(patience.limitMs(), 1900, 'and they may become less patient');
  t.end();
});

t.test('when some leave and most stay, then there is no limit', (t) => {
  const { patience, saw } = openPatience();
  for (let round = 0; round < 100; round += 1) {
    saw(1, 1000, true);
    saw(4, 1000, false);
  }
  t.equal(patience.limitMs(), POSITIVE_INFINITY);
  for (let round = 0; round < 100; round += 1) {
    saw(1, 1000, true);
    saw(2, 1000, false);
  }
  t.equal(patience.limitMs(), 1000);
  t.end();
});

t.test('when some time has passed, then a longer wait is tried again', (t) => {
  const { clock, patience, saw } = openPatience();
  saw(100, 2000, true);
  clock.now = 3000;
  t.equal(patience.limitMs(), 2000);
  clock.now = 4000;
  t.equal(patience.limitMs(), POSITIVE_INFINITY);
  saw(1, 2000, true);
  t.equal(patience.limitMs(), 2000, 'and given up at once if that was in vain');
  t.end();
});

t.test('when clients leave at once, then others have a while all the same', (t) => {
  const { patience, saw } = openPatience();
  saw(100, 0, true);
  saw(100, 499, true);
  t.equal(patience.limitMs(), POSITIVE_INFINITY);
  saw(100, 500, true);
  t.equal(patience.limitMs(), 500);
  t.end();
});

t.test('when somebody has waited for longer than is told apart, then nothing comes of it', (t) => {
  const { patience, saw } = openPatience();
  saw(100, 5000, true);
  saw(100, 60_000, true);
  t.equal(patience.limitMs(), POSITIVE_INFINITY);
  t.end();
});
