/**
 * Reads an object by the least that tells it from something else: it has this key and, if it is known
 * beforehand, this value there. Whoever wants all of it to be checked gives the option `check`.
 */
export function objectWith<T extends object>(key: keyof T & string, value?: unknown) {
  return (body: unknown): T | undefined => {
    if (typeof body !== 'object' || body === null || !(key in body)) return undefined;
    const found = (body as Readonly<Record<string, unknown>>)[key];
    return value === undefined || found === value ? (body as T) : undefined;
  };
}
