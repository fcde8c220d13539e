import type { Disk, DiskFile } from './disk.js';

/**
 * The same disk; `observe` is told how long every sync of a file's data took, in seconds.
 * @param now milliseconds on a clock that only goes forward
 */
export function timedDisk(
  disk: Disk,
  observe: (seconds: number) => void,
  now: () => number = () => performance.now(),
): Disk {
  async function timed(sync: () => Promise<void>): Promise<void> {
    const from = now();
    await sync();
    observe((now() - from) / 1000);
  }

  return {
    ...disk,
    async open(path, mode): Promise<DiskFile> {
      const file = await disk.open(path, mode);
      return {
        ...file,
        datasync: () => timed(() => file.datasync()),
        sync: () => timed(() => file.sync()),
      };
    },
  };
}
