/** Shows how far a long piece of work has come. */
export interface Progress {
  /**
   * Hands on runs of rows, and says at times how many there were.
   * @param what half a sentence, as `orders`
   * @param about how many there will be
   * @throws when somebody wants it to end
   */
  watch<Row>(
    what: string,
    about: bigint | number,
    runs: AsyncIterable<readonly Row[]>,
  ): AsyncGenerator<readonly Row[]>;
}

/** A line is for people who wait: one a second tells enough, and no log is flooded. */
const everyMs = 1000;

const grouped = (count: bigint | number) => count.toLocaleString('en-US');

export function createProgress(
  say: (line: string) => void,
  assertWanted: () => void,
  monotonic: () => number = () => performance.now(),
): Progress {
  let saidAt = monotonic();
  return {
    async *watch(what, about, runs) {
      let count = 0;
      for await (const run of runs) {
        assertWanted();
        yield run;
        count += run.length;
        if (monotonic() - saidAt < everyMs) continue;
        saidAt = monotonic();
        say(`${what}: ${grouped(count)} of about ${grouped(about)}`);
      }
    },
  };
}
