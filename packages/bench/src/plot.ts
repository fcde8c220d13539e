/** Plots as SVG text, for light backgrounds; every number that is drawn is also written beside it. */

export interface Bar {
  readonly label: string;
  readonly value: number;
  /** What stands behind the bar; the value itself by default. */
  readonly text?: string;
}

export interface BarGroup {
  readonly label: string;
  readonly bars: readonly Bar[];
}

export interface BarPlot {
  readonly title: string;
  /** What the lengths mean, as `answers a second, the floor being 1`. */
  readonly unit: string;
  readonly groups: readonly BarGroup[];
  /** Lengths by decades, for values that differ by more than a bar can show. */
  readonly scale?: 'linear' | 'logarithmic';
}

export interface Series {
  readonly label: string;
  /** In ascending order of x; undefined where there is nothing to show. */
  readonly points: readonly (readonly [x: number, y: number | undefined])[];
}

export interface LinePlot {
  readonly title: string;
  readonly xLabel: string;
  readonly yLabel: string;
  readonly series: readonly Series[];
  /** Moments that are marked with a line and a word. */
  readonly marks?: readonly { readonly x: number; readonly label: string }[];
  readonly scale?: 'linear' | 'logarithmic';
}

/** Distinguishable also by those who do not see all colours (Okabe and Ito, 2008). */
const colours = ['#0072b2', '#e69f00', '#009e73', '#cc79a7', '#56b4e9', '#d55e00'];
const ink = '#222222';
const faint = '#d8dce2';
const font = 'font-family="system-ui, sans-serif"';
const width = 820;

/** Horizontal bars in groups. The labels of the bars share their colours between groups. */
export function barPlot({ title, unit, groups, scale = 'linear' }: BarPlot): string {
  const [left, right, top] = [310, 120, 64];
  const [barHeight, gap] = [18, 14];
  const labels = [...new Set(groups.flatMap(({ bars }) => bars.map(({ label }) => label)))];
  const lengthOf = createScale(
    groups.flatMap(({ bars }) => bars.map(({ value }) => value)),
    width - left - right,
    scale,
  );
  const parts: string[] = [];
  let y = top;
  for (const group of groups) {
    const middle = y + (group.bars.length * barHeight) / 2;
    parts.push(text(left - 12, middle + 4, group.label, { anchor: 'end' }));
    for (const bar of group.bars) {
      const length = lengthOf(bar.value);
      const colour = colourOf(labels.indexOf(bar.label));
      parts.push(
        `<rect x="${left}" y="${y + 1}" width="${round(length)}" height="${barHeight - 3}" ` +
          `rx="2" fill="${colour}"/>`,
        text(left + length + 6, y + 13, bar.text ?? inDigits(bar.value), { size: 12 }),
      );
      y += barHeight;
    }
    y += gap;
  }
  return page({ title, subtitle: unit, labels, parts, bottom: y });
}

/** Lines over a common x axis, with marks for what happened when. */
export function linePlot(plot: LinePlot): string {
  const { title, xLabel, yLabel, series, marks = [], scale = 'linear' } = plot;
  const [left, right, top, bottom] = [70, 24, 76, 330];
  const xs = series.flatMap(({ points }) => points.map(([x]) => x));
  const ys = series.flatMap(({ points }) =>
    points.flatMap(([, y]) => (y === undefined ? [] : [y])),
  );
  const [leastX, mostX] = [Math.min(...xs, 0), Math.max(...xs, 1)];
  const place = (x: number) =>
    left + ((x - leastX) / (mostX - leastX || 1)) * (width - left - right);
  const rise = createScale(ys, bottom - top, scale);
  const parts = ticks(Math.max(...ys, 0), scale).flatMap((value) => {
    const y = bottom - rise(value);
    return [
      `<line x1="${left}" x2="${width - right}" y1="${round(y)}" y2="${round(y)}" stroke="${faint}"/>`,
      text(left - 8, y + 4, inDigits(value), { anchor: 'end', size: 12 }),
    ];
  });
  for (const value of ticks(mostX, 'linear')) {
    parts.push(text(place(value), bottom + 18, inDigits(value), { anchor: 'middle', size: 12 }));
  }
  for (const [index, { x, label }] of marks.entries()) {
    // Words that would stand on each other go to lines of their own.
    const y = top - 4 - (index % 2) * 13;
    parts.push(
      `<line x1="${round(place(x))}" x2="${round(place(x))}" y1="${top}" y2="${bottom}" ` +
        `stroke="${ink}" stroke-dasharray="4 3"/>`,
      text(place(x), y, label, { anchor: 'middle', size: 11 }),
    );
  }
  for (const [index, { points }] of series.entries()) {
    for (const path of stretches(points)) {
      const places = path.map(([x, y]) => `${round(place(x))},${round(bottom - rise(y))}`);
      // A stretch of one point is seen as well, since the ends of the line are round.
      parts.push(
        `<polyline points="${places.join(' ')} ${places.at(-1)}" fill="none" ` +
          `stroke="${colourOf(index)}" stroke-width="1.8" stroke-linecap="round"/>`,
      );
    }
  }
  parts.push(text((left + width - right) / 2, bottom + 36, xLabel, { anchor: 'middle', size: 12 }));
  const labels = series.map(({ label }) => label);
  return page({ title, subtitle: yLabel, labels, parts, bottom: bottom + 44 });
}

/** The points between two gaps, for each pair of neighbouring gaps that has any. */
function stretches(points: Series['points']): (readonly [x: number, y: number])[][] {
  const found: (readonly [x: number, y: number])[][] = [];
  let isGap = true;
  for (const [x, y] of points) {
    if (y !== undefined) {
      if (isGap) found.push([]);
      found.at(-1)?.push([x, y]);
    }
    isGap = y === undefined;
  }
  return found;
}

interface Page {
  readonly title: string;
  readonly subtitle: string;
  readonly labels: readonly string[];
  readonly parts: readonly string[];
  /** Where the legend may begin. */
  readonly bottom: number;
}

const legendColumns = 3;
const legendRow = 20;

function page({ title, subtitle, labels, parts, bottom }: Page): string {
  const legend = labels.flatMap((label, index) => {
    const x = 20 + (index % legendColumns) * ((width - 40) / legendColumns);
    const y = bottom + 14 + Math.floor(index / legendColumns) * legendRow;
    const box = `<rect x="${round(x)}" y="${y - 10}" width="12" height="12" rx="2" `;
    return [`${box}fill="${colourOf(index)}"/>`, text(x + 18, y, label, { size: 12 })];
  });
  const height = bottom + 14 + Math.ceil(labels.length / legendColumns) * legendRow;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" ` +
      `width="${width}" height="${height}" role="img" ${font}>`,
    `<title>${escaped(title)}</title>`,
    `<rect width="${width}" height="${height}" fill="#ffffff"/>`,
    text(20, 26, title, { size: 17, weight: 600 }),
    text(20, 44, subtitle, { size: 12 }),
    ...parts,
    ...legend,
    '</svg>',
    '',
  ].join('\n');
}

interface TextStyle {
  readonly anchor?: 'start' | 'middle' | 'end';
  readonly size?: number;
  readonly weight?: number;
}

function text(x: number, y: number, words: string, style: TextStyle = {}): string {
  const { anchor = 'start', size = 13, weight = 400 } = style;
  return (
    `<text x="${round(x)}" y="${round(y)}" font-size="${size}" font-weight="${weight}" ` +
    `text-anchor="${anchor}" fill="${ink}">${escaped(words)}</text>`
  );
}

/** Where a logarithmic scale begins: three decades and a half below its largest value. */
const decades = 3.5;

function createScale(values: readonly number[], length: number, scale: 'linear' | 'logarithmic') {
  const most = Math.max(...values, 0) || 1;
  return (value: number): number => {
    const share = scale === 'linear' ? value / most : 1 + Math.log10(value / most) / decades;
    return Math.min(1, Math.max(0, share)) * length;
  };
}

/** A few round numbers from 0 (or the lowest decade) up to the largest value. */
function ticks(most: number, scale: 'linear' | 'logarithmic'): number[] {
  if (most <= 0) return [0];
  const decade = 10 ** Math.floor(Math.log10(most));
  if (scale === 'logarithmic') return [0, 1, 2, 3].map((below) => decade / 10 ** below);
  const step = most / decade >= 5 ? decade : most / decade >= 2 ? decade / 2 : decade / 5;
  return Array.from({ length: Math.floor(most / step) + 1 }, (_, index) => index * step);
}

function colourOf(index: number): string {
  return colours[index % colours.length] ?? ink;
}

/** A number with about three digits, as people read it. */
export function inDigits(value: number): string {
  if (value === 0) return '0';
  if (Math.abs(value) >= 100) return Math.round(value).toLocaleString('en');
  return String(Number(value.toPrecision(value < 0.1 ? 2 : 3)));
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}

function escaped(words: string): string {
  return words.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;');
}
