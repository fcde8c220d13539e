import type { Book } from '@bazar/contracts';

/** The four books of the report, which a shop begins with where it finds none. */
export const reportBooks: readonly Book[] = [
  [1, 'How to get a good grade in DOS in 40 minutes a day', 'distributed', 10, 30] as const,
  [2, 'RPCs for Noobs', 'distributed', 2, 50] as const,
  [3, 'Xen and the Art of Surviving Undergraduate School', 'undergrad', 3, 40] as const,
  [4, 'Cooking for the Impatient Undergrad', 'undergrad', 6, 35] as const,
].map(([id, title, topic, quantity, price]) => ({ id, title, topic, quantity, price }));
