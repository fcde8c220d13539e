/** A market stall: a small contract with every kind of part and answer, and a service for it. */
import { type Contract, catalogAdmin, Failure, gateway, problemMediaType } from '@bazar/contracts';
import { type Static, Type } from '@sinclair/typebox';
import type { ServiceOptions } from '../src/index.js';
import { createService, type Handlers, mount, ready, representation } from '../src/index.js';

export const token = 'a-token-of-this-test-0123456789';

const { item_id } = gateway.info.schema.params.properties;
const { after, limit } = gateway.search.schema.querystring.properties;
const { 'idempotency-key': key } = gateway.purchase.schema.headers.properties;
const { title, quantity, price } = catalogAdmin.addBook.schema.body.properties;

const Ware = Type.Object({ id: Type.Integer(), kind: Type.String(), price: Type.Number() });
type Ware = Static<typeof Ware>;
const problem = {
  description: 'A problem',
  content: { [problemMediaType]: { schema: Type.Object({}) } },
} as const;
const json = <S extends typeof Ware | ReturnType<typeof Type.Object>>(schema: S) =>
  ({ description: 'Well', content: { 'application/json': { schema } } }) as const;

export const stall = {
  page: {
    method: 'GET',
    url: '/',
    schema: {
      summary: 'A page',
      response: {
        200: { description: 'A page', content: { 'text/html': { schema: Type.String() } } },
      },
    },
  },
  ware: {
    method: 'GET',
    url: '/wares/:item_id',
    schema: {
      summary: 'One ware',
      params: Type.Object({ item_id }, { additionalProperties: false }),
      response: {
        200: { ...json(Ware), headers: { ETag: Type.String(), Link: Type.String() } },
        404: problem,
      },
    },
  },
  kind: {
    method: 'GET',
    url: '/kinds/:kind',
    schema: {
      summary: 'What the query was',
      params: Type.Object({ kind: Type.String({ maxLength: 100 }) }),
      querystring: Type.Object({ after, limit }, { additionalProperties: false }),
      response: { 200: json(Type.Object({ kind: Type.String(), types: Type.String() })) },
    },
  },
  buy: {
    method: 'POST',
    url: '/wares/:item_id/buy',
    schema: {
      summary: 'Buy, with a body or without',
      params: Type.Object({ item_id }, { additionalProperties: false }),
      headers: Type.Object({ 'idempotency-key': key }),
      body: Type.Optional(Type.Object({}, { additionalProperties: false })),
      response: { 200: json(Type.Object({ bought: Type.Integer() })) },
    },
  },
  add: {
    method: 'POST',
    url: '/wares',
    schema: {
      summary: 'Add a ware',
      body: Type.Object({ title, quantity, price }, { additionalProperties: false }),
      response: { 201: json(Type.Object({ title: Type.String() })) },
    },
  },
  forget: {
    method: 'POST',
    url: '/forget',
    schema: {
      summary: 'Answers nothing',
      response: { 204: { description: 'Forgotten' } },
    },
  },
  fail: {
    method: 'GET',
    url: '/fail/:how',
    schema: {
      summary: 'Fails as it is told',
      params: Type.Object({ how: Type.String() }),
      response: { 200: json(Ware), 500: problem },
    },
  },
} as const satisfies Contract;

export const secret = {
  open: {
    method: 'POST',
    url: '/secret',
    schema: {
      summary: 'Takes a token',
      body: Type.Object({ title }, { additionalProperties: false }),
      response: { 200: json(Type.Object({ opened: Type.Boolean() })) },
    },
  },
} as const satisfies Contract;

export const pen: Ware = { id: 2, kind: 'pen', price: 1.5 };

/** How `GET /fail/:how` can fail: by the failure, or by whatever else is thrown. */
export const faults: Readonly<Record<string, unknown>> = {
  late: new Failure('deadline_exceeded', 'Too late.'),
  full: new Failure('overloaded', 'The queue is full.', { retryAfterSeconds: 3 }),
  'foreign-missing': new Failure('book_not_found', 'There is no book 9.', { foreign: true }),
  'foreign-full': new Failure('storage_full', 'The disk is full.', {
    foreign: true,
    retryAfterSeconds: 7,
  }),
  'foreign-accusation': new Failure('malformed_request', 'Bad item_id.', { foreign: true }),
  'own-accusation': new Failure('malformed_request', 'Bad after all.'),
  bug: new TypeError('the secret password is hunter2'),
  text: 'just a string',
};

export function stallHandlers(
  wait: () => Promise<unknown> = async () => {},
): Handlers<typeof stall> {
  return {
    page: () => '<p>wares</p>',
    ware(request, reply) {
      if (request.params.item_id === 404) {
        reply.header('Link', '</never>; rel="next"');
        throw new Failure('book_not_found', 'There is no ware 404.');
      }
      return representation(request, reply, ready({ ...pen, id: request.params.item_id }));
    },
    kind: ({ params, query }) => ({
      kind: params.kind,
      types: `${typeof query.after} ${typeof query.limit}`,
    }),
    async buy({ params }) {
      await wait();
      return { bought: params.item_id };
    },
    add: async ({ body }) => ({ title: body.title }),
    forget: () => undefined,
    fail({ params }) {
      throw faults[params.how];
    },
  };
}

/** The stall as a service, silent unless a log stream is given. */
export function openStall(
  options: Partial<ServiceOptions> & { readonly wait?: () => Promise<unknown> } = {},
) {
  const { wait, ...rest } = options;
  const app = createService({ name: 'stall', config: { LOG_LEVEL: 'silent' }, ...rest });
  mount(app, stall, stallHandlers(wait));
  mount(
    app,
    secret,
    { open: ({ body }) => ({ opened: body.title !== '' }) },
    { token, hidden: true },
  );
  return app;
}
