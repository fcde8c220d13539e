import { basename, dirname, resolve } from 'node:path';
import { type Disk, type DiskFile, type OpenMode, readFully } from '@bazar/storage';

/** A stretch of bytes that was written over what lies beneath. */
interface Patch {
  readonly position: number;
  readonly bytes: Buffer;
}

/** A file as it would be by now: what is left of the one beneath, and the patches on it. */
interface Leaf {
  /** The path of the file beneath, undefined for one that is only on the overlay. */
  readonly beneath: string | undefined;
  /** How many bytes of the file beneath still show. */
  shown: number;
  length: number;
  readonly patches: Patch[];
}

/**
 * A disk that shows another one's files and keeps in memory whatever is done to them, so that a
 * program may open, mend and close its files while not a byte of them changes. Locks are the real
 * ones, for a program that reads must still not read what another is writing; a file that is not
 * there is locked by nobody, and is not made.
 *
 * @param beneath is only read from
 */
export function overlayDisk(beneath: Disk): Disk {
  /** By absolute path; undefined for a file that was removed or renamed. */
  const changed = new Map<string, Leaf | undefined>();

  async function leafAt(path: string): Promise<Leaf | undefined> {
    if (changed.has(path)) return changed.get(path);
    if (!(await beneath.exists(path))) return undefined;
    const file = await beneath.open(path, 'read');
    const length = await file.size().finally(() => file.close());
    const leaf = { beneath: path, shown: length, length, patches: [] };
    changed.set(path, leaf);
    return leaf;
  }

  async function existing(path: string): Promise<Leaf> {
    const leaf = await leafAt(path);
    if (leaf === undefined) throw Object.assign(new Error(`no file ${path}`), { code: 'ENOENT' });
    return leaf;
  }

  async function leafFor(path: string, mode: OpenMode): Promise<Leaf> {
    if (mode !== 'create') return existing(path);
    const leaf = (await leafAt(path)) ?? { beneath: undefined, shown: 0, length: 0, patches: [] };
    changed.set(path, leaf);
    return leaf;
  }

  return {
    async open(path, mode) {
      return openLeaf(beneath, await leafFor(resolve(path), mode));
    },
    async list(folder) {
      const names = new Set(await beneath.list(folder));
      for (const [path, leaf] of changed) {
        if (dirname(path) !== resolve(folder)) continue;
        if (leaf === undefined) names.delete(basename(path));
        else names.add(basename(path));
      }
      return [...names];
    },
    exists: async (path) => (await leafAt(resolve(path))) !== undefined,
    async rename(from, to) {
      const leaf = await existing(resolve(from));
      // Two names of the same file both stay: so POSIX wants it.
      if ((await leafAt(resolve(to))) === leaf) return;
      changed.set(resolve(to), leaf);
      changed.set(resolve(from), undefined);
    },
    async link(path, name) {
      const leaf = await existing(resolve(path));
      if ((await leafAt(resolve(name))) !== undefined) {
        throw Object.assign(new Error(`${name} is there already`), { code: 'EEXIST' });
      }
      changed.set(resolve(name), leaf);
    },
    async remove(path) {
      await existing(resolve(path));
      changed.set(resolve(path), undefined);
    },
    makeFolder: async () => {},
    syncFolder: async () => {},
  };
}

async function openLeaf(beneath: Disk, leaf: Leaf): Promise<DiskFile> {
  const file = leaf.beneath === undefined ? undefined : await beneath.open(leaf.beneath, 'read');

  async function read(buffer: Buffer, position: number): Promise<number> {
    const count = Math.max(0, Math.min(buffer.length, leaf.length - position));
    const part = buffer.subarray(0, count).fill(0);
    const showing = part.subarray(0, Math.max(0, leaf.shown - position));
    if (file !== undefined && showing.length > 0) await readFully(file, showing, position);
    for (const { position: at, bytes } of leaf.patches) {
      const from = Math.max(at, position);
      const to = Math.min(at + bytes.length, position + count);
      if (from < to) bytes.copy(part, from - position, from - at, to - at);
    }
    return count;
  }

  return {
    read,
    async write(bytes, position) {
      if (bytes.length === 0) return 0;
      // A start writes much again as it was; a copy of that would only fill the memory.
      const before = Buffer.alloc(bytes.length);
      const isSame = (await read(before, position)) === bytes.length && before.equals(bytes);
      if (!isSame) leaf.patches.push({ position, bytes: Buffer.from(bytes) });
      leaf.length = Math.max(leaf.length, position + bytes.length);
      return bytes.length;
    },
    datasync: async () => {},
    sync: async () => {},
    async truncate(length) {
      leaf.length = length;
      leaf.shown = Math.min(leaf.shown, length);
      const kept = leaf.patches.filter(({ position }) => position < length);
      const cut = kept.map(({ position, bytes }) => ({
        position,
        bytes: bytes.subarray(0, length - position),
      }));
      leaf.patches.splice(0, Number.POSITIVE_INFINITY, ...cut);
    },
    size: async () => leaf.length,
    isInPlace: async () => true,
    tryLock: async () => file === undefined || file.tryLock(),
    close: async () => file?.close(),
  };
}
