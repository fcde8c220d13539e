import type { PastPicture } from './record.js';

/** As many are carried into a new segment, in case that the ones before it are retired. */
const maxCarried = 1000;

/**
 * The data files that the shop has published. A person who puts one of them back has edited
 * nothing: read as an edit, it would put sold copies on sale again.
 */
export interface PastPictures {
  add(picture: PastPicture): void;
  /** The one that was looked for, however old it is. */
  readonly found: PastPicture | undefined;
  /** The newest, from the oldest on. */
  newest(): PastPicture[];
}

/** @param wanted the hash of the data file that is in place */
export function createPastPictures(wanted: string | undefined): PastPictures {
  const pictures = new Map<string, PastPicture>();
  let found: PastPicture | undefined;
  return {
    add({ sha256, at, sequence }) {
      const picture = { sha256, at, sequence };
      if (sha256 === wanted) found = picture;
      // The same books at another time are the same file; it counts as of its last time.
      pictures.delete(sha256);
      pictures.set(sha256, picture);
      const [oldest] = pictures.keys();
      if (pictures.size > maxCarried && oldest !== undefined) pictures.delete(oldest);
    },
    get found() {
      return found;
    },
    newest: () => [...pictures.values()],
  };
}
