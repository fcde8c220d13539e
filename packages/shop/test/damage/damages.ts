import type { Random } from '@bazar/simulation';
import type { Files } from './life.js';
import type { Past } from './past.js';

/** What is damaged. `catalog` and `order` are whole folders that were mixed up. */
export type Target = keyof typeof files | 'catalog' | 'order';

export interface Damage {
  /** In words, for the report. */
  readonly what: string;
  readonly kind: Kind | 'mix';
  readonly target: Target;
  /** All files as they are then. */
  readonly files: Files;
}

const files = {
  journal: /^\/catalog\/catalog_journal-\d+\.log$/,
  image: /^\/catalog\/catalog_image-\d+\.csv$/,
  data: /^\/catalog\/catalog_data\.csv$/,
  log: /^\/order\/order_log\.csv$/,
};

type Kind = 'truncate' | 'flip' | 'zero' | 'remove' | 'older';

const sectorBytes = 512;

/** What becomes of a file's bytes; undefined when it is removed. */
const blows: Record<
  Kind,
  (bytes: Buffer, random: Random, older: readonly Buffer[]) => Buffer | undefined
> = {
  truncate: (bytes, random) => bytes.subarray(0, random.integer(bytes.length)),
  flip(bytes, random) {
    const flipped = Buffer.from(bytes);
    const place = random.integer(bytes.length);
    flipped.fill((flipped[place] ?? 0) ^ (1 << random.integer(8)), place, place + 1);
    return flipped;
  },
  zero(bytes, random) {
    const start = random.integer(Math.ceil(bytes.length / sectorBytes)) * sectorBytes;
    const zeroed = Buffer.from(bytes);
    zeroed.subarray(start, start + sectorBytes).fill(0);
    return zeroed;
  },
  remove: () => undefined,
  older: (bytes, random, older) => (older.length > 0 ? random.pick(older) : bytes),
};

const kinds = ['truncate', 'flip', 'zero', 'remove', 'older'] as const satisfies Kind[];

/** The versions of a file that were copied; those of another image may be put in its place. */
function copiesOf(past: Past, pattern: RegExp): Buffer[] {
  return past.copies.flatMap((copy) =>
    [...copy].filter(([path]) => pattern.test(path)).map(([, bytes]) => bytes),
  );
}

function sameFiles(one: Files, other: Files): boolean {
  return (
    one.size === other.size &&
    [...one].every(([path, bytes]) => other.get(path)?.equals(bytes) === true)
  );
}

/** Does anything to the files of a closed shop that changes them. */
export function anyDamage(random: Random, past: Past, stranger: Past): Damage {
  for (;;) {
    const damage = random.chance(0.1)
      ? mixFolders(random, past, stranger)
      : damageFile(random, past);
    if (damage !== undefined && !sameFiles(past.files, damage.files)) return damage;
  }
}

function damageFile(random: Random, past: Past): Damage | undefined {
  const target = random.pick(['journal', 'journal', 'image', 'data', 'log', 'log'] as const);
  const found = [...past.files].filter(
    ([path, { length }]) => length > 0 && files[target].test(path),
  );
  if (found.length === 0) return undefined;
  const [path, bytes] = random.pick(found);
  const kind = random.pick(kinds);
  const damaged = blows[kind](bytes, random, copiesOf(past, files[target]));
  const mixed = new Map(past.files);
  if (damaged === undefined) mixed.delete(path);
  else mixed.set(path, damaged);
  return {
    what: `${kind} ${path} (${damaged?.length} of ${bytes.length} bytes)`,
    kind,
    target,
    files: mixed,
  };
}

/** One of the two folders is an older copy, or another shop's. */
function mixFolders(random: Random, past: Past, stranger: Past): Damage {
  const target = random.pick(['catalog', 'order'] as const);
  const others = [...past.copies, stranger.files];
  const position = random.integer(others.length);
  const other = others[position] ?? stranger.files;
  const within = (path: string) => path.startsWith(`/${target}/`);
  const mixed = new Map([
    ...[...past.files].filter(([path]) => !within(path)),
    ...[...other].filter(([path]) => within(path)),
  ]);
  const whose = other === stranger.files ? 'of another shop' : `as copy ${position + 1} has it`;
  return { what: `the folder /${target} ${whose}`, kind: 'mix', target, files: mixed };
}
