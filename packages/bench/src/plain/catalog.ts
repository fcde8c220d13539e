/**
 * The catalog of the plain chain: stock in memory, and per purchase one journal row with an
 * `fdatasync`, one purchase at a time, so that no copy is sold twice.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Book, BookTitle } from '@bazar/contracts';
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import { Type } from '@sinclair/typebox';
import Fastify from 'fastify';
import papaparse from 'papaparse';
import { announce } from '../listening.js';
import { createMutex, openJournal } from './journal.js';
import { ItemParams, Reservation, Totals } from './schemas.js';

const dataDir = process.env['DATA_DIR'] ?? '.';

const table = readFileSync(join(dataDir, 'catalog_data.csv'), 'utf8').trimEnd();
const books = new Map<number, Book>();
const topics = new Map<string, BookTitle[]>();
for (const [id, title = '', topic = '', quantity, price] of papaparse
  .parse<string[]>(table)
  .data.slice(1)) {
  const book = { id: Number(id), title, topic, quantity: Number(quantity), price: Number(price) };
  books.set(book.id, book);
  const ofTopic = topics.get(topic) ?? [];
  ofTopic.push({ id: book.id, title });
  topics.set(topic, ofTopic);
}
const stocked = [...books.values()].reduce((sum, { quantity }) => sum + quantity, 0);

const journal = await openJournal(join(dataDir, 'journal.csv'));
let sold = 0;
for (const row of journal.rows) {
  const book = books.get(Number(row.split(',')[1]));
  if (book !== undefined) book.quantity -= 1;
  sold += 1;
}
const oneAtATime = createMutex();

const app = Fastify({ logger: { level: 'warn' } }).withTypeProvider<TypeBoxTypeProvider>();

app.get(
  '/info/:item_id',
  { schema: { params: ItemParams, response: { 200: Book } } },
  async (request, reply) => {
    const book = books.get(request.params.item_id);
    return book ?? reply.callNotFound();
  },
);

app.get(
  '/search/:topic',
  {
    schema: {
      params: Type.Object({ topic: Type.String() }),
      response: { 200: Type.Array(BookTitle) },
    },
  },
  async (request) => topics.get(request.params.topic)?.slice(0, 100) ?? [],
);

app.post(
  '/reserve/:item_id',
  {
    schema: {
      params: ItemParams,
      body: Type.Object({ order_id: Type.String() }),
      response: { 200: Reservation },
    },
  },
  async (request, reply) => {
    const book = books.get(request.params.item_id);
    if (book === undefined) return reply.callNotFound();
    return oneAtATime(async () => {
      if (book.quantity === 0) return {};
      await journal.append(`${request.body.order_id},${book.id}`);
      book.quantity -= 1;
      sold += 1;
      return { title: book.title, price: book.price };
    });
  },
);

app.get('/totals', { schema: { response: { 200: Totals } } }, async () => {
  const remaining = [...books.values()].reduce((sum, { quantity }) => sum + quantity, 0);
  return { stocked, remaining, sold };
});

await app.listen({ host: '127.0.0.1', port: 0 });
announce(app.server.address());
