export { type AppendFile, type AppendFileOptions, openAppendFile } from './append-file.js';
export { money, wholeNumber } from './cells.js';
export {
  type Disk,
  type DiskFile,
  nodeDisk,
  type OpenMode,
  readFully,
} from './disk.js';
export {
  BadFile,
  InUse,
  isFull,
  StorageBroken,
  StorageError,
  StorageFull,
  troubleOf,
} from './errors.js';
export { createIdIndex, type IdIndex } from './id-index.js';
export { type Journal, type JournalOptions, openJournal, type Segment } from './journal.js';
export type { OnRecord, Place } from './journal-scan.js';
export { type Lines, wholeLines } from './lines.js';
export { type Lock, lockFiles, openAsWriter } from './lock.js';
export {
  type MoveNote,
  moveNoteName,
  readMoveNote,
  refuseMoved,
  removeMoveNote,
  writeMoveNote,
} from './moved.js';
export { openReserve, type Reserve } from './reserve.js';
export {
  parseRows,
  type ReadTableOptions,
  type Row,
  readTable,
  type TableSummary,
  writeRows,
} from './table.js';
export { timedDisk } from './timed-disk.js';
export { sha256OfFile, type WriteNextOptions, type WrittenFile, writeNext } from './whole-file.js';
