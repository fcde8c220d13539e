import { Type } from '@sinclair/typebox';

/** The headers of a read that a client may revalidate with `If-None-Match`. */
export const readHeaders = {
  'Cache-Status': Type.String({
    description: 'RFC 9211: whether the gateway had the answer at hand. The catalog sends none.',
  }),
  ETag: Type.String({ description: 'Names this state of the answer; for If-None-Match.' }),
} as const;

/** The condition of a read: RFC 9110, section 13.1.2. */
export const Condition = Type.Object({
  'if-none-match': Type.Optional(
    Type.String({ description: 'An ETag: if it names the present state, the answer is 304.' }),
  ),
});
