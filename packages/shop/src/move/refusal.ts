/** Why a shop is not moved, in a sentence for the person who wanted it to be. */
export class MoveRefused extends Error {
  override readonly name = 'MoveRefused';
}

/** Somebody asked the move to end. */
export class Interrupted extends Error {
  override readonly name = 'Interrupted';
}
