import { Type } from '@sinclair/typebox';
import { Value } from '@sinclair/typebox/value';

/** A run that cannot be believed, or a shop that broke its promise; the message says which. */
export class BenchFailure extends Error {
  override readonly name = 'BenchFailure';
}

/** What a shop says of itself once it is quiet. */
const Balance = Type.Object({
  balanced: Type.Boolean(),
  stocked: Type.Integer(),
  remaining: Type.Integer(),
  sold: Type.Integer(),
  logged: Type.Integer(),
  pending: Type.Integer(),
});

export interface Accounts {
  /** Purchases that were answered with 200 during the run. */
  readonly acknowledged: number;
  /** Rows of the order log before and after it, counted in the file. */
  readonly rowsBefore: number;
  readonly rowsAfter: number;
  /** What `GET /audit` answered after it. */
  readonly audit: unknown;
}

/** Everything in the accounts of a run that breaks the conservation law, one sentence each. */
export function breaches({ acknowledged, rowsBefore, rowsAfter, audit }: Accounts): string[] {
  const found: string[] = [];
  const logged = rowsAfter - rowsBefore;
  if (logged !== acknowledged) {
    found.push(`${acknowledged} purchases were acknowledged, but ${logged} rows were logged`);
  }
  if (!Value.Check(Balance, audit)) {
    found.push(`the audit is none: ${JSON.stringify(audit)}`);
    return found;
  }
  const { balanced, stocked, remaining, sold, logged: allLogged, pending } = audit;
  if (!balanced) found.push('the audit says that the shop is not balanced');
  if (pending !== 0) found.push(`${pending} sales are pending although nobody buys any more`);
  if (stocked !== remaining + sold) {
    found.push(`${stocked} copies were stocked, but ${remaining} are left and ${sold} sold`);
  }
  if (sold !== allLogged) found.push(`${sold} copies were sold, but ${allLogged} orders logged`);
  return found;
}
