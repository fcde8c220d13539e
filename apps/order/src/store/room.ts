import { Failure } from '@bazar/contracts';
import { type AppendFile, type Reserve, StorageFull } from '@bazar/storage';

export interface RoomEffects {
  readonly file: AppendFile;
  readonly reserve: Reserve;
  /** Milliseconds on a clock that only goes forward. */
  readonly monotonic: () => number;
  readonly log: (level: 'info' | 'warn', sentence: string) => void;
}

/** What the order log does where the disk is full. */
export interface Room {
  /**
   * Appends rows as the file does. On a full disk they take the room that was reserved: when it is
   * found to be full, these sales are made already, and more may be on their way.
   * @throws Failure `storage_full` when nothing was kept; StorageBroken
   */
  append(rows: Buffer): Promise<number>;
  /** @throws Failure `storage_full` from a full disk on until the room is reserved again */
  assert(): Promise<void>;
}

/** While the disk is full, a look for room at most this often. */
const lookEveryMs = 250;

/** @throws StorageError when the room cannot be reserved for another reason than a full disk */
export async function openRoom({ file, reserve, monotonic, log }: RoomEffects): Promise<Room> {
  let isFull = false;
  let lookedAt = monotonic();

  function becomeFull(): void {
    if (!isFull) log('warn', 'order_log.csv has no room to grow: purchases are refused');
    isFull = true;
  }

  async function look(): Promise<void> {
    if (monotonic() - lookedAt < lookEveryMs) return;
    lookedAt = monotonic();
    if (!(await reserve.fill()) || !isFull) return;
    isFull = false;
    log('info', 'order_log.csv has room again: purchases are accepted');
  }

  if (!(await reserve.fill())) becomeFull();

  return {
    async append(rows) {
      for (;;) {
        try {
          return await file.append(rows);
        } catch (error) {
          if (!(error instanceof StorageFull)) throw error;
          const isSpent = await reserve.spend();
          // Only now: a look under way may have found, a moment ago, that there is room again.
          becomeFull();
          if (isSpent) continue;
          throw new Failure('storage_full', 'the order log has no room', { cause: error });
        }
      }
    },
    async assert() {
      if (isFull) await look();
      if (isFull) throw new Failure('storage_full', 'the order log has no room');
    },
  };
}
