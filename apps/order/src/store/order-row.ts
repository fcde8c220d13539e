import { crc32 } from 'node:zlib';
import { money, wholeNumber, writeRows } from '@bazar/storage';
import type { LoggedOrder } from '../store.js';

/** The report's three columns first. */
export const header = 'timestamp,item_id,title,order_id,price,sale,checksum';
export const reportHeader = 'timestamp,item_id,title';

/** ` crc:` and eight hexadecimal digits end every row. */
const crcLength = 13;

/**
 * A row as text, with its newline. The checksum cell says up to which byte of the file all was
 * synced before this row was written, so that every row vouches for what stands before its batch;
 * the CRC covers the whole row before it.
 */
export function writeOrderRow(order: LoggedOrder, synced: number): string {
  const { timestamp, itemId, title, orderId, price, sale } = order;
  const cells = [timestamp, itemId, title, orderId, price, sale, `synced:${synced}`];
  const body = writeRows([cells]).trimEnd();
  return `${body} crc:${crc32(body).toString(16).padStart(8, '0')}\n`;
}

/** How far the row vouches for the file, or undefined for a row that is damaged. */
export function checkOrderRow(line: Buffer): number | undefined {
  const body = line.subarray(0, -crcLength);
  const crc = line.subarray(body.length).toString('latin1');
  if (crc !== ` crc:${crc32(body).toString(16).padStart(8, '0')}`) return undefined;
  const synced = /,synced:(\d{1,15})$/.exec(body.subarray(-24).toString('latin1'))?.[1];
  return synced === undefined ? undefined : Number(synced);
}

const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/** The order in the cells of a row, or undefined when they are not those of an order. */
export function readOrderCells(cells: readonly string[]): LoggedOrder | undefined {
  const [timestamp, item, title, orderId, priceText, saleText] = cells;
  const itemId = wholeNumber(item ?? '');
  const price = money(priceText ?? '');
  const sale = wholeNumber(saleText ?? '');
  if (timestamp === undefined || title === undefined || orderId === undefined) return undefined;
  if (!uuid.test(orderId)) return undefined;
  if (itemId === undefined || price === undefined || sale === undefined || sale === 0) {
    return undefined;
  }
  return { timestamp, itemId, title, orderId, price, sale };
}
