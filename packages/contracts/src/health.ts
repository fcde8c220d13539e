import { type Static, Type } from '@sinclair/typebox';
import { type Contract, json } from './contract.js';
import { fails, Problem, problemMediaType } from './failures.js';

const Health = Type.Object(
  {
    status: Type.Literal('ok'),
    dependencies: Type.Optional(Type.Record(Type.String(), Type.Literal('ok'))),
  },
  { title: 'Health' },
);
export type Health = Static<typeof Health>;

/** Why a service is not ready, for people in the detail, and for programs by dependency. */
const NotReady = Type.Object(
  {
    ...Problem.properties,
    dependencies: Type.Optional(
      Type.Record(Type.String(), Type.String(), {
        description: 'Each dependency: ok, or a sentence that says what is wrong with it.',
      }),
    ),
  },
  { title: 'NotReady' },
);

const failing = fails('storage_full');
const notReady = {
  503: { ...failing[503], content: { [problemMediaType]: { schema: NotReady } } },
} as const;

/** Every service answers these two: is the process alive, and can it do its work? */
export const health = {
  live: {
    method: 'GET',
    url: '/health/live',
    schema: {
      summary: 'The process is alive',
      tags: ['health'],
      response: { 200: json('Alive', Health), ...fails() },
    },
  },
  ready: {
    method: 'GET',
    url: '/health/ready',
    schema: {
      summary: 'The service and all that it depends on can work',
      description:
        'When it cannot, a 503 says of each dependency what is wrong with it, or ok. Its code is ' +
        'storage_full when nothing is wrong but a full disk: reading goes on then.',
      tags: ['health'],
      response: { 200: json('Ready', Health), ...failing, ...notReady },
    },
  },
} as const satisfies Contract;
