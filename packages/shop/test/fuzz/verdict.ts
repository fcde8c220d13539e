import { failures, isFailureCode, isMoney, moneyFormat, problemMediaType } from '@bazar/contracts';
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';
import { fieldsOf } from '../../src/openapi/json.js';
import type { Operation, Question } from './question.js';

export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly text: string;
}

/** What any path may be answered with, whatever was meant by it. */
const strayCodes = ['route_not_found', 'method_not_allowed', 'url_too_long', 'malformed_request'];

/** Says what is wrong with an answer by the document, or nothing. */
export function createVerdict() {
  const ajv = new Ajv2020({ strict: false });
  ajv.addFormat(moneyFormat, { type: 'number', validate: isMoney });
  const validators = new Map<object, ValidateFunction>();

  function misfit(schema: object, value: unknown): string | undefined {
    const validate = validators.get(schema) ?? ajv.compile(schema);
    validators.set(schema, validate);
    return validate(value) ? undefined : ajv.errorsText(validate.errors);
  }

  function wrongProblem({ status, text }: Answer, { described }: Operation): string | undefined {
    const problem = fieldsOf(parsed(text));
    const { code } = problem;
    if (!isFailureCode(code)) return `the code ${String(code)} is in no table`;
    if (failures[code].status !== status) return `${code} is not ${status}`;
    if (problem['status'] !== status) return 'the problem has another status';
    const declared = fieldsOf(fieldsOf(described['responses'])[String(status)]);
    const isDeclared = String(declared['description'] ?? '').includes(code);
    return isDeclared || strayCodes.includes(code) ? undefined : `${code} is not declared`;
  }

  return ({ operation, method }: Question, answer: Answer): string | undefined => {
    const { status, headers, text } = answer;
    if (status === 500 || status > 501) return `${status}: ${text}`;
    if (headers['x-request-id'] === undefined) return 'there is no x-request-id';
    // A preflight is answered for the browser, and HEAD as GET is, without a body.
    if (method === 'OPTIONS' || method === 'HEAD') return undefined;
    const [mediaType] = String(headers['content-type'] ?? '').split(';');
    if (status >= 400) {
      return mediaType === problemMediaType
        ? wrongProblem(answer, operation)
        : `${status} with ${mediaType}`;
    }
    const declared = fieldsOf(fieldsOf(operation.described['responses'])[String(status)]);
    if (declared['description'] === undefined) return `${status} is not declared`;
    if (status === 304) return text === '' ? undefined : '304 with a body';
    const content = fieldsOf(fieldsOf(declared['content'])[String(mediaType)]);
    if (content['schema'] === undefined) return `${mediaType} is not declared for ${status}`;
    const value = mediaType === 'application/json' ? parsed(text) : text;
    return misfit(fieldsOf(content['schema']), value);
  };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
