import { type Contract, successStatus } from '@bazar/contracts';
import type { TSchema } from '@sinclair/typebox';
import { type TypeCheck, TypeCompiler } from '@sinclair/typebox/compiler';
import type { ResponseCheck } from './answer.js';

/**
 * Checks every success body against its contract, so that a drifted or broken service is noticed at
 * the border and not somewhere in our own code. The checks are compiled once. Fields that a schema
 * does not name are tolerated, so that a service may be newer than its callers.
 */
export function checkResponses(contract: Contract): ResponseCheck {
  const checks = new Map<string, TypeCheck<TSchema>>();
  for (const [name, route] of Object.entries(contract)) {
    const { content } = route.schema.response[successStatus(route)] ?? {};
    const [representation] = Object.values(content ?? {});
    if (representation !== undefined) {
      checks.set(name, TypeCompiler.Compile(representation.schema));
    }
  }
  return (name, body) => {
    if (!Object.hasOwn(contract, name)) return `the contract to check by has no route ${name}`;
    const check = checks.get(name);
    if (check === undefined || check.Check(body)) return undefined;
    const error = check.Errors(body).First();
    return error === undefined ? 'it fits no schema' : `${error.path || '/'}: ${error.message}`;
  };
}
