import { type Static, Type } from '@sinclair/typebox';
import { TypeCompiler } from '@sinclair/typebox/compiler';

const Stock = Type.Object({
  id: Type.Integer(),
  title: Type.String(),
  topic: Type.String(),
  quantity: Type.Integer(),
  price: Type.Number(),
  stocked: Type.Integer(),
  sold: Type.Integer(),
});

const id = Type.String();
/** Milliseconds since 1970. */
const at = Type.Integer();
/** What was asked for, to tell a repeat from another request under the same id. */
const request = Type.String();

/** A data file by its hash, and the image that shows the same books. */
const Shown = Type.Object({ sha256: Type.String(), image: Type.String() });
export type Shown = Static<typeof Shown>;

/** A data file that the shop has published, by its hash, and when. */
const PastPicture = Type.Object({ sha256: Type.String(), at, sequence: Type.Integer() });
export type PastPicture = Static<typeof PastPicture>;

/**
 * What the journal holds, one JSON text a record. What changes a book says what it left behind
 * (not only by how much), so that a replay may begin before the image it is laid on.
 */
const JournalRecord = Type.Union([
  Type.Object({
    kind: Type.Literal('sale'),
    id,
    at,
    item: Type.Integer(),
    sale: Type.Integer(),
    title: Type.String(),
    price: Type.Number(),
    quantity: Type.Integer(),
    sold: Type.Integer(),
  }),
  Type.Object({ kind: Type.Literal('sold_out'), id, at, item: Type.Integer() }),
  Type.Object({ kind: Type.Literal('change'), id, at, request, stock: Stock }),
  Type.Object({ kind: Type.Literal('addition'), id, at, request, stock: Stock }),
  // A person's edit: its rows, and then the record that makes them count, all or none.
  Type.Object({ kind: Type.Literal('edit'), at, stock: Stock }),
  Type.Object({ kind: Type.Literal('adopted'), at, rows: Type.Integer(), shown: Shown }),
  // The first record of every segment.
  Type.Object({
    kind: Type.Literal('segment'),
    format: Type.Literal(1),
    catalog: Type.String(),
    sale: Type.Integer({ description: 'The last sale number before this segment.' }),
    // So that an old data file is known for one when the segment of its checkpoint is gone.
    pictures: Type.Array(PastPicture),
  }),
  // The image holds the effects of all records up to `sequence`.
  Type.Object({
    kind: Type.Literal('checkpoint'),
    at,
    shown: Shown,
    imageSha256: Type.String(),
    // What is still in place when a crash came between this record and the rename.
    replaces: Type.Optional(Shown),
    sequence: Type.Integer(),
  }),
]);
export type JournalRecord = Static<typeof JournalRecord>;

/** A record that a repeated operation is answered from. */
export type OutcomeRecord = Extract<JournalRecord, { id: string }>;

const check = TypeCompiler.Compile(JournalRecord);

export function writeRecord(record: JournalRecord): string {
  return JSON.stringify(record);
}

/** @throws TypeError for what this version does not write. */
export function readRecord(payload: string): JournalRecord {
  const record: unknown = JSON.parse(payload);
  if (check.Check(record)) return record;
  throw new TypeError(`is not a record of this version: ${payload.slice(0, 80)}`);
}

export function isOutcome(record: JournalRecord): record is OutcomeRecord {
  return 'id' in record;
}
