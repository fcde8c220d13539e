/** The order service of the plain chain over PostgreSQL: one insert, and so one commit, a purchase. */
import { randomUUID } from 'node:crypto';
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import { TypeCompiler } from '@sinclair/typebox/compiler';
import Fastify from 'fastify';
import postgres from 'postgres';
import { announce } from '../listening.js';
import { Audit, auditOf, ItemParams, Purchased, Reservation, Totals } from './schemas.js';
import { connect } from './upstream.js';

const catalog = connect(process.env['CATALOG_URLS']);
/** Ten connections, as the driver has by default, and as Bazar's stores have. */
const sql = postgres(process.env['DATABASE_URL'] ?? '', { max: 10, onnotice: () => {} });

await sql`CREATE TABLE IF NOT EXISTS orders (
  order_id uuid PRIMARY KEY,
  item_id bigint NOT NULL,
  title text NOT NULL,
  price double precision NOT NULL,
  timestamp text NOT NULL
)`;

const aReservation = TypeCompiler.Compile(Reservation);
const theTotals = TypeCompiler.Compile(Totals);

const app = Fastify({ logger: { level: 'warn' } }).withTypeProvider<TypeBoxTypeProvider>();

app.post(
  '/purchase/:item_id',
  { schema: { params: ItemParams, response: { 200: Purchased } } },
  async (request) => {
    const { item_id } = request.params;
    const order_id = randomUUID();
    const { title, price } = await catalog.ask(aReservation, 'POST', `/reserve/${item_id}`, {
      order_id,
    });
    if (title === undefined || price === undefined) return { message: 'Out of stock' };
    const timestamp = new Date().toISOString();
    await sql`INSERT INTO orders (order_id, item_id, title, price, timestamp)
      VALUES (${order_id}, ${item_id}, ${title}, ${price}, ${timestamp})`;
    return {
      message: `bought book ${title}`,
      order: { order_id, item_id, title, price, timestamp },
    };
  },
);

app.get('/audit', { schema: { response: { 200: Audit } } }, async () => {
  const totals = await catalog.ask(theTotals, 'GET', '/totals');
  const [row] = await sql<{ logged: number }[]>`SELECT count(*)::integer AS logged FROM orders`;
  return auditOf(totals, row?.logged ?? 0);
});

await app.listen({ host: '127.0.0.1', port: 0 });
announce(app.server.address());
