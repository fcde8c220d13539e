import type { Contract } from '@bazar/contracts';
import { type TObject, Type } from '@sinclair/typebox';
import t, { type Test } from 'tap';
import { createService, mount } from '../src/index.js';

const Colour = Type.Union([Type.Literal('red'), Type.Literal('blue')], { description: 'Of it.' });
// The example has a title too, which is no schema's.
const Book = Type.Object(
  { title: Type.String(), colour: Colour },
  { title: 'Book', examples: [{ title: 'A', colour: 'red' }] },
);

/** The document of a service with two routes: one answers the first schema, one a list of the other. */
async function documentOf(t: Test, one: TObject, listed: TObject) {
  const json = (schema: TObject) =>
    ({ 200: { description: 'Well', content: { 'application/json': { schema } } } }) as const;
  const contract = {
    one: { method: 'GET', url: '/one', schema: { summary: 'One', response: json(one) } },
    add: {
      method: 'POST',
      url: '/add',
      schema: {
        summary: 'Add',
        body: Type.Optional(one),
        response: json(Type.Object({ list: Type.Array(listed) })),
      },
    },
  } as const satisfies Contract;
  const app = createService({ name: 'stall', config: { LOG_LEVEL: 'silent' } });
  t.teardown(() => app.close());
  mount(app, contract, { one: () => ({}), add: () => ({ list: [] }) });
  const response = await app.inject('/docs/json');
  return { status: response.statusCode, document: response.json() };
}

t.test('when schemas have titles, then the document names them once', async (t) => {
  const { document } = await documentOf(t, Book, Book);
  const reference = { $ref: '#/components/schemas/Book' };
  t.same(document.components.schemas.Book, {
    title: 'Book',
    type: 'object',
    required: ['title', 'colour'],
    properties: {
      title: { type: 'string' },
      colour: { type: 'string', enum: ['red', 'blue'], description: 'Of it.' },
    },
    examples: [{ title: 'A', colour: 'red' }],
  });
  const content = (schema: object) => ({ 'application/json': { schema } });
  const { get } = document.paths['/one'];
  t.same(get.responses['200'].content, content(reference));
  const { post } = document.paths['/add'];
  t.match(post.requestBody, { required: false, content: content(reference) });
  t.match(post.responses['200'].content, content({ properties: { list: { items: reference } } }));
});

t.test('when two schemas have one title, then there is no document', async (t) => {
  const other = Type.Object({ title: Type.String() }, { title: 'Book' });
  t.match(await documentOf(t, Book, other), { status: 500, document: { code: 'internal' } });
});
