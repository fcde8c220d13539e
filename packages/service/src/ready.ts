declare const body: unique symbol;
declare const sent: unique symbol;

/** JSON bytes of a value of this type; they are sent as they are, without the serializer. */
export type Ready<T> = (string | Buffer) & { readonly [body]: T };

/** Says that the reply is already on its way; there is nothing else to return. */
export interface Sent {
  readonly [sent]: true;
}

/**
 * The ready-made bytes of a body. Making them with `JSON.stringify` is faster than the serializer
 * where unions or many rows are involved, and bytes that are kept can be sent again at no cost.
 */
export function ready<T>(value: T): Ready<T> {
  return JSON.stringify(value) as string & { readonly [body]: T };
}

/** What a handler returns that has sent its reply itself: Fastify ignores an undefined result. */
export const alreadySent = undefined as unknown as Sent;
