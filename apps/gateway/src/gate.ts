import { Failure, gateway, type Route } from '@bazar/contracts';
import type { Door, Gate } from '@bazar/service';
import type { Buying } from './purchase.js';

const refusal = new Failure(
  'overloaded',
  'too many purchases are waiting. Nothing came of this request; it may be repeated',
  { nothingDone: true },
);

/** A route for customers, and what its URLs begin with. */
function entrance({ method, url: route }: Route, isFull: () => boolean) {
  const path = route.slice(0, route.indexOf(':'));
  const door: Door = { route, refusal: () => (isFull() ? refusal : undefined) };
  return { method, path, door };
}

/** Turns buyers away while too many wait already; health, metrics and other services have no door. */
export function createGate(buying: Pick<Buying, 'isOverloaded'>): Gate {
  const entrances = [
    entrance(gateway.info, () => false),
    entrance(gateway.search, () => false),
    entrance(gateway.purchase, buying.isOverloaded),
  ];
  return (method, url) =>
    entrances.find((one) => one.method === method && url.startsWith(one.path))?.door;
}
