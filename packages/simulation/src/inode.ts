import type { Random } from './random.js';

/** The bytes of a file twice: as processes see them, and as a power loss would leave them. */
export interface Inode {
  /** In bytes, as processes see it. */
  readonly size: number;
  /** Copies into the buffer from a byte position; the count, 0 at the end. */
  read(buffer: Buffer, position: number): number;
  write(bytes: Buffer, position: number): void;
  truncate(length: number): void;
  /** Some of what changed reaches the platter by itself, as it may at any time. */
  writeBack(): void;
  /** All that changed since it last reached the platter does so now. */
  sync(): void;
  /**
   * A sync that failed on the way. What did not reach the platter is taken for written all the
   * same: no later sync will write it (Rebello et al., "Can Applications Recover from fsync
   * Failures?", 2020).
   */
  failSync(): void;
  /** What counts as written is read from the platter again. */
  dropCache(): void;
  losePower(): void;
  contents(): Buffer;
}

export function createInode(random: Random, sectorBytes: number): Inode {
  let cache = Buffer.alloc(0);
  let platter = Buffer.alloc(0);
  let size = 0;
  let platterSize = 0;
  /** Sectors that the next sync writes. */
  const dirty = new Set<number>();
  /** Sectors that count as written and are not. */
  const forgotten = new Set<number>();

  function makeRoom(length: number): void {
    if (length <= cache.length) return;
    // Doubled, so that a growing file is seldom moved; in whole sectors, for the last one is whole.
    const room = Math.ceil(Math.max(length, cache.length * 2) / sectorBytes) * sectorBytes;
    cache = Buffer.concat([cache], room);
    platter = Buffer.concat([platter], room);
  }

  function touch(from: number, to: number): void {
    for (let sector = Math.floor(from / sectorBytes); sector * sectorBytes < to; sector += 1) {
      dirty.add(sector);
      forgotten.delete(sector);
    }
  }

  function writeSector(sector: number, from = 0, to = sectorBytes): void {
    const start = sector * sectorBytes;
    cache.copy(platter, start + from, start + from, start + to);
  }

  /** One half of a sector is new, the other one old. */
  function tear(sector: number): void {
    const cut = random.integer(sectorBytes + 1);
    if (random.chance(0.5)) writeSector(sector, 0, cut);
    else writeSector(sector, cut);
  }

  function writeSize(): void {
    if (size < platterSize) platter.fill(0, size, platterSize);
    platterSize = size;
  }

  return {
    get size() {
      return size;
    },
    read(buffer, position) {
      return position < size ? cache.copy(buffer, 0, position, size) : 0;
    },
    write(bytes, position) {
      makeRoom(position + bytes.length);
      cache.set(bytes, position);
      touch(position, position + bytes.length);
      size = Math.max(size, position + bytes.length);
    },
    truncate(length) {
      makeRoom(length);
      if (length < size) {
        cache.fill(0, length, size);
        touch(length, size);
      }
      size = length;
    },
    writeBack() {
      for (const sector of dirty) {
        if (random.chance(0.5)) continue;
        writeSector(sector);
        dirty.delete(sector);
      }
      if (random.chance(0.5)) writeSize();
    },
    sync() {
      for (const sector of dirty) writeSector(sector);
      dirty.clear();
      writeSize();
    },
    failSync() {
      for (const sector of dirty) {
        if (random.chance(0.5)) writeSector(sector);
        else forgotten.add(sector);
      }
      dirty.clear();
      if (random.chance(0.5)) writeSize();
    },
    dropCache() {
      for (const sector of forgotten) {
        const start = sector * sectorBytes;
        platter.copy(cache, start, start, Math.min(start + sectorBytes, size));
      }
      forgotten.clear();
    },
    losePower() {
      // By a coin for each sector, a loss of all or of nothing would hardly ever be seen.
      const kept = random.pick([0, random.next(), 1]);
      for (const sector of dirty) {
        if (random.chance(0.125)) tear(sector);
        else if (random.chance(kept)) writeSector(sector);
      }
      dirty.clear();
      forgotten.clear();
      if (random.chance(kept)) writeSize();
      size = platterSize;
      platter.fill(0, size);
      cache = Buffer.from(platter);
    },
    contents: () => Buffer.from(cache.subarray(0, size)),
  };
}
