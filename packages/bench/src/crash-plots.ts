import { linePlot } from './plot.js';
import { bucketsOf, type Event } from './timeline.js';

/** A kill as it is drawn; milliseconds from the start of the story. */
export interface Drawn {
  /** What happened, as a sentence begins. */
  readonly title: string;
  readonly killedMs: number;
  readonly backMs: number;
  readonly events: readonly Event[];
}

const bucketMs = 100;

function marksOf({ killedMs, backMs }: Drawn) {
  return [
    { x: killedMs / 1000, label: 'killed' },
    { x: backMs / 1000, label: 'back' },
  ];
}

export function answersPlot(story: Drawn): string {
  const series = (['purchase', 'read'] as const).map((kind) => ({
    label: `${kind}s`,
    points: bucketsOf(
      story.events.filter((one) => one.kind === kind && one.status === 200),
      bucketMs,
    ).map(({ fromMs, count }) => [fromMs / 1000, (count * 1000) / bucketMs] as const),
  }));
  return linePlot({
    title: `${story.title}: answers`,
    xLabel: 'seconds',
    yLabel: 'answers a second, in tenths of a second',
    series,
    marks: marksOf(story),
  });
}

export function waitsPlot(story: Drawn): string {
  const purchases = story.events.filter(({ kind }) => kind === 'purchase');
  const buckets = bucketsOf(purchases, bucketMs);
  return linePlot({
    title: `${story.title}: how long buyers waited`,
    xLabel: 'seconds',
    yLabel: 'milliseconds, logarithmic, by the tenth of a second in which the answer came',
    scale: 'logarithmic',
    series: (['p50', 'p99'] as const).map((share) => ({
      label: share === 'p50' ? 'median' : '99th percentile',
      points: buckets.map(
        (bucket) => [bucket.fromMs / 1000, bucket.count === 0 ? undefined : bucket[share]] as const,
      ),
    })),
    marks: marksOf(story),
  });
}
