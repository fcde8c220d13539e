import t from 'tap';
import { createMetrics, timed } from '../src/metrics.js';

const line = async (metrics: { scrape(): Promise<string> }, name: string) =>
  (await metrics.scrape()).split('\n').filter((line) => line.startsWith(name));

t.test('when figures are read, then they are as they are at the scrape', async (t) => {
  const metrics = createMetrics();
  let waiting = 3;
  metrics.gauge({ name: 'waiting', help: 'Who waits.' }, () => waiting);
  metrics.counter({ name: 'done_total', help: 'What is done.', labels: ['kind'] }, async () => [
    { labels: { kind: 'a' }, value: 2 },
    { labels: { kind: 'b' }, value: 0 },
  ]);
  t.same(await line(metrics, 'waiting'), ['waiting 3']);
  waiting = 0;
  t.same(await line(metrics, 'waiting'), ['waiting 0']);
  const done = ['done_total{kind="a"} 2', 'done_total{kind="b"} 0'];
  t.same(await line(metrics, 'done_total'), done);
  t.same(await line(metrics, 'done_total'), done, 'they are not added up');
});

t.test('when a figure cannot be read, then all others can', async (t) => {
  const metrics = createMetrics();
  metrics.gauge({ name: 'unknown', help: 'Nobody knows.' }, () => undefined);
  metrics.gauge({ name: 'away', help: 'Nobody answers.' }, () => Promise.reject(new Error('away')));
  metrics.gauge({ name: 'broken', help: 'It throws.' }, () => {
    throw new Error('broken');
  });
  metrics.gauge({ name: 'known', help: 'One knows.' }, () => 1);
  for (const name of ['unknown', 'away', 'broken']) t.same(await line(metrics, name), []);
  t.same(await line(metrics, 'known'), ['known 1']);
});

t.test('when work is timed, then only what succeeded counts', async (t) => {
  const metrics = createMetrics();
  const observe = metrics.histogram({ name: 'work_seconds', help: 'Work.', buckets: [60] });
  const work = timed(async (ok: boolean) => {
    if (!ok) throw new Error('no');
    return 'done';
  }, observe);
  t.equal(await work(true), 'done');
  await t.rejects(work(false), { message: 'no' });
  t.same(await line(metrics, 'work_seconds_count'), ['work_seconds_count 1']);
  t.same(await line(metrics, 'work_seconds_bucket{le="60"}'), ['work_seconds_bucket{le="60"} 1']);
});
