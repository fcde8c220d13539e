import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';

/** One value of a figure that has several, told apart by its labels. */
export interface Sample {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** What a figure is at this moment. */
export type Reading = number | readonly Sample[];

/** Reads a figure at a scrape; undefined, or a rejection, leaves it out. */
export type Read = () => Reading | undefined | Promise<Reading | undefined>;

export interface Figure {
  /** As Prometheus names figures: with the unit last, and `_total` behind what only rises. */
  readonly name: string;
  readonly help: string;
  /** What tells the values apart, where there are several. */
  readonly labels?: readonly string[];
}

/**
 * What a service tells Prometheus. Nothing here costs a request anything: what is counted at every
 * request is counted by whoever works on it, in a plain number, and read at the scrape; only what
 * happens once a batch is observed.
 */
export interface Metrics {
  /** A figure that rises and falls. */
  gauge(figure: Figure, read: Read): void;
  /** A figure that only rises. */
  counter(figure: Figure, read: Read): void;
  /** How values are spread over buckets. The returned function takes one. */
  histogram(
    figure: Omit<Figure, 'labels'> & { readonly buckets: readonly number[] },
  ): (value: number) => void;
  /** All of it, in Prometheus' text form. */
  scrape(): Promise<string>;
  readonly contentType: string;
}

/** Buckets for what takes from a tenth of a millisecond to some seconds, in seconds. */
export const secondsBuckets = [
  0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5,
];

/** Buckets for how many go together. */
export const batchBuckets = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096];

/** The metrics of one process, with those that the process itself has. */
export function createMetrics(): Metrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });

  const configured = ({ labels = [], ...named }: Figure) => ({
    ...named,
    labelNames: [...labels],
    registers: [registry],
  });

  return {
    gauge(figure, read) {
      const gauge: Gauge = new Gauge({
        ...configured(figure),
        collect: () => show(gauge, read),
      });
    },
    counter(figure, read) {
      const counter: Counter = new Counter({
        ...configured(figure),
        collect: () => show(counter, read),
      });
    },
    histogram({ buckets, ...figure }) {
      const histogram = new Histogram({ ...configured(figure), buckets: [...buckets] });
      return (value) => histogram.observe(value);
    },
    scrape: () => registry.metrics(),
    contentType: registry.contentType,
  };
}

async function show(metric: Gauge | Counter, read: Read): Promise<void> {
  const reading = await settled(read);
  metric.reset();
  // After a reset a figure without labels would be 0, which is not the same as unknown.
  metric.remove({});
  if (reading === undefined) return;
  const samples = typeof reading === 'number' ? [{ labels: {}, value: reading }] : reading;
  for (const { labels, value } of samples) metric.inc(labels, value);
}

/** A database that is away must not take all other figures with it. */
async function settled(read: Read): Promise<Reading | undefined> {
  try {
    return await read();
  } catch {
    return undefined;
  }
}

/** Watches how long each write takes until it is durable, in seconds. */
export function syncMeter(metrics: Metrics): (seconds: number) => void {
  return metrics.histogram({
    name: 'bazar_sync_seconds',
    help: 'How long the disk, or the database, took to make a write durable.',
    buckets: secondsBuckets,
  });
}

/** The same work; `observe` is told how long each took that succeeded, in seconds. */
export function timed<Arguments extends readonly unknown[], Result>(
  work: (...given: Arguments) => Promise<Result>,
  observe: (seconds: number) => void,
): (...given: Arguments) => Promise<Result> {
  return async (...given) => {
    const from = performance.now();
    const result = await work(...given);
    observe((performance.now() - from) / 1000);
    return result;
  };
}
