import { type Place, StorageError } from '@bazar/storage';
import type { Stock } from '../store.js';
import { createOutcomes, type Outcomes } from './outcomes.js';
import { createPastPictures, type PastPictures } from './past-pictures.js';
import { isOutcome, type JournalRecord, readRecord, type Shown } from './record.js';

export type Checkpoint = Extract<JournalRecord, { kind: 'checkpoint' }>;

/** What the journal says of one book: whole where a record showed it whole, or only its stock. */
interface Effect {
  sequence: number;
  quantity: number;
  sold: number;
  whole: { readonly sequence: number; readonly stock: Stock } | undefined;
}

/** What a start learns from the journal. */
export interface Replay {
  readonly outcomes: Outcomes;
  /** False until the header of a segment was read. */
  begun: boolean;
  catalogId: string | undefined;
  checkpoint: Checkpoint | undefined;
  /** The edited file that was adopted last, if that was after the last checkpoint. */
  adopted: Shown | undefined;
  readonly pictures: PastPictures;
  /** The record of the last sale, or one behind it where that is forgotten; 0 before the first. */
  soldUpTo: number;
  /** By id of the book, of the records that the checkpoint's image does not hold. */
  readonly effects: Map<number, Effect>;
  /** Takes one record. @throws StorageError for a record that cannot be */
  take(payload: string, place: Place): void;
}

/** @param found the hash of the data file that is in place */
export function createReplay(found: string | undefined): Replay {
  let edits: Stock[] = [];
  const replay: Replay = {
    outcomes: createOutcomes(),
    begun: false,
    catalogId: undefined,
    checkpoint: undefined,
    adopted: undefined,
    pictures: createPastPictures(found),
    soldUpTo: 0,
    effects: new Map(),
    take(payload, place) {
      try {
        takeRecord(readRecord(payload), place);
      } catch (error) {
        const reason = error instanceof Error ? error.message : String(error);
        throw new StorageError(
          `the catalog's journal, record ${place.sequence} (segment ${place.segment}, byte ` +
            `${place.offset}): ${reason}`,
          { cause: error },
        );
      }
    },
  };

  function takeRecord(record: JournalRecord, place: Place): void {
    if (isOutcome(record)) replay.outcomes.remember(record, place);
    switch (record.kind) {
      case 'sale': {
        const { quantity, sold } = record;
        const whole = replay.effects.get(record.item)?.whole;
        replay.soldUpTo = place.sequence;
        replay.effects.set(record.item, { sequence: place.sequence, quantity, sold, whole });
        return;
      }
      case 'change':
      case 'addition':
        setWhole(record.stock, place.sequence);
        return;
      case 'edit':
        edits.push(record.stock);
        return;
      case 'adopted':
        // Rows of an adoption that never got its closing record stand before these; they are void.
        for (const stock of edits.slice(edits.length - record.rows))
          setWhole(stock, place.sequence);
        edits = [];
        replay.adopted = record.shown;
        return;
      case 'segment':
        takeSegment(record, place);
        return;
      case 'checkpoint':
        replay.checkpoint = record;
        replay.pictures.add({ ...record, sha256: record.shown.sha256 });
        replay.adopted = undefined;
        edits = [];
        for (const [id, effect] of replay.effects) {
          if (effect.sequence <= record.sequence) replay.effects.delete(id);
        }
    }
  }

  function setWhole(stock: Stock, sequence: number): void {
    const { quantity, sold } = stock;
    replay.effects.set(stock.id, { sequence, quantity, sold, whole: { sequence, stock } });
  }

  function takeSegment(record: Extract<JournalRecord, { kind: 'segment' }>, place: Place) {
    if (replay.catalogId !== undefined && replay.catalogId !== record.catalog) {
      throw new TypeError(`belongs to catalog ${record.catalog}, not ${replay.catalogId}`);
    }
    const { lastSale } = replay.outcomes;
    if (replay.begun && record.sale !== lastSale) {
      throw new TypeError(`continues from sale ${record.sale}, but ${lastSale} was the last`);
    }
    if (!replay.begun && record.sale > 0) replay.soldUpTo = place.sequence;
    replay.begun = true;
    replay.catalogId = record.catalog;
    replay.outcomes.begin(place.segment, record.sale);
    for (const picture of record.pictures) replay.pictures.add(picture);
  }

  return replay;
}

/**
 * The stocks of an image with everything the journal recorded after it.
 * @param sequence the last record that the image holds the effect of
 */
export function applyEffects(
  image: readonly Stock[],
  effects: Replay['effects'],
  sequence: number,
): readonly Stock[] {
  if (effects.size === 0) return image;
  const added = new Set(effects.keys());
  const stocks = image.map((stock) => {
    const effect = effects.get(stock.id);
    added.delete(stock.id);
    return effect === undefined ? stock : after(stock.id, stock, effect, sequence);
  });
  for (const id of added) {
    const effect = effects.get(id);
    if (effect !== undefined) stocks.push(after(id, undefined, effect, sequence));
  }
  return stocks;
}

function after(
  id: number,
  before: Stock | undefined,
  { quantity, sold, whole }: Effect,
  sequence: number,
): Stock {
  const base = whole !== undefined && whole.sequence > sequence ? whole.stock : before;
  if (base === undefined)
    throw new StorageError(`the journal sells book ${id}, which no image has`);
  const stock = { ...base, quantity, sold };
  if (stock.stocked !== quantity + sold) {
    throw new StorageError(
      `book ${id}: ${stock.stocked} stocked, but ${quantity} remain and ${sold} were sold`,
    );
  }
  return stock;
}
