import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type Contract,
  catalog,
  catalogAdmin,
  gateway,
  health,
  order,
  orderAdmin,
} from '@bazar/contracts';
import { launchShop, type Shop, startOrder } from '../launch.js';
import type { ServiceName } from '../service.js';
import { type Answer, ask, steady } from './answer.js';
import { type Document, described } from './document.js';
import { at, type Fields, fieldsOf, isFields } from './json.js';
import { adminToken, interviews, type Question } from './questions.js';

/** The contracts that the document of a service shows; what is not in them is internal. */
const published: Readonly<Record<ServiceName, readonly Contract[]>> = {
  gateway: [gateway, health],
  catalog: [catalog, catalogAdmin, health],
  order: [order, orderAdmin, health],
};

/**
 * The environment of the services, whatever that of this process is: an empty variable is one that
 * is not set. With the tokens set the document says which routes need one.
 */
const environment = {
  HOST: '',
  LOG_LEVEL: 'error',
  PUBLIC_URL: '',
  RATE_LIMIT: '',
  TRUST_PROXY: '',
  CORS_ORIGINS: '',
  DATABASE_URL: '',
  SERVICE_TOKEN: 'the-token-of-the-services-0123456789',
  SERVICE_TOKEN_FILE: '',
  ADMIN_TOKEN: adminToken,
  ADMIN_TOKEN_FILE: '',
};

/**
 * The documents of all services, each as a real shop in an empty folder serves it, with real
 * answers as its examples.
 *
 * @throws Error when a service does not answer a question as it should, or answers with what its
 * document does not mention
 */
export async function describeShop(): Promise<Map<ServiceName, Document>> {
  const documents = new Map<ServiceName, Document>();
  for (const service of described) documents.set(service, await describeService(service));
  return documents;
}

/** In a shop of its own, so that what one service is asked changes no other document. */
async function describeService(service: ServiceName): Promise<Document> {
  const dataDir = await mkdtemp(join(tmpdir(), 'bazar-openapi-'));
  try {
    const shop = await launchShop({ dataDir, env: environment });
    try {
      return await interview(shop, service);
    } finally {
      await shop.kill();
    }
  } finally {
    await rm(dataDir, { recursive: true, force: true });
  }
}

async function interview(shop: Shop, service: ServiceName): Promise<Document> {
  const { urls } = shop;
  const { questions, outage = [] } = interviews[service];
  const document = await readDocument(urls[service], published[service]);
  const putToIt = async (question: Question) => {
    const answer = steady(await ask(urls[service], question));
    addExample(document, question, answer);
  };
  for (const question of questions) await putToIt(question);
  if (outage.length > 0) {
    const behind = startOrder.toReversed().filter((name) => name !== service);
    // Not killed: a service that stops closes its connections first, so that all calls fail alike.
    for (const name of behind) await shop.service(name).stop();
  }
  for (const question of outage) await putToIt(question);
  return document;
}

/** The document that a service serves, with the routes of these contracts, in their order. */
async function readDocument(url: string, contracts: readonly Contract[]): Promise<Document> {
  const response = await fetch(`${url}/docs/json`);
  const document: unknown = await response.json();
  const paths = contracts
    .flatMap((contract) => Object.values(contract))
    .map((route) => route.url.replaceAll(/:(\w+)/g, '{$1}'))
    .map((path): [string, Fields] => [path, at(document, 'paths', path)]);
  return { ...fieldsOf(document), paths: Object.fromEntries(paths) };
}

/** Puts an answer, and the body that led to it, where the document describes them. */
function addExample(document: Document, question: Question, answer: Answer): void {
  const { name, summary, body, request } = question;
  const operation = operationOf(document, request);
  const response = at(operation, 'responses', String(answer.status));
  const mediaType = answer.headers.get('content-type')?.split(';', 1)[0] ?? '';
  const { text } = answer;
  const value: unknown = mediaType.endsWith('json') ? JSON.parse(text) : text;
  examplesOf(at(response, 'content', mediaType))[name] = { summary, value };
  for (const [header, described] of Object.entries(fieldsOf(response['headers']))) {
    const given = answer.headers.get(header);
    if (given !== null && isFields(described)) described['example'] ??= given;
  }
  if (body === undefined || answer.status >= 400) return;
  const content = at(operation, 'requestBody', 'content', 'application/json');
  examplesOf(content)[name] = { summary, value: body };
}

/** The examples of a media type, to be added to. */
function examplesOf(media: Fields): Fields {
  const examples = fieldsOf(media['examples']);
  media['examples'] = examples;
  return examples;
}

/** The operation that a request such as `GET /info/2` belongs to. */
function operationOf(document: Document, request: string): Fields {
  const [method = '', target = ''] = request.split(' ');
  const [path = ''] = target.split('?', 1);
  const template = Object.keys(at(document, 'paths')).find((each) =>
    new RegExp(`^${each.replaceAll(/\{\w+\}/g, '[^/]+')}$`).test(path),
  );
  if (template === undefined) throw new TypeError(`The document has no route to ${path}`);
  return at(document, 'paths', template, method.toLowerCase());
}
