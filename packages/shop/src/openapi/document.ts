import { fileURLToPath } from 'node:url';
import type { ServiceName } from '../service.js';
import type { Fields } from './json.js';

/** An OpenAPI document as it was parsed. */
export type Document = Fields;

export const described = ['gateway', 'catalog', 'order'] as const satisfies ServiceName[];

/** The top folder of the workspace: a path. */
export const topFolder = fileURLToPath(new URL('../../../../', import.meta.url));

/** Where the document of a service is kept, seen from the top folder, with forward slashes. */
export function pathOf(service: ServiceName): string {
  return `apps/${service}/openapi.json`;
}

/** The text of the file: equal documents, equal bytes. */
export function textOf(document: Document): string {
  return `${JSON.stringify(document, undefined, 2)}\n`;
}
