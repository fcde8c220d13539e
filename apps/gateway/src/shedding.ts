import { Failure, gateway } from '@bazar/contracts';
import type { Shed } from '@bazar/service';
import type { Buying } from './purchase.js';

const { method: purchaseMethod, url: route } = gateway.purchase;
const path = route.slice(0, route.indexOf(':'));
const refusal = {
  route,
  failure: new Failure(
    'overloaded',
    'too many purchases are waiting. Nothing came of this request; it may be repeated',
    { nothingDone: true },
  ),
};

/** Turns buyers away while too many wait already; everything else is answered. */
export function createShedding(buying: Pick<Buying, 'isOverloaded'>): Shed {
  return (method, url) =>
    method === purchaseMethod && url.startsWith(path) && buying.isOverloaded()
      ? refusal
      : undefined;
}
