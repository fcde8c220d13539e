import t from 'tap';
import { createWaitingLine } from '../src/waiting-line.js';

/** A line whose clock is set by hand. */
function openLine() {
  const clock = { now: 0 };
  const line = createWaitingLine<string>({ now: () => clock.now, freshMs: () => 1000 });
  return {
    ...{ clock, line },
    take(count: number): string[] {
      const taken: string[] = [];
      line.take(count, 100, (one) => taken.push(one) > 0);
      return taken;
    },
  };
}

t.test('when all are in time, then whoever came first is served first', (t) => {
  const { clock, line, take } = openLine();
  for (const one of ['a', 'b', 'c', 'd']) line.add(one);
  clock.now = 1000;
  t.equal(line.size, 4);
  t.same(take(0), []);
  t.same(take(-1), []);
  t.same(take(2), ['a', 'b']);
  t.same([line.has('b'), line.has('c')], [false, true]);
  t.same(take(9), ['c', 'd']);
  t.equal(line.size, 0);
  t.end();
});

t.test('when somebody has waited for too long, then those who are in time come first', (t) => {
  const { clock, line, take } = openLine();
  line.add('late');
  clock.now = 1;
  line.add('a little late');
  line.add('late');
  clock.now = 200;
  line.add('in time');
  clock.now = 1002;
  t.equal(line.size, 3, 'each waits once');
  t.same(take(1), ['in time']);
  line.add('late');
  t.equal(line.size, 2);
  t.ok(line.has('late'));
  t.same(take(1), ['late'], 'who is passed over has its turn when there is nobody else');
  t.same(take(1), ['a little late']);
  t.end();
});

t.test('when somebody is patient, then it has its share though others are in time', (t) => {
  const { clock, line, take } = openLine();
  for (let count = 0; count < 4; count += 1) line.add(`patient ${count}`);
  clock.now = 1001;
  for (let count = 0; count < 20; count += 1) line.add(`quick ${count}`);
  t.same(take(1), ['quick 0']);
  clock.now = 2000;
  t.same(
    take(8).filter((one) => one.startsWith('patient')),
    [],
  );
  clock.now = 2300;
  for (let count = 20; count < 40; count += 1) line.add(`quick ${count}`);
  const taken = take(8);
  t.same(taken.slice(0, 2), ['patient 0', 'patient 1'], 'a quarter');
  t.ok(taken.slice(2).every((one) => one.startsWith('quick')));
  t.same(take(1), ['patient 2'], 'rounded up, or it would have none');
  t.end();
});

t.test('when it was no turn, then another one has it', (t) => {
  const { line } = openLine();
  for (const one of ['gone', 'a', 'b']) line.add(one);
  const taken: string[] = [];
  const serve = (one: string) => {
    taken.push(one);
    return one !== 'gone';
  };
  t.equal(line.take(1, 9, serve), 1);
  t.same(taken, ['gone', 'a']);
  t.equal(line.take(9, 9, serve), 1);
  t.equal(line.size, 0);
  t.end();
});

t.test('when many are gone, then so many are looked at and no more', (t) => {
  const { clock, line } = openLine();
  for (let count = 0; count < 20; count += 1) line.add(`gone ${count}`);
  clock.now = 1001;
  t.equal(
    line.take(8, 4, () => false),
    0,
  );
  t.equal(line.size, 16);
  clock.now = 2600;
  line.add('quick');
  const looked: string[] = [];
  line.take(8, 4, (one) => looked.push(one) < 0);
  t.same(looked, ['gone 4', 'quick', 'gone 5', 'gone 6'], 'a quarter of the looks, at first');
  t.end();
});

t.test('when it is asked who has waited for longer, then it is told from whichever part', (t) => {
  const { clock, line, take } = openLine();
  const older: [string, number][] = [];
  const takeOlder = (ms: number, count: number) =>
    line.takeOlder(ms, count, (one, waitedMs) => older.push([one, waitedMs]));
  for (const one of ['a', 'b']) line.add(one);
  clock.now = 1001;
  line.add('quick');
  t.same(take(1), ['quick'], 'the others are passed over');
  line.add('c');
  clock.now = 3001;
  takeOlder(3001, 9);
  t.same(older, []);
  t.equal(takeOlder(3000, 1), 1);
  t.equal(takeOlder(1999, 9), 2);
  t.same(older, [
    ['a', 3001],
    ['b', 3001],
    ['c', 2000],
  ]);
  t.equal(line.size, 0);
  t.end();
});

t.test('when the oldest is asked for, then it is the first that fits, within some looks', (t) => {
  const { clock, line, take } = openLine();
  for (const one of ['a', 'b']) line.add(one);
  clock.now = 1001;
  line.add('quick');
  t.same(take(1), ['quick']);
  line.add('c');
  clock.now = 3001;
  t.equal(
    line.takeOldest(3001, 9, () => true),
    undefined,
  );
  t.equal(
    line.takeOldest(1000, 1, (one) => one === 'b'),
    undefined,
  );
  t.equal(
    line.takeOldest(1000, 2, (one) => one === 'b'),
    'b',
  );
  t.equal(
    line.takeOldest(1999, 9, (one) => one === 'c'),
    'c',
  );
  t.ok(line.has('a'));
  t.equal(line.size, 1);
  t.end();
});
