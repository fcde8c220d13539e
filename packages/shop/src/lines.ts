import type { Readable } from 'node:stream';

/** A line that never ends would otherwise be held in memory until there is none left. */
const maxLineLength = 1024 * 1024;

/**
 * Hands on a stream of text line by line, without the line ends; the last line needs none. Only a
 * line feed ends a line: readline also splits at U+2028, which may stand inside a line of JSON.
 */
export function eachLine(stream: Readable, onLine: (line: string) => void): void {
  let rest = '';
  stream.setEncoding('utf8');
  stream.on('data', (text: string) => {
    const lines = (rest + text).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) onLine(line);
    if (rest.length > maxLineLength) {
      onLine(rest);
      rest = '';
    }
  });
  stream.on('end', () => {
    if (rest !== '') onLine(rest);
  });
}
