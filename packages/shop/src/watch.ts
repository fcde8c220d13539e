import { type FSWatcher, watch } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';

/** Editors write a file in several steps, and a checkout changes many files at once. */
const quietMs = 100;

/** Watches folders and all folders in them until it is closed. */
export interface FolderWatch {
  close(): void;
}

/**
 * Calls `onChange` when anything changes under the folders, once the changes have paused. Folders
 * are watched one by one, rather than recursively or file by file: that notices a file that an
 * editor replaces by renaming, and works on every platform. A change says only that something
 * happened; what it was is for the caller to find out.
 */
export async function watchFolders(
  folders: readonly string[],
  onChange: () => void,
): Promise<FolderWatch> {
  const watchers = new Map<string, FSWatcher>();
  let timer: NodeJS.Timeout | undefined;
  let closed = false;

  function noticed(): void {
    clearTimeout(timer);
    timer = setTimeout(async () => {
      // A new folder is watched only from here on, so files may have come into it unnoticed; they
      // are no later than the call of onChange.
      await watchAll();
      if (!closed) onChange();
    }, quietMs);
  }

  function forget(folder: string): void {
    watchers.get(folder)?.close();
    watchers.delete(folder);
  }

  function watchOne(folder: string): void {
    if (closed || watchers.has(folder)) return;
    try {
      const watcher = watch(folder, noticed);
      // A removed folder takes its watcher with it; its parent has noticed the removal.
      watcher.on('error', () => forget(folder));
      watchers.set(folder, watcher);
    } catch {
      // The folder was removed between listing and watching it.
    }
  }

  async function watchAll(): Promise<void> {
    const present = await Promise.all(folders.map(foldersUnder));
    const wanted = new Set(present.flat());
    for (const folder of watchers.keys()) if (!wanted.has(folder)) forget(folder);
    for (const folder of wanted) watchOne(folder);
  }

  await watchAll();
  return {
    close() {
      closed = true;
      clearTimeout(timer);
      for (const folder of [...watchers.keys()]) forget(folder);
    },
  };
}

async function foldersUnder(folder: string): Promise<string[]> {
  try {
    const entries = await readdir(folder, { withFileTypes: true });
    const inner = entries
      .filter((entry) => entry.isDirectory())
      .map((entry) => foldersUnder(join(folder, entry.name)));
    return [folder, ...(await Promise.all(inner)).flat()];
  } catch {
    // Not there (any more): a package need not have sources.
    return [];
  }
}
