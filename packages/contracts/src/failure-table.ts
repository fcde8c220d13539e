/**
 * Every way in which a request can fail, and the HTTP status it maps to. A use case throws a code;
 * the mapping to HTTP happens once, from this table. The title is the same for every occurrence
 * (RFC 9457, section 3.1.3); what is particular to one occurrence stands in the detail.
 *
 * It stands apart from the schemas, for it is all that a browser needs of this package.
 */
export const failures = {
  malformed_request: { status: 400, title: 'The request is malformed' },
  unauthorized: { status: 401, title: 'A bearer token is required' },
  forbidden: { status: 403, title: 'The bearer token does not open this route' },
  book_not_found: { status: 404, title: 'There is no such book' },
  order_not_found: { status: 404, title: 'There is no such order' },
  route_not_found: { status: 404, title: 'There is no such route' },
  method_not_allowed: { status: 405, title: 'The route does not take this method' },
  request_timeout: { status: 408, title: 'The request did not arrive in time' },
  lease_unknown: { status: 409, title: 'The gateway has no such lease, or may not have one now' },
  stock_below_zero: { status: 409, title: 'The update would take the stock below zero' },
  body_too_large: { status: 413, title: 'The body is too large' },
  url_too_long: { status: 414, title: 'The URL is too long' },
  unsupported_media_type: { status: 415, title: 'The body must be JSON' },
  expectation_failed: { status: 417, title: 'The expectation cannot be met' },
  key_reused: { status: 422, title: 'The key was used for another request' },
  too_many_requests: { status: 429, title: 'Too many requests' },
  headers_too_large: { status: 431, title: 'The headers are too large' },
  internal: { status: 500, title: 'The service made a mistake' },
  unavailable: { status: 503, title: 'The service is not available for the moment' },
  overloaded: { status: 503, title: 'The service has more work than it can take' },
  storage_full: { status: 503, title: 'The service cannot promise durability for the moment' },
  deadline_exceeded: { status: 504, title: 'The deadline passed before the answer was known' },
} as const satisfies Record<string, { status: number; title: string }>;

export type FailureCode = keyof typeof failures;

export const failureCodes = Object.keys(failures) as FailureCode[];

/** True for a string that is a code of the table. */
export function isFailureCode(code: unknown): code is FailureCode {
  return typeof code === 'string' && Object.hasOwn(failures, code);
}
