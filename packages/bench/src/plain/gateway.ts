/** The gateway of the plain chain: it validates, and passes every request on by itself. */
import { Book, BookTitle } from '@bazar/contracts';
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import { Type } from '@sinclair/typebox';
import { TypeCompiler } from '@sinclair/typebox/compiler';
import Fastify from 'fastify';
import { announce } from '../listening.js';
import { ItemParams, Purchased } from './schemas.js';
import { connect } from './upstream.js';

const catalog = connect(process.env['CATALOG_URLS']);
const order = connect(process.env['ORDER_URLS']);

const aBook = TypeCompiler.Compile(Book);
const aPurchase = TypeCompiler.Compile(Purchased);

const app = Fastify({ logger: { level: 'warn' } }).withTypeProvider<TypeBoxTypeProvider>();

app.get(
  '/info/:item_id',
  { schema: { params: ItemParams, response: { 200: Book } } },
  async (request) => catalog.ask(aBook, 'GET', `/info/${request.params.item_id}`),
);

const Titles = Type.Array(BookTitle);
const someTitles = TypeCompiler.Compile(Titles);
app.get(
  '/search/:topic',
  { schema: { params: Type.Object({ topic: Type.String() }), response: { 200: Titles } } },
  async (request) =>
    catalog.ask(someTitles, 'GET', `/search/${encodeURIComponent(request.params.topic)}`),
);

app.post(
  '/purchase/:item_id',
  { schema: { params: ItemParams, response: { 200: Purchased } } },
  async (request) => order.ask(aPurchase, 'POST', `/purchase/${request.params.item_id}`),
);

await app.listen({ host: '127.0.0.1', port: 0 });
announce(app.server.address());
