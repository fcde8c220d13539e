/** The order service of the plain chain: one row with an `fdatasync` per purchase. */
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import { TypeCompiler } from '@sinclair/typebox/compiler';
import Fastify from 'fastify';
import papaparse from 'papaparse';
import { announce } from '../listening.js';
import { openJournal } from './journal.js';
import { Audit, auditOf, ItemParams, Purchased, Reservation, Totals } from './schemas.js';
import { connect } from './upstream.js';

const catalog = connect(process.env['CATALOG_URLS']);
const log = await openJournal(join(process.env['DATA_DIR'] ?? '.', 'order_log.csv'));
let logged = log.rows.length;

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
    // Rows are appended whole and in any order, so that syncing them needs no mutex.
    await log.append(papaparse.unparse([[timestamp, item_id, title, order_id, price]]));
    logged += 1;
    return {
      message: `bought book ${title}`,
      order: { order_id, item_id, title, price, timestamp },
    };
  },
);

app.get('/audit', { schema: { response: { 200: Audit } } }, async () => {
  const totals = await catalog.ask(theTotals, 'GET', '/totals');
  return auditOf(totals, logged);
});

await app.listen({ host: '127.0.0.1', port: 0 });
announce(app.server.address());
