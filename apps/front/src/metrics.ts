import type { Metrics } from '@bazar/service';
import type { Front } from './front.js';

/** Shows how many connections the front has, and what became of those it had no room for. */
export function showFront(metrics: Metrics, front: Pick<Front, 'figures' | 'live'>): void {
  metrics.gauge(
    {
      name: 'bazar_front_connections',
      help: 'Connections of clients, by whether they are ending.',
      labels: ['state'],
    },
    () => {
      const { connections, ending } = front.figures();
      return [
        { labels: { state: 'open' }, value: connections - ending },
        { labels: { state: 'ending' }, value: ending },
      ];
    },
  );
  metrics.counter(
    {
      name: 'bazar_front_full_total',
      help: 'Connections that were ended, or refused, for want of room.',
      labels: ['what'],
    },
    () =>
      Object.entries(front.figures().full).map(([what, value]) => ({ labels: { what }, value })),
  );
  metrics.gauge(
    { name: 'bazar_front_gateways', help: 'Gateways that take connections.' },
    front.live,
  );
}
