import { type Static, Type } from '@sinclair/typebox';
import { Book, BookChange, BookTitle, NewBook, TopicCount } from './book.js';
import { Condition, readHeaders } from './condition.js';
import { type Contract, jsonWithHeaders, notModified } from './contract.js';
import { bodyFailures, fails } from './failures.js';
import { AfterParam, IdempotencyKey, ItemIdParam, LimitParam, maxTopicLength } from './fields.js';
import { Replayed } from './order.js';

export const ItemParams = Type.Object({ item_id: ItemIdParam }, { additionalProperties: false });

const Link = Type.String({
  description: 'RFC 8288: `<…>; rel="next"` names the next page; absent on the last one.',
});
export const pageHeaders = { ...readHeaders, Link } as const;

/** What anybody may ask the catalog; the gateway offers the same routes. */
export const catalog = {
  search: {
    method: 'GET',
    url: '/search/:topic',
    schema: {
      summary: 'The books of a topic, by id',
      description: 'The topic is matched whole, ignoring case. An unknown topic has no books.',
      tags: ['catalog'],
      params: Type.Object(
        {
          topic: Type.String({
            minLength: 1,
            maxLength: maxTopicLength,
            description: 'The whole name of a topic, in any case.',
          }),
        },
        { additionalProperties: false },
      ),
      querystring: Type.Object(
        { after: Type.Optional(AfterParam), limit: Type.Optional(LimitParam) },
        { additionalProperties: false },
      ),
      headers: Condition,
      response: {
        304: notModified,
        200: jsonWithHeaders('The books of the topic', Type.Array(BookTitle), pageHeaders),
        ...fails('url_too_long'),
      },
    },
  },
  info: {
    method: 'GET',
    url: '/info/:item_id',
    schema: {
      summary: 'One book, its price and its stock',
      tags: ['catalog'],
      params: ItemParams,
      headers: Condition,
      response: {
        304: notModified,
        200: jsonWithHeaders('The book', Book, readHeaders),
        ...fails('book_not_found'),
      },
    },
  },
  topics: {
    method: 'GET',
    url: '/topics',
    schema: {
      summary: 'The topics, by name',
      tags: ['catalog'],
      querystring: Type.Object(
        {
          after: Type.Optional(
            Type.String({
              minLength: 1,
              maxLength: maxTopicLength,
              description: 'Only topics whose names come after this one.',
            }),
          ),
          limit: Type.Optional(LimitParam),
        },
        { additionalProperties: false },
      ),
      headers: Condition,
      response: {
        304: notModified,
        200: jsonWithHeaders('The topics', Type.Array(TopicCount), pageHeaders),
        ...fails(),
      },
    },
  },
} as const satisfies Contract;

const KeyHeaders = Type.Object({ 'idempotency-key': Type.Optional(IdempotencyKey) });

export const BookAdded = Type.Object(
  { message: Type.Literal('Book added'), book: Book },
  { title: 'BookAdded' },
);
export const BookUpdated = Type.Object(
  { message: Type.Literal('Updated successfully'), book: Book },
  { title: 'BookUpdated' },
);
export type BookAdded = Static<typeof BookAdded>;
export type BookUpdated = Static<typeof BookUpdated>;

/** What the keeper of the shop may do with the books: these routes take the admin token. */
export const catalogAdmin = {
  addBook: {
    method: 'POST',
    url: '/books',
    schema: {
      summary: 'Add a book under the next free id',
      tags: ['admin'],
      headers: KeyHeaders,
      body: NewBook,
      response: {
        201: jsonWithHeaders('The book as it was added', BookAdded, Replayed),
        ...fails('unauthorized', 'forbidden', 'key_reused', 'storage_full', ...bodyFailures),
      },
    },
  },
  update: {
    method: 'POST',
    url: '/update/:item_id',
    schema: {
      summary: 'Change the price of a book, or set or adjust its stock',
      tags: ['admin'],
      params: ItemParams,
      headers: KeyHeaders,
      body: BookChange,
      response: {
        200: jsonWithHeaders('The book after the change', BookUpdated, Replayed),
        ...fails(
          'unauthorized',
          'forbidden',
          'book_not_found',
          'stock_below_zero',
          'key_reused',
          'storage_full',
          ...bodyFailures,
        ),
      },
    },
  },
} as const satisfies Contract;
