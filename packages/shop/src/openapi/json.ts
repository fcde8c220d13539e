/** An object as JSON has it. */
export type Fields = Record<string, unknown>;

export function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The fields of an object, to be read; none where there is no object. */
export function fieldsOf(value: unknown): Fields {
  return isFields(value) ? value : {};
}

export function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

/**
 * The object under these names, one below the other; it may be changed in place.
 *
 * @throws TypeError that names the way when there is none
 */
export function at(whole: unknown, ...names: readonly string[]): Fields {
  let found = whole;
  for (const name of names) {
    found = isFields(found) && Object.hasOwn(found, name) ? found[name] : undefined;
  }
  if (!isFields(found)) throw new TypeError(`There is no object under ${names.join(' > ')}`);
  return found;
}

/**
 * The document with every `$ref` replaced by what it refers to.
 *
 * @throws TypeError for a reference to nothing, or of a schema to itself
 */
export function withoutReferences(document: unknown): Fields {
  function inlined(value: unknown, trail: readonly string[]): unknown {
    if (Array.isArray(value)) return value.map((each) => inlined(each, trail));
    if (!isFields(value)) return value;
    const { $ref: reference } = value;
    if (typeof reference !== 'string') {
      const entries = Object.entries(value).map(([name, part]) => [name, inlined(part, trail)]);
      return Object.fromEntries(entries);
    }
    if (trail.includes(reference)) throw new TypeError(`${reference} refers to itself`);
    const names = reference.split('/').slice(1).map(unescaped);
    return inlined(at(document, ...names), [...trail, reference]);
  }
  return fieldsOf(inlined(document, []));
}

/** A step of a JSON pointer (RFC 6901). */
function unescaped(step: string): string {
  return step.replaceAll('~1', '/').replaceAll('~0', '~');
}
