import { failureCodes, failures } from '@bazar/contracts';
import type { ServiceName } from '../service.js';
import type { Document } from './document.js';
import { at, type Fields, fieldsOf, listOf, withoutReferences } from './json.js';

/** Where the reference for people is kept, seen from the top folder. */
export const referencePath = 'docs/http.md';

/** What any route may answer, which need not be repeated at each. */
const everywhere = ['400', '408', '417', '429', '431', '500', '503', '504'];

const opening = `# HTTP reference

Made from the contracts by \`npx --yes pnpm@12.21.0 openapi\`; a test holds that it is up to date. The same
as OpenAPI 3.1: \`apps/*/openapi.json\`, and \`/docs/json\` of every running service.

Every request may carry \`x-request-id\`, \`x-timeout-ms\` (how long the caller still waits) and
\`traceparent\`; every answer has \`x-request-id\`.

## What fails

Every answer other than 200, 201, 204 and 304 is a problem document (RFC 9457) with one of these codes. Any
route may answer ${inWords(everywhere)}; the others stand at their routes.
A 429 and a 503 say in \`Retry-After\` after how many seconds to come again. A purchase or a change that was
answered with 500, 503 or 504 may have been made, unless the detail says that nothing came of it: send the
same again under the same \`Idempotency-Key\`, and the answer is that of the first time.
`;

/** The codes of all failures, as they stand in the one table that maps them to statuses. */
function failureTable(): string {
  const rows = failureCodes.map((code) => {
    const { status, title } = failures[code];
    return [String(status), `\`${code}\``, title];
  });
  const head = ['status', 'code', 'title'];
  const widths = head.map((name, column) =>
    Math.max(name.length, ...rows.map((row) => row[column]?.length ?? 0)),
  );
  const line = (cells: readonly string[], fill = ' ') =>
    `| ${cells.map((cell, column) => cell.padEnd(widths[column] ?? 0, fill)).join(' | ')} |`;
  return [line(head), line(['', '', ''], '-'), ...rows.map((row) => line(row))].join('\n');
}

function inWords(statuses: readonly string[]): string {
  return `${statuses.slice(0, -1).join(', ')} and ${statuses.at(-1)}`;
}

const titles: Readonly<Record<ServiceName, string>> = {
  gateway: 'The gateway, port 5000',
  catalog: 'The catalog, port 5001',
  order: 'The order service, port 5002',
};

/** The reference of all services as Markdown: equal documents, equal text. */
export function referenceOf(documents: ReadonlyMap<ServiceName, Document>): string {
  const sections = [...documents].flatMap(([service, document]) => [
    `## ${titles[service]}`,
    ...operationsOf(withoutReferences(document)),
  ]);
  return `${[opening, failureTable(), ...sections].map((section) => section.trimEnd()).join('\n\n')}\n`;
}

function operationsOf(document: Fields): string[] {
  return Object.entries(at(document, 'paths')).flatMap(([path, methods]) =>
    Object.entries(fieldsOf(methods)).flatMap(([method, operation]) =>
      describe(`${method.toUpperCase()} ${path}`, fieldsOf(operation)),
    ),
  );
}

function describe(name: string, operation: Fields): string[] {
  const { summary, description, parameters, requestBody, responses, security } = operation;
  const parts = [`### ${name}`, `${text(summary)}.${description ? ` ${text(description)}` : ''}`];
  if (listOf(security).length > 0) parts.push('Takes a bearer token, where one is set.');
  const inputs = listOf(parameters).map(fieldsOf).filter(isOwn).map(parameter);
  const body = bodyOf(fieldsOf(requestBody));
  if (body !== undefined) inputs.push(body);
  if (inputs.length > 0) parts.push(inputs.join('\n'));
  parts.push(answers(fieldsOf(responses)));
  return parts;
}

/** All requests may carry these, as the opening says. */
function isOwn({ name }: Fields): boolean {
  return !['x-request-id', 'x-timeout-ms', 'traceparent'].includes(text(name));
}

function parameter({ name, in: place, required, description }: Fields): string {
  const must = required === true ? '' : ', optional';
  return `- \`${text(name)}\` (${text(place)}${must}): ${text(description)}`;
}

function bodyOf({ content, description, required }: Fields): string | undefined {
  const example = exampleOf(content);
  if (content === undefined) return undefined;
  const must = required === true ? '' : ', optional';
  const says = description === undefined ? '' : ` ${text(description)}`;
  const shown = example === undefined ? '' : ` \`${example}\``;
  const keys = keysOf(fieldsOf(fieldsOf(fieldsOf(content)['application/json'])['schema']));
  return [`- body (JSON${must}):${says}${shown}`, ...keys].join('\n');
}

/** What a body may say; a key that is not named here is refused. */
function keysOf({ properties, required }: Fields): string[] {
  return Object.entries(fieldsOf(properties)).map(([name, schema]) => {
    const must = listOf(required).includes(name) ? '' : ', optional';
    const { type, description } = fieldsOf(schema);
    const says = [boundsOf(fieldsOf(schema)), text(description)].filter((part) => part !== '');
    return `  - \`${name}\` (${text(type)}${must}): ${says.join(' ')}`;
  });
}

function boundsOf({ type, minimum, maximum, minLength, maxLength }: Fields): string {
  if (type === 'string') return `${text(minLength)} to ${text(maxLength)} characters.`;
  return `From ${text(minimum)} to ${text(maximum)}.`;
}

function answers(responses: Fields): string {
  return Object.entries(responses)
    .filter(([status]) => !everywhere.includes(status))
    .map(([status, response]) => {
      const { description, content, headers } = fieldsOf(response);
      const example = Number(status) < 300 ? exampleOf(content) : undefined;
      const shown = example === undefined ? '' : `\n\n  \`\`\`json\n  ${example}\n  \`\`\`\n`;
      return `- ${status}: ${text(description)}${headersOf(fieldsOf(headers))}${shown}`;
    })
    .join('\n');
}

/** The headers that an answer of its own kind has. */
function headersOf(headers: Fields): string {
  return Object.entries(headers)
    .map(([name, header]) => `\n  - \`${name}\`: ${text(fieldsOf(header)['description'])}`)
    .join('');
}

/** The first example of a JSON content, in one line. */
function exampleOf(content: unknown): string | undefined {
  const { examples } = fieldsOf(fieldsOf(content)['application/json']);
  const [first] = Object.values(fieldsOf(examples));
  return first === undefined ? undefined : JSON.stringify(fieldsOf(first)['value']);
}

function text(value: unknown): string {
  return String(value ?? '').replaceAll(/\s+/g, ' ');
}
