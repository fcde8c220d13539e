/** The middle of some numbers, or the mean of the two in the middle. @throws RangeError for none */
export function median(values: readonly number[]): number {
  return (quantile(values, 0.5, 'floor') + quantile(values, 0.5, 'ceil')) / 2;
}

/** The smallest value that at least the given share (0 to 1) of the values does not exceed. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = Float64Array.from(values).sort();
  return percentileOfSorted(sorted, share);
}

/** The same for values in ascending order. @throws RangeError when there are none */
export function percentileOfSorted(sorted: ArrayLike<number>, share: number): number {
  const rank = Math.min(sorted.length, Math.max(1, Math.ceil(sorted.length * share)));
  return at(sorted, rank - 1);
}

function quantile(values: readonly number[], share: number, round: 'floor' | 'ceil'): number {
  const sorted = Float64Array.from(values).sort();
  return at(sorted, Math[round]((sorted.length - 1) * share));
}

function at(values: ArrayLike<number>, index: number): number {
  const value = values[index];
  if (value === undefined) throw new RangeError('No numbers, no statistics.');
  return value;
}

/** Latencies in milliseconds, as people compare them. */
export interface Latencies {
  readonly count: number;
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly max: number;
}

/** @param values milliseconds; none at all gives zeros */
export function latenciesOf(values: readonly number[]): Latencies {
  if (values.length === 0) return { count: 0, p50: 0, p90: 0, p99: 0, max: 0 };
  const sorted = Float64Array.from(values).sort();
  const share = (part: number) => percentileOfSorted(sorted, part);
  return {
    count: sorted.length,
    p50: share(0.5),
    p90: share(0.9),
    p99: share(0.99),
    max: share(1),
  };
}
