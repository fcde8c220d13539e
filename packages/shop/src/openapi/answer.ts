import type { Question } from './questions.js';

/** What came back. */
export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
}

/** Sent with every question, and so the same in every answer. */
const requestId = 'the-id-of-your-request';
const patienceMs = 10_000;

/**
 * Asks a service.
 *
 * @throws Error when it answers with another status than the one that is to be shown
 */
export async function ask(url: string, question: Question): Promise<Answer> {
  const { request, headers, body, status } = question;
  const [method = '', path = ''] = request.split(' ');
  const response = await fetch(url + path, {
    method,
    signal: AbortSignal.timeout(patienceMs),
    headers: {
      'x-request-id': requestId,
      ...(body !== undefined && { 'content-type': 'application/json' }),
      ...headers,
    },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  if (response.status !== status) {
    throw new Error(`${request} was answered with ${response.status}, not ${status}: ${text}`);
  }
  return { status, headers: response.headers, text };
}

const timestamps = /(?<=")\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z(?=")/g;

/**
 * The answer with what differs from run to run replaced by what does not: times, and whether a
 * gateway had the answer at hand. Nothing else is touched; the ids of orders and requests are the
 * same because the questions name them.
 */
export function steady(answer: Answer): Answer {
  const headers = new Headers(answer.headers);
  const text = answer.text.replaceAll(timestamps, '2025-05-17T10:30:00.000Z');
  // A tag is made from the text.
  if (text !== answer.text && headers.has('etag')) headers.set('etag', '"the-tag-of-this-order"');
  if (headers.has('cache-status')) headers.set('cache-status', 'bazar; hit');
  return { ...answer, headers, text };
}
