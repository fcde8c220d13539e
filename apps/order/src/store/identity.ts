import { join } from 'node:path';
import { type Disk, readFully, StorageError, writeNext } from '@bazar/storage';

/** Which catalog the sale numbers of an order log belong to. */
export interface CatalogIdentity {
  readonly catalogId: string | undefined;
  /** Resolves when the id is durable. */
  adopt(catalogId: string): Promise<void>;
}

const maxBytes = 64;

/** Kept in a small file beside the log, from the first answer of a catalog on. */
export async function openCatalogIdentity(disk: Disk, folder: string): Promise<CatalogIdentity> {
  const path = join(folder, 'order_log.catalog');
  let catalogId: string | undefined;
  if (await disk.exists(path)) {
    const file = await disk.open(path, 'read');
    try {
      const buffer = Buffer.alloc(maxBytes);
      const count = await readFully(file, buffer, 0);
      catalogId = buffer.subarray(0, count).toString('latin1').trim();
    } finally {
      await file.close();
    }
    if (!/^[0-9a-f-]{36}$/.test(catalogId)) {
      throw new StorageError('order_log.catalog does not hold the id of a catalog');
    }
  }
  return {
    get catalogId() {
      return catalogId;
    },
    async adopt(id) {
      await writeNext({ disk, path: `${path}.next`, slices: [`${id}\n`] });
      await disk.rename(`${path}.next`, path);
      await disk.syncFolder(folder);
      catalogId = id;
    },
  };
}
