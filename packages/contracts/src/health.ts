import { type Static, Type } from '@sinclair/typebox';
import { type Contract, json } from './contract.js';
import { fails } from './failures.js';

const Health = Type.Object(
  {
    status: Type.Literal('ok'),
    dependencies: Type.Optional(Type.Record(Type.String(), Type.Literal('ok'))),
  },
  { title: 'Health' },
);
export type Health = Static<typeof Health>;

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
        'When it cannot, a 503 names each dependency and says what is wrong with it. Its code is ' +
        'storage_full when nothing is wrong but a full disk: reading goes on then.',
      tags: ['health'],
      response: { 200: json('Ready', Health), ...fails('storage_full') },
    },
  },
} as const satisfies Contract;
