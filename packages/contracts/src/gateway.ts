import { Type } from '@sinclair/typebox';
import { catalog } from './catalog.js';
import type { Contract } from './contract.js';
import { fails } from './failures.js';
import { order } from './order.js';

/** The shop's front door: the public routes of both services under one address. */
export const gateway = {
  home: {
    method: 'GET',
    url: '/',
    schema: {
      summary: 'A small page with links',
      response: {
        200: {
          description: 'The page',
          content: { 'text/html': { schema: Type.String() } },
        },
        ...fails(),
      },
    },
  },
  search: catalog.search,
  info: catalog.info,
  topics: catalog.topics,
  purchase: order.purchase,
  order: order.order,
} as const satisfies Contract;
