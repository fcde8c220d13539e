import { randomUUID } from 'node:crypto';
import { maxBatch, PurchaseOutcome } from '@bazar/contracts/internal';
import { Type } from '@sinclair/typebox';
import { Value } from '@sinclair/typebox/value';

const Answer = Type.Object({ outcomes: Type.Array(PurchaseOutcome) });

/**
 * Sells copies as a busy gateway does, in full batches, to make a long order log that is the shop's
 * own in every byte: one made up from outside would lack the ids that the order service keeps.
 *
 * @throws Error when a copy is not sold
 */
export async function sellMany(orderUrl: string, books: number, copies: number): Promise<void> {
  for (let sold = 0; sold < copies; sold += maxBatch) {
    const purchases = Array.from({ length: Math.min(maxBatch, copies - sold) }, (_, index) => ({
      order_id: randomUUID(),
      item_id: 1 + ((sold + index) % books),
      request_id: 'bulk',
    }));
    const answer = await fetch(`${orderUrl}/purchases`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ purchases }),
    });
    const body: unknown = await answer.json();
    const all = Value.Check(Answer, body) && body.outcomes.every(({ result }) => result === 'sold');
    if (!answer.ok || !all) throw new Error(`A batch was not sold: ${answer.status}.`);
  }
}
