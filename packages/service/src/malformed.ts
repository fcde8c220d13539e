import { Failure, moneyFormat } from '@bazar/contracts';
import type { FastifySchemaValidationError } from 'fastify';

const maxKeyLength = 64;

/** `/updates/3/item_id` of the body → `body.updates.3.item_id` (RFC 6901 escapes undone). */
function fieldName(part: string, instancePath: string): string {
  const keys = instancePath
    .split('/')
    .slice(1)
    .map((key) => key.replaceAll('~1', '/').replaceAll('~0', '~'));
  return [part === 'querystring' ? 'query' : part, ...keys].join('.');
}

function describedSchema(error: FastifySchemaValidationError): string | undefined {
  const schema = 'parentSchema' in error ? error.parentSchema : undefined;
  if (typeof schema !== 'object' || schema === null || !('description' in schema)) return undefined;
  return typeof schema.description === 'string' ? schema.description : undefined;
}

/** A key that the caller invented goes back to it, but not at any length. */
function quoted(key: unknown): string {
  return JSON.stringify(String(key).slice(0, maxKeyLength));
}

function reason(error: FastifySchemaValidationError): string {
  const { params } = error;
  switch (error.keyword) {
    case 'required':
      return `the key ${quoted(params['missingProperty'])} is missing`;
    case 'additionalProperties':
      return `the key ${quoted(params['additionalProperty'])} is unknown`;
    case 'enum':
      return `must be one of ${JSON.stringify(params['allowedValues'])}`;
    case 'const':
      return `must be ${JSON.stringify(params['allowedValue'])}`;
    case 'format':
      if (params['format'] === moneyFormat) return 'must be at least 0 with at most two decimals';
      return error.message ?? 'has the wrong form';
    case 'pattern':
    case 'not':
    case 'anyOf':
    case 'minProperties': {
      const description = describedSchema(error);
      return description ? `must be as described: ${description}` : 'has the wrong form';
    }
    default:
      return error.message ?? 'is not allowed';
  }
}

/** Fastify's `schemaErrorFormatter`: a 400 whose detail names the first wrong field and why. */
export function malformed(errors: readonly FastifySchemaValidationError[], part: string): Failure {
  const [first] = errors;
  if (first === undefined) return new Failure('malformed_request', `${part}: is not allowed`);
  const detail = `${fieldName(part, first.instancePath)}: ${reason(first)}`;
  return new Failure('malformed_request', detail);
}
