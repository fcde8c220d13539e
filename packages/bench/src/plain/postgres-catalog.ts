/**
 * The catalog of the plain chain over PostgreSQL: a transaction for each purchase. The book's row,
 * which all buyers of it want, is locked with the last statement before the commit.
 */
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import { Type } from '@sinclair/typebox';
import Fastify from 'fastify';
import postgres from 'postgres';
import { stock } from '../books.js';
import { announce } from '../listening.js';
import { ItemParams, Reservation, Totals } from './schemas.js';

/** Ten connections, as the driver has by default, and as Bazar's stores have. */
const sql = postgres(process.env['DATABASE_URL'] ?? '', { max: 10, onnotice: () => {} });

await sql`CREATE TABLE IF NOT EXISTS books (
  id bigint PRIMARY KEY,
  title text NOT NULL,
  price double precision NOT NULL,
  stocked bigint NOT NULL,
  quantity integer NOT NULL CHECK (quantity >= 0)
)`;
await sql`CREATE TABLE IF NOT EXISTS operations (
  order_id uuid PRIMARY KEY,
  item_id bigint NOT NULL
)`;
await sql`INSERT INTO books (id, title, price, stocked, quantity)
  SELECT id, 'A book called ' || id, 10 + id, ${stock}::integer, ${stock}::integer
  FROM generate_series(1, ${Number(process.env['BOOKS'] ?? 1)}::integer) AS id
  ON CONFLICT (id) DO NOTHING`;

class SoldOut extends Error {}

const app = Fastify({ logger: { level: 'warn' } }).withTypeProvider<TypeBoxTypeProvider>();

app.post(
  '/reserve/:item_id',
  {
    schema: {
      params: ItemParams,
      body: Type.Object({ order_id: Type.String() }),
      response: { 200: Reservation },
    },
  },
  async (request) => {
    const { item_id } = request.params;
    try {
      return await sql.begin(async (transaction) => {
        await transaction`INSERT INTO operations (order_id, item_id)
          VALUES (${request.body.order_id}, ${item_id})`;
        const [book] = await transaction<{ title: string; price: number }[]>`
          UPDATE books SET quantity = quantity - 1 WHERE id = ${item_id} AND quantity > 0
          RETURNING title, price`;
        if (book === undefined) throw new SoldOut();
        return book;
      });
    } catch (error) {
      if (error instanceof SoldOut) return {};
      throw error;
    }
  },
);

app.get('/totals', { schema: { response: { 200: Totals } } }, async () => {
  const [totals] = await sql<{ stocked: number; remaining: number; sold: number }[]>`
    SELECT sum(stocked)::double precision AS stocked,
      sum(quantity)::double precision AS remaining,
      (SELECT count(*)::double precision FROM operations) AS sold
    FROM books`;
  return totals ?? { stocked: 0, remaining: 0, sold: 0 };
});

await app.listen({ host: '127.0.0.1', port: 0 });
announce(app.server.address());
