/**
 * Reads an object by the least that tells it from something else. Whoever wants all of it to be
 * checked gives the option `check`.
 */
export function objectWith<T extends object>(key: keyof T & string) {
  return (body: unknown): T | undefined =>
    typeof body === 'object' && body !== null && key in body ? (body as T) : undefined;
}
